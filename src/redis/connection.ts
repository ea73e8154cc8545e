import { Breaker } from '../concurrency/breaker.ts'
import type { RedisConfig } from '../config/redis.ts'
import { closedError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { uniqueToken } from '../secrets/key-ring.ts'
import { afterInput, alarm, type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import { Deadlines } from './deadlines.ts'
import { REDIS_CHANNELS, REDIS_KEYS } from './keys.ts'
import { type Link, loadLibrary, openLink, type RedisArgument } from './link.ts'
import { describe, endsLife, translate, unavailable } from './redis-error.ts'
import { RedisTime } from './redis-time.ts'
import { defineScript, type Script } from './script.ts'

export interface RedisConnectionOptions {
  readonly config: RedisConfig
  /** What every key and channel begins with. */
  readonly prefix: string
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger?: Logger | undefined
}

/** What can be asked of Redis. */
export interface Redis {
  /** The values under keys of one slot. */
  read(keys: readonly string[]): Promise<Array<Buffer | null>>
  /** Runs a script; strings and integers come back. */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
    timeoutMs?: Milliseconds,
  ): Promise<unknown>
  publish(channel: string, message: Buffer | string): Promise<unknown>
  deleteMatching(pattern: string): Promise<void>
}

/** Whoever keeps something in Redis, and has to catch up when it is back. */
export interface Resident {
  /** Runs before Redis counts as back, at the start too, in the order of `house`. What it throws keeps Redis away. */
  returned?(redis: Redis): Promise<void>
  /** Redis is back. What came up while everybody caught up can be said. */
  back?(): void
  /** Redis is away from now on. */
  left?(): void
}

const FIRST_RETRY_MS: Milliseconds = 50
const LONGEST_RETRY_MS: Milliseconds = 2_000
/** A connection that lasted this long was a good one: the next retry comes soon again. */
const GOOD_LIFE_MS: Milliseconds = 10_000
/** Connecting, and everybody's catching up. */
const RETURN_TIMEOUT_MS: Milliseconds = 30_000
const CONNECT_TIMEOUT_MS: Milliseconds = 1_500
/** How often a message to ourselves proves that messages still arrive. */
const BEAT_EVERY_MS: Milliseconds = 5_000

/**
 * Proves that Redis answers and takes writes, and tells its time. A full memory is no reason to stay away: what is there
 * can be read. A replica that takes no writes is: it could never forget anything.
 */
const PROBE = defineScript(
  'probe',
  `local wrote = redis.pcall('SET', KEYS[1], '1', 'PX', 10000)
if type(wrote) == 'table' and wrote.err and string.sub(wrote.err, 1, 3) ~= 'OOM' then return wrote end
return redis.call('TIME')`,
)

/** One life of the connection: a link, and the deadlines of what was asked of it. */
export interface Life {
  readonly link: Link
  readonly since: Milliseconds
  readonly end: (why: unknown) => void
  readonly ended: Promise<unknown>
}

/**
 * Redis, or the certainty that it is away. The first answer that does not come in time, and any broken connection, opens
 * the breaker: from then on everything rejects at once, nothing is queued, and one attempt after another (50 ms, doubling
 * to 2 s) finds out whether it is back. Then every resident catches up, and the breaker closes.
 *
 * All that is asked of it rejects with HoldfastError REDIS_UNAVAILABLE (away, too slow, or refusing writes; a write that
 * was too slow may still be applied) or REDIS_MISUSE (a programming error, such as a wrong type).
 */
export class RedisConnection implements Redis {
  readonly prefix: string
  readonly readTimeoutMs: Milliseconds
  readonly writeTimeoutMs: Milliseconds
  readonly time: RedisTime
  readonly #options: RedisConnectionOptions
  readonly #clock: Clock
  readonly #breaker: Breaker
  readonly #residents: Resident[] = []
  readonly #channels = new Map<string, (message: Buffer) => void>()
  readonly #deadlines: Deadlines
  readonly #closing = new AbortController()
  #life: Life | undefined
  #starting: Promise<void> | undefined
  #loaded: Promise<unknown> = Promise.resolve()
  /** Until somebody waited for the first connection in vain. */
  #patient = true
  #why: unknown

  constructor(options: RedisConnectionOptions) {
    this.#options = options
    this.prefix = options.prefix
    this.readTimeoutMs = options.config.readTimeoutMs
    this.writeTimeoutMs = options.config.writeTimeoutMs
    this.#clock = options.clock
    this.time = new RedisTime(options.clock)
    this.#deadlines = new Deadlines(options.clock)
    this.#breaker = new Breaker(options.clock, (state) =>
      options.events.emit({ type: 'breaker', name: 'redis', state }),
    )
  }

  get isUp(): boolean {
    return this.#life !== undefined
  }

  /** Whether keys of one script have to share a slot. */
  get isCluster(): boolean {
    return this.#options.config.cluster
  }

  /** Whether asking is worth it: it is there, or it is not known yet. */
  get isUsable(): boolean {
    if (this.#life !== undefined) return true
    return this.#starting !== undefined && this.#patient && this.#breaker.state === 'closed' && !this.isClosed
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Ends this life of the connection; the next one begins at once. */
  renew(): void {
    this.#life?.end('it is opened anew')
  }

  /** Takes in somebody who catches up whenever Redis is back. Only before `start`. */
  house(resident: Resident): void {
    this.#residents.push(resident)
  }

  /** Hands every message of a channel to `listener`. Only before `start`. */
  listen(channel: string, listener: (message: Buffer) => void): void {
    this.#channels.set(channel, listener)
  }

  /** Begins to connect, once. Until it is known whether Redis is there, reads and scripts wait for it, within their own time. */
  start(): void {
    this.#starting ??= new Promise((resolve) => {
      this.#loaded = loadLibrary().catch(() => {})
      void this.#supervise(resolve)
    })
  }

  /** Resolves when Redis was reached, or is known to be away, or after `deadlineMs`. */
  async ready(deadlineMs: Milliseconds): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancelAlarm = alarm(this.#clock, deadlineMs, resolve)
    void this.#starting?.then(resolve)
    await promise
    cancelAlarm()
  }

  /** Waits until Redis is there, as long as that is not known yet and nobody waited in vain; else it rejects at once. */
  async reach(timeoutMs: Milliseconds): Promise<Life> {
    if (this.isClosed) throw closedError()
    if (this.isUsable) {
      // Reading the library from disk keeps the event loop busy, and is nobody's time-out.
      await this.#loaded
      await this.ready(timeoutMs)
      this.#patient = false
    }
    if (this.#life) return this.#life
    throw unavailable(this.#why)
  }

  read(keys: readonly string[]): Promise<Array<Buffer | null>> {
    return this.#ask(this.readTimeoutMs, (link) => link.read(keys))
  }

  run(
    script: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
    timeoutMs: Milliseconds = this.writeTimeoutMs,
  ): Promise<unknown> {
    return this.#ask(timeoutMs, (link) => link.run(script, keys, args), script.name)
  }

  publish(channel: string, message: Buffer | string): Promise<unknown> {
    return this.#ask(this.writeTimeoutMs, (link) => link.publish(channel, message))
  }

  deleteMatching(pattern: string): Promise<void> {
    return this.#ask(RETURN_TIMEOUT_MS, (link) => link.deleteMatching(pattern))
  }

  /** Ends the connection; everything asked from now on rejects. Idempotent. */
  close(): void {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(closedError())
  }

  /** One life after another, with a pause between them. */
  async #supervise(started: () => void): Promise<void> {
    const { signal } = this.#closing
    for (let failures = 0; !signal.aborted; ) {
      let life: Life | undefined
      try {
        life = await this.#begin(signal)
        this.#life = life
        this.#why = undefined
        this.#breaker.close()
        started()
        for (const resident of this.#residents) resident.back?.()
        void this.#beat(life)
        this.#why = await life.ended
      } catch (error) {
        this.#why = error
      }
      this.#life = undefined
      started()
      if (signal.aborted) break
      failures = life && this.#clock.monotonic() - life.since > GOOD_LIFE_MS ? 0 : failures + 1
      const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures, 10), LONGEST_RETRY_MS)
      if (this.#breaker.state === 'closed') this.#report()
      this.#breaker.open(pauseMs)
      for (const resident of this.#residents) resident.left?.()
      await sleepIdly(this.#clock, pauseMs * (1 + this.#options.random() / 4), signal).catch(() => {})
      this.#breaker.pass()
    }
  }

  async #begin(signal: AbortSignal): Promise<Life> {
    const { promise: ended, resolve: finish } = Promise.withResolvers<unknown>()
    const late = () => unavailable('no connection in time')
    const link = await withDeadline(this.#clock, CONNECT_TIMEOUT_MS, [signal], late, (signal) =>
      abandonable(() => openLink(this.#options.config, finish, signal), signal),
    )
    const life: Life = {
      link,
      since: this.#clock.monotonic(),
      ended,
      end: (why) => {
        finish(why)
        link.destroy()
      },
    }
    const close = () => life.end(signal.reason)
    signal.addEventListener('abort', close, { once: true })
    void ended.then(() => {
      signal.removeEventListener('abort', close)
      link.destroy()
    })
    try {
      for (const [channel, listener] of this.#channels)
        await this.#within(life, this.writeTimeoutMs, (link) => link.subscribe(channel, listener))
      const redis: Redis = {
        read: (keys) => this.#within(life, this.writeTimeoutMs, (link) => link.read(keys)),
        run: (script, keys, args, timeoutMs = this.writeTimeoutMs) =>
          this.#within(life, timeoutMs, (link) => link.run(script, keys, args), script.name),
        publish: (channel, message) =>
          this.#within(life, this.writeTimeoutMs, (link) => link.publish(channel, message)),
        deleteMatching: (pattern) => this.#within(life, RETURN_TIMEOUT_MS, (link) => link.deleteMatching(pattern)),
      }
      await this.#probe(redis)
      for (const resident of this.#residents) await resident.returned?.(redis)
      // As fast as a read has to be: a Redis that is too slow for those is as good as away.
      await this.#within(life, this.readTimeoutMs, (link) => link.ping())
      if (signal.aborted) throw signal.reason
      return life
    } catch (error) {
      life.end(error)
      throw error
    }
  }

  async #probe(redis: Redis): Promise<void> {
    const sentAt = this.#clock.monotonic()
    const [seconds, micros] = (await redis.run(PROBE, [this.prefix + REDIS_KEYS.probe[0]], [])) as [string, string]
    this.time.begin(sentAt, Number(seconds) * 1000 + Number(micros) / 1000)
  }

  /** Sends messages to ourselves for as long as a life lasts: a half-dead connection is silent, not closed. */
  async #beat(life: Life): Promise<void> {
    const channel = this.prefix + REDIS_CHANNELS.beat[0].replace('<random>', uniqueToken() + uniqueToken())
    let heard = true
    try {
      await this.#within(life, this.writeTimeoutMs, (link) => link.subscribe(channel, () => (heard = true)))
      while (this.#life === life) {
        heard = false
        await this.#within(life, this.writeTimeoutMs, (link) => link.publish(channel, ''))
        await sleepIdly(this.#clock, BEAT_EVERY_MS, this.#closing.signal)
        await new Promise<void>((read) => afterInput(read))
        if (!heard) life.end(unavailable('messages do not arrive any more'))
      }
    } catch {
      // It has ended, by a time-out that was noted where it happened or because we close.
    }
  }

  #ask<T>(timeoutMs: Milliseconds, work: (link: Link) => Promise<T>, what?: string): Promise<T> {
    const life = this.#life
    if (life) return this.#within(life, timeoutMs, work, what)
    return this.reach(timeoutMs).then((life) => this.#within(life, timeoutMs, work, what))
  }

  /** One question, with its deadline. The first that is not answered in time ends the life for all. */
  #within<T>(life: Life, timeoutMs: Milliseconds, work: (link: Link) => Promise<T>, what?: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const deadline = this.#deadlines.set(timeoutMs, () => {
        const error = unavailable(`no answer within ${timeoutMs} ms`)
        reject(error)
        life.end(error)
      })
      answerOf(work, life.link).then(
        (value) => {
          this.#deadlines.met(deadline)
          resolve(value)
        },
        (error) => {
          this.#deadlines.met(deadline)
          const translated = translate(error, what)
          reject(translated)
          if (endsLife(error)) life.end(translated)
        },
      )
    })
  }

  #report(): void {
    this.#options.logger?.warn(
      { error: describe(this.#why) },
      'Redis is away; every process carries on with its own memory until it is back',
    )
  }
}

/** What was asked of a client that throws at once is treated like any other. No promise around the answer: at full load that is felt. */
function answerOf<T>(work: (link: Link) => Promise<T>, link: Link): Promise<T> {
  try {
    return work(link)
  } catch (error) {
    return Promise.reject(error)
  }
}
