import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'
import { stringBytes } from '../guilds/string-bytes.ts'
import type { Milliseconds } from '../time/clock.ts'
import { type CacheKey, keyLabel, keyName, userOf } from './cache-key.ts'
import type { Codec, OwnCacheOptions } from './cache-options.ts'
import type { ToldTimes } from './entry.ts'
import { isTrouble } from './failures.ts'
import { plainJsonBytes } from './plain-json.ts'
import type { SharedKey } from './shared-tier.ts'

/** The times of an instance, for questions that bring none of their own. */
export interface CacheTimes {
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  readonly patienceMs: Milliseconds
}

/**
 * A key and what its caller wants of it: the options of one call, with the instance's times where it names none. Made
 * only where a hit in memory does not answer at once.
 */
export class Question<T> {
  readonly key: CacheKey
  /** The one string under which the key is kept. */
  readonly id: string
  readonly options: OwnCacheOptions<T>
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  /** How long the value is kept, for callers who accept older ones than this one does. */
  readonly keepMs: Milliseconds
  readonly patienceMs: Milliseconds

  constructor(key: CacheKey, id: string, options: OwnCacheOptions<T>, times: CacheTimes) {
    this.key = key
    this.id = id
    this.options = options
    this.freshMs = options.freshMs ?? times.freshMs
    this.staleMs = options.staleMs ?? times.staleMs
    this.keepMs = options.keepMs ?? this.staleMs
    this.patienceMs = options.patienceMs ?? times.patienceMs
  }

  /** The key as events name it. */
  get name(): string {
    return keyName(this.key)
  }

  /** Whose it is, where it belongs to a user. */
  get user(): string | undefined {
    return userOf(this.key)
  }

  /** Whether the cache's keeper of values holds it. */
  get kept(): boolean {
    return this.options.kept === true
  }

  get sharedKey(): SharedKey {
    return sharedKey(this.key, this.id, this.options.codec)
  }

  /** For how long it is already known that a load would be refused; 0 where it is not. */
  get refusedForMs(): Milliseconds {
    return this.options.refusedForMs?.() ?? 0
  }

  /** Whether a stale value may hide this error. */
  masks(error: unknown): boolean {
    // It was trouble where it failed: what is not is never told to the others.
    return codeOf(error) === 'LOAD_FAILED_ELSEWHERE' || (this.options.shouldMask ?? isTrouble)(error)
  }

  /** Whether an error that no stale value may hide says that what is held is no longer true. */
  purges(error: unknown): boolean {
    return this.options.purges?.(error) ?? true
  }

  /** The value as text and its size; refuses what cannot be kept, with VALUE_UNDEFINED or VALUE_NOT_JSON. */
  encode(value: T): Encoded<T> {
    const { codec, kept } = this.options
    // Its keeper counts its bytes, and without a shared tier nobody needs its text.
    return kept && codec && value !== undefined
      ? { value, bytes: 0, text: () => codec.encode(value) }
      : encode(value, codec)
  }

  /** Undefined where the text cannot be used: whatever wrote it, it is as good as absent. */
  decode(stored: string): Decoded<T> | undefined {
    const { codec, kept } = this.options
    try {
      const { text, told } = withoutTimes(stored)
      if (codec) return { value: codec.decode(text), bytes: kept ? 0 : 2 * stringBytes(text), told }
      const value = JSON.parse(text)
      return { value, bytes: plainJsonBytes(value), told }
    } catch {
      return undefined
    }
  }
}

/** A value that was read as text. */
export interface Decoded<T> {
  readonly value: T
  readonly bytes: number
  readonly told: ToldTimes | undefined
}

/** Begins a text that brings the loader's times along; JSON never does. */
const TIMED = '\u0001'

/** The text for other processes, with the times that its loader told. */
export function withTimes(text: string, told: ToldTimes | undefined): string {
  return told || text.startsWith(TIMED) ? `${TIMED}${JSON.stringify(told ?? {})}\n${text}` : text
}

function withoutTimes(stored: string): { readonly text: string; readonly told: ToldTimes | undefined } {
  if (!stored.startsWith(TIMED)) return { text: stored, told: undefined }
  const end = stored.indexOf('\n')
  const told: ToldTimes = JSON.parse(stored.slice(TIMED.length, end))
  return {
    text: stored.slice(end + 1),
    told: told.freshMs === undefined && told.staleMs === undefined ? undefined : told,
  }
}

/** A value that can be kept. */
export interface Encoded<T> {
  /** What is kept: for plain data a copy, as another process would read it. */
  readonly value: T
  readonly bytes: number
  /** For a shared tier; written where somebody needs it. */
  readonly text: () => string
}

/**
 * Plain data is copied: nobody who loaded it can change it any more, and nothing larger stays alive for its sake, such
 * as the text that a short string was cut out of.
 */
export function encode<T>(value: T, codec: Codec<T> | undefined): Encoded<T> {
  if (value === undefined)
    throw new HoldfastError('VALUE_UNDEFINED', 'undefined cannot be cached; return null where there is nothing')
  if (codec) {
    const text = codec.encode(value)
    // What it decodes to is the codec's affair; its text is the best guess.
    return { value, bytes: 2 * stringBytes(text), text: () => text }
  }
  const bytes = plainJsonBytes(value)
  const text = JSON.stringify(value)
  return { value: JSON.parse(text), bytes, text: () => text }
}

/** A key as a tier that several processes share knows it. */
export function sharedKey(key: CacheKey, id: string, codec?: { readonly version: string }): SharedKey {
  return {
    id,
    user: userOf(key),
    label: keyLabel(key),
    version: codec?.version ?? 'json',
  }
}
