import { type KeyRing, uniqueToken } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { RedisConnection } from './connection.ts'
import { REDIS_CHANNELS } from './keys.ts'

/** Digits of a time in microseconds, which scripts put in front of what they publish. */
const TIME_DIGITS = 16
const NO_TIME = '0'.repeat(TIME_DIGITS)
/** A message that holds only for its moment is not older than this, and no further ahead: by more no two estimates differ. */
const CURRENT_MS: Milliseconds = 10_000
/** For how long messages are recognised that come a second time. Longer than they are current. */
const RECOGNISED_MS: Milliseconds = 60_000
/** Of so many; a fleet that says more within a minute has them recognised for less. */
const RECOGNISED = 100_000

/** What one process tells the others; `kind` says which listener hears it. */
export type Message = readonly [kind: string, ...details: ReadonlyArray<string | number>]
type Details = ReadonlyArray<string | number>

interface Listener {
  readonly hear: (details: Details, atMicros: number) => void
  readonly onlyCurrent: boolean
}

interface Opened {
  readonly kind: string
  readonly details: Details
  /** Which message of its sender it is, and of whom: no two are the same. */
  readonly number: number
  readonly name: string
  readonly own: boolean
  /** When it was sealed, on Redis's clock. */
  readonly sealedAtMs: Milliseconds
}

/**
 * What processes tell each other, over one channel. Sealed, with a number and Redis's time inside: nobody who listens
 * learns a user's id, and nobody who can only reach Redis can make a process believe anything, not by repeating what was
 * true once either (docs/decisions/0140-replayed-messages.md).
 */
export class Backplane {
  readonly channel: string
  readonly #connection: RedisConnection
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #listeners = new Map<string, Listener>()
  /** Tells our own messages, which come back to us, from the others'. */
  readonly #self = uniqueToken() + uniqueToken()
  #sent = 0
  /** Names of messages that were heard: of this minute, and of the one before. */
  #heard = new Set<string>()
  #heardBefore = new Set<string>()
  #heardSince: Milliseconds = 0

  constructor(connection: RedisConnection, ring: KeyRing, clock: Clock) {
    this.#connection = connection
    this.#ring = ring
    this.#clock = clock
    this.channel = connection.prefix + REDIS_CHANNELS.backplane[0]
    connection.listen(this.channel, (message) => this.#receive(message))
  }

  /** `onlyCurrent`: what is more than seconds old is dropped. Not for what must never be missed, such as invalidations. */
  on(kind: string, hear: Listener['hear'], { onlyCurrent = true }: { readonly onlyCurrent?: boolean } = {}): void {
    this.#listeners.set(kind, { hear, onlyCurrent })
  }

  /** A message for a script to publish, after 16 digits of time. */
  sealed(message: Message): string {
    const sealedAtMs = Math.floor(this.#connection.time.now() ?? 0)
    return this.#ring
      .seal(JSON.stringify([this.#self, ++this.#sent, sealedAtMs, ...message]), this.channel)
      .toString('base64')
  }

  /** What `publish` takes. */
  message(message: Message): readonly [channel: string, message: string] {
    return [this.channel, NO_TIME + this.sealed(message)]
  }

  /**
   * Hands on messages that were kept, in the order in which they were said: the later word counts. Our own as well, or an
   * earlier word of somebody else would stand again. The last detail of each is how long it held when it was sealed; the
   * listener is given how long it still holds: the time beside it is not sealed, so it may shorten that and not prolong it.
   */
  deliver(kept: ReadonlyArray<readonly [sealed: string, forMs: Milliseconds]>): void {
    const opened = kept.flatMap(([sealed, forMs]) => {
      const message = this.#open(sealed)
      return message ? [{ ...message, forMs }] : []
    })
    opened.sort((one, other) => one.sealedAtMs - other.sealedAtMs || one.number - other.number)
    for (const { kind, details, sealedAtMs, forMs } of opened) {
      const now = this.#connection.time.now() ?? sealedAtMs
      const leftMs = Math.min(forMs, Number(details.at(-1)) - Math.max(0, now - sealedAtMs))
      if (leftMs > 0) this.#listeners.get(kind)?.hear([...details.slice(0, -1), leftMs], 0)
    }
  }

  #receive(message: Buffer): void {
    const text = message.toString('latin1')
    const opened = this.#open(text.slice(TIME_DIGITS))
    const listener = opened && !opened.own && this.#listeners.get(opened.kind)
    if (!listener || this.#wasHeard(opened.name)) return
    if (listener.onlyCurrent && !this.#isCurrent(opened)) return
    listener.hear(opened.details, Number(text.slice(0, TIME_DIGITS)))
  }

  #isCurrent({ sealedAtMs }: Opened): boolean {
    const now = this.#connection.time.now()
    return now !== undefined && Math.abs(now - sealedAtMs) <= CURRENT_MS
  }

  /** Whether a message comes a second time; remembers it. */
  #wasHeard(name: string): boolean {
    if (this.#heard.has(name) || this.#heardBefore.has(name)) return true
    const now = this.#clock.monotonic()
    if (now - this.#heardSince > RECOGNISED_MS || this.#heard.size >= RECOGNISED) {
      this.#heardBefore = this.#heard
      this.#heard = new Set()
      this.#heardSince = now
    }
    this.#heard.add(name)
    return false
  }

  /** Undefined for what nobody with our secret has written. */
  #open(sealed: string): Opened | undefined {
    const opened = this.#ring.open(Buffer.from(sealed, 'base64'), this.channel)
    if (opened === undefined) return undefined
    const [sender, number, sealedAtMs, kind, ...details]: [string, number, number, string, ...Array<string | number>] =
      JSON.parse(opened)
    return { kind, details, sealedAtMs, number, name: `${sender} ${number}`, own: sender === this.#self }
  }
}
