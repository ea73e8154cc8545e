import { type KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import type { RedisConnection } from './connection.ts'
import { REDIS_CHANNELS } from './keys.ts'

/** Digits of a time in microseconds, which scripts put in front of what they publish. */
const TIME_DIGITS = 16
export const NO_TIME = '0'.repeat(TIME_DIGITS)

/** What one process tells the others; `kind` says who listens. */
export type NewsItem = readonly [kind: string, ...details: ReadonlyArray<string | number>]

/**
 * What processes tell each other, over one channel. Sealed: nobody who listens learns a user's id, and nobody who can
 * only reach Redis can make a process believe anything.
 */
export class News {
  readonly channel: string
  readonly #ring: KeyRing
  readonly #listeners = new Map<string, (details: ReadonlyArray<string | number>, atMicros: number) => void>()
  /** Tells our own messages, which come back to us, from the others'. */
  readonly #self = uniqueToken() + uniqueToken()

  constructor(connection: RedisConnection, ring: KeyRing) {
    this.#ring = ring
    this.channel = connection.prefix + REDIS_CHANNELS.news[0]
    connection.listen(this.channel, (message) => this.#receive(message))
  }

  on(kind: string, listener: (details: ReadonlyArray<string | number>, atMicros: number) => void): void {
    this.#listeners.set(kind, listener)
  }

  /** A message for a script to publish, after 16 digits of time. */
  sealed(item: NewsItem): string {
    return this.#ring.seal(JSON.stringify([this.#self, ...item]), this.channel).toString('base64')
  }

  /** What `publish` takes. */
  message(item: NewsItem): readonly [channel: string, message: string] {
    return [this.channel, NO_TIME + this.sealed(item)]
  }

  /** Hands on a message that was kept for us. How long it still holds takes the place of its last detail, how long it holds in all. */
  deliver(sealed: string, forMs: number): void {
    const item = this.#open(sealed)
    const longestMs = Number(item?.details.at(-1))
    // The time beside it is not sealed: whoever can write to Redis may shorten what it says, and not prolong it.
    if (item && forMs > 0)
      this.#listeners.get(item.kind)?.([...item.details.slice(0, -1), Math.min(forMs, longestMs)], 0)
  }

  #receive(message: Buffer): void {
    const text = message.toString('latin1')
    const item = this.#open(text.slice(TIME_DIGITS))
    if (item) this.#listeners.get(item.kind)?.(item.details, Number(text.slice(0, TIME_DIGITS)))
  }

  /** Undefined for what is our own, and for what nobody with our secret has written. */
  #open(sealed: string): { kind: string; details: Array<string | number> } | undefined {
    const opened = this.#ring.open(Buffer.from(sealed, 'base64'), this.channel)
    if (opened === undefined) return undefined
    const [sender, kind, ...details]: [string, string, ...Array<string | number>] = JSON.parse(opened)
    return sender === this.#self ? undefined : { kind, details }
  }
}
