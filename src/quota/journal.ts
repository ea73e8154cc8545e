import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'
import { type Milliseconds, systemClock } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { BatchResult } from './batch-options.ts'
import {
  asKept,
  HEADER_LOOKED_AT,
  headerOf,
  isHeaderBegun,
  type JournalAnswer,
  lineOf,
  readHeader,
  readLine,
} from './journal-lines.ts'

/** One read or write, however many lines it holds; by the machine's time, because a disk keeps no other. */
const DISK_TIMEOUT_MS: Milliseconds = 10_000
const PAGE_BYTES = 64 * 1024
const LINE_END = 0x0a

/** Files that a batch of this process keeps its answers in. */
const inUse = new Set<string>()

/**
 * A file of answers, one line each, written before anybody is told of them: whatever ends the process, what was told is
 * there. A line that was cut by that end is of a request that nobody was told of, and is removed when the file is opened.
 */
export class Journal {
  readonly #file: FileHandle
  readonly #identity: string
  /** Where the line of an index begins. */
  readonly #lineAt = new Map<number, number>()
  #length = 0
  /** The hash of the batch's first request; undefined where the file is new. */
  #first: string | undefined
  /** Bytes of whole lines. */
  #size = 0
  readonly #failing = new AbortController()
  #waiting: Array<{ readonly line: string; readonly written: () => void }> = []
  #writing: Promise<void> | undefined
  /** What was read last, and from where. */
  #page: Buffer = Buffer.alloc(0)
  #pageAt = 0
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, identity: string) {
    this.#file = file
    this.#identity = identity
  }

  /**
   * Opens a journal, or begins one. Rejects with BATCH_JOURNAL_UNAVAILABLE where it cannot be read and written,
   * BATCH_JOURNAL_FOREIGN where it is no journal, BATCH_JOURNAL_DAMAGED where a line cannot be read; the file then stays
   * as it is. At an abort with the signal's reason.
   */
  static async open(path: string, signal: AbortSignal | undefined): Promise<Journal> {
    // Not to be blocked by a pipe that nobody writes to. Nobody else reads what an API answered.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK
    const file = await onDisk(() => open(path, flags, 0o600))
    let identity: string | undefined
    try {
      const stats = await onDisk(() => file.stat())
      if (!stats.isFile()) throw unavailable('it is no file')
      identity = `${stats.dev}:${stats.ino}`
      if (inUse.has(identity)) {
        identity = undefined
        throw unavailable('another batch of this process keeps its answers in it')
      }
      inUse.add(identity)
      const journal = new Journal(file, identity)
      await journal.#scan(stats.size, signal)
      return journal
    } catch (error) {
      if (identity !== undefined) inUse.delete(identity)
      await file.close().catch(() => {})
      throw error
    }
  }

  /** Aborts when an answer could not be written: nothing more may be sent. Its reason is BATCH_JOURNAL_UNAVAILABLE. */
  get failed(): AbortSignal {
    return this.#failing.signal
  }

  /** One more than the largest index there is an answer to. */
  get length(): number {
    return this.#length
  }

  /**
   * Says which batch it is, by the hash of its first request: before anything is recalled. Rejects with
   * BATCH_JOURNAL_FOREIGN where the file began with another request, BATCH_JOURNAL_UNAVAILABLE where it cannot be written.
   */
  begin(first: string): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#first === undefined) {
        await this.#write(headerOf(first))
        if (this.failed.aborted) throw this.failed.reason
        this.#first = first
      } else if (this.#first !== first) throw foreign('it begins with another request')
    })
  }

  /** What a request was answered with, if it was. Rejects with BATCH_JOURNAL_FOREIGN where another request has that index. */
  recall<Result>(index: number, hash: string): Promise<BatchResult<Result> | undefined> {
    return this.#inTurn(async () => {
      const at = this.#lineAt.get(index)
      if (at === undefined) return undefined
      const line = await this.#lineFrom(at, this.#size)
      const entry = line && readLine(decoded(line))
      if (entry?.index !== index) throw unavailable('it was changed by somebody else meanwhile')
      if (entry.hash !== hash) throw foreign(`request ${index} is another one there`)
      return told<Result>(entry.answer)
    })
  }

  /**
   * Writes an answer, and resolves to how its request is settled. One that JSON would change is rejected with
   * BATCH_RESULT_NOT_JSON, and remembered as that. Where it cannot be written it is told all the same, and `failed` aborts.
   */
  async keep<Result>(index: number, hash: string, value: Result): Promise<BatchResult<Result>> {
    const answer = asKept(value)
    await this.#write(lineOf({ index, hash, answer }))
    return told(answer)
  }

  /** Waits for what is being written, and ends it. Never rejects. */
  async close(): Promise<void> {
    await this.#writing
    inUse.delete(this.#identity)
    await onDisk(async () => {
      // What is written outlives this process by itself; after this the machine, too.
      await this.#file.datasync().catch(() => {})
      await this.#file.close()
    }).catch(() => {})
  }

  /** One after the other: a journal that is another batch's is so for all who ask after. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn
    turn.catch(() => {})
    return turn
  }

  /** Reads all lines once, to know where they are, and that they can be read. */
  async #scan(size: number, signal: AbortSignal | undefined): Promise<void> {
    let number = 0
    while (this.#size < size) {
      if (signal?.aborted) throw signal.reason
      const line = await this.#lineFrom(this.#size, size)
      if (number === 0 && !isHeaderBegun(this.#page.toString('latin1', 0, HEADER_LOOKED_AT)))
        throw foreign('it is no journal of a batch')
      // Cut: only the last one can be without an end.
      if (!line) break
      number++
      if (number === 1) {
        this.#first = readHeader(decoded(line))
        if (this.#first === undefined) throw damaged(number)
      } else {
        const entry = readLine(decoded(line))
        if (!entry) throw damaged(number)
        if (!this.#lineAt.has(entry.index)) this.#lineAt.set(entry.index, this.#size)
        this.#length = Math.max(this.#length, entry.index + 1)
      }
      this.#size += line.length + 1
    }
    if (this.#size < size) await onDisk(() => this.#file.truncate(this.#size))
  }

  /** The line that begins there, without its end; undefined where it has none before `until`. */
  async #lineFrom(at: number, until: number): Promise<Buffer | undefined> {
    for (let bytes = PAGE_BYTES; ; bytes *= 4) {
      const start = at - this.#pageAt
      const end = start >= 0 && start < this.#page.length ? this.#page.indexOf(LINE_END, start) : -1
      if (end !== -1) return this.#page.subarray(start, end)
      if (bytes > PAGE_BYTES && this.#pageAt + this.#page.length >= until) return undefined
      if (!(await this.#readPage(at, Math.min(bytes, until - at)))) return undefined
    }
  }

  /** False where the file is shorter by now. */
  async #readPage(at: number, length: number): Promise<boolean> {
    const { buffer, bytesRead } = await onDisk(() => this.#file.read(Buffer.alloc(length), 0, length, at))
    this.#page = buffer.subarray(0, bytesRead)
    this.#pageAt = at
    return bytesRead === length
  }

  async #write(line: string): Promise<void> {
    if (this.failed.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ line, written: resolve })
    this.#writing ??= this.#writeAll()
    await promise
  }

  /** Lines that come while others are being written go together. Never rejects. */
  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting
      this.#waiting = []
      if (!this.failed.aborted)
        await this.#append(group.map(({ line }) => line).join('')).catch((error) => this.#failing.abort(error))
      for (const { written } of group) written()
    }
    this.#writing = undefined
  }

  async #append(lines: string): Promise<void> {
    const { size, nlink } = await onDisk(() => this.#file.stat())
    if (nlink === 0) throw unavailable('it was removed meanwhile')
    if (size !== this.#size) throw unavailable('somebody else writes to it')
    const bytes = Buffer.from(lines)
    await onDisk(() => this.#file.appendFile(bytes))
    this.#size += bytes.length
  }
}

function told<Result>(answer: JournalAnswer): BatchResult<Result> {
  if ('refused' in answer)
    return {
      status: 'rejected',
      reason: new HoldfastError(
        'BATCH_RESULT_NOT_JSON',
        `${answer.refused}, which JSON would change: the journal cannot keep it. The request was answered, and is not sent again; return plain data from send, and remove its line from the journal to send it once more`,
      ),
    }
  // What was written is what `send` resolved with: JSON changed nothing of it.
  return { status: 'fulfilled', value: answer.value as Result }
}

/** Does one thing with a file, within its time. Rejects with BATCH_JOURNAL_UNAVAILABLE. */
async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  const late = () => unavailable(`the disk did not answer within ${DISK_TIMEOUT_MS} ms`)
  try {
    return await withDeadline(systemClock, DISK_TIMEOUT_MS, [], late, (signal) => abandonable(work, signal))
  } catch (error) {
    if (error instanceof HoldfastError) throw error
    const code = codeOf(error) ?? 'an unknown reason'
    throw unavailable(TROUBLES[code] ?? code, error)
  }
}

const TROUBLES: Readonly<Record<string, string>> = {
  EISDIR: 'it is a folder',
  ENOENT: 'its folder does not exist',
  EACCES: 'this process may not read and write it',
  EPERM: 'this process may not read and write it',
  EROFS: 'the disk can only be read',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EFBIG: 'it may not become larger',
}

/** Its text; '' where it is none, which no line is. */
function decoded(line: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(line)
  } catch {
    return ''
  }
}

function unavailable(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'BATCH_JOURNAL_UNAVAILABLE',
    `the journal cannot be used: ${why}; nothing more is sent. Mend that, and start the same batch again`,
    { cause },
  )
}

/** The error for a journal that is not this batch's. */
export function foreign(why: string): HoldfastError {
  return new HoldfastError(
    'BATCH_JOURNAL_FOREIGN',
    `the journal is not this batch's: ${why}; it was left as it is. Give each batch a file of its own, and the requests in the order they had`,
  )
}

function damaged(line: number): HoldfastError {
  return new HoldfastError(
    'BATCH_JOURNAL_DAMAGED',
    `line ${line} of the journal cannot be read; it was left as it is, and nothing was sent. Restore it, or remove the line: its request is then sent again`,
  )
}
