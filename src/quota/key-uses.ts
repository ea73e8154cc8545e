import { codeOf } from '../errors/code-of.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'

/** A use is noted at most this often for each key. */
const EVERY_MS: Milliseconds = 60_000
/** One note. */
const NOTE_TIMEOUT_MS: Milliseconds = 10_000

/** Where uses are noted, as a vault does. */
export interface UseNotes {
  touch(id: string): Promise<void>
}

/** Notes the uses of a batch's keys, one after the other, so that a batch over many keys is one writer. */
export class KeyUses {
  readonly #notes: UseNotes
  readonly #clock: Clock
  readonly #notedAt = new Map<string, Milliseconds>()
  readonly #waiting = new Set<string>()
  #writing: Promise<void> | undefined
  #isOver = false
  readonly #over = Promise.withResolvers<void>()

  constructor(notes: UseNotes, clock: Clock) {
    this.#notes = notes
    this.#clock = clock
  }

  used(id: string): void {
    const now = this.#clock.monotonic()
    const notedAt = this.#notedAt.get(id)
    if (this.#isOver || (notedAt !== undefined && now - notedAt < EVERY_MS)) return
    this.#notedAt.set(id, now)
    this.#waiting.add(id)
    this.#writing ??= this.#write()
  }

  /** Resolves once all is noted that is going to be waited for. Never rejects. */
  async noted(): Promise<void> {
    await Promise.race([this.#writing, this.#over.promise])
  }

  /** Notes nothing more. */
  drop(): void {
    this.#isOver = true
    this.#over.resolve()
    this.#waiting.clear()
  }

  async #write(): Promise<void> {
    const late = () => Object.assign(new Error(), { code: 'ETIMEDOUT' })
    for (const id of this.#waiting) {
      this.#waiting.delete(id)
      try {
        await withDeadline(this.#clock, NOTE_TIMEOUT_MS, [], late, (signal) =>
          abandonable(() => this.#notes.touch(id), signal),
        )
      } catch (error) {
        // Calls are worth more than notes of them: the batch goes on.
        this.drop()
        const why = codeOf(error) ?? 'an unknown reason'
        process.emitWarning(
          `holdfast batch: the vault could not note when its keys were used (${why}); nothing more is noted for this batch`,
          { type: 'HoldfastWarning', code: 'HOLDFAST_KEY_USE_NOT_NOTED' },
        )
      }
    }
    this.#writing = undefined
  }
}
