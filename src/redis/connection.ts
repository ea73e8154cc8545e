import { Breaker } from '../concurrency/breaker.ts'
import type { RedisConfig } from '../config/redis.ts'
import { closedError, HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { uniqueToken } from '../secrets/key-ring.ts'
import { afterInput, alarm, type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { Redis } from './commands.ts'
import { Generation } from './generation.ts'
import { REDIS_CHANNELS, REDIS_KEYS } from './keys.ts'
import { loadLibrary, type RedisArgument } from './link.ts'
import { PROBE } from './probe.ts'
import { describe, unavailable } from './redis-error.ts'
import { RedisTime } from './redis-time.ts'
import type { Script } from './script.ts'

export interface RedisConnectionOptions {
  readonly config: RedisConfig
  /** What every key and channel begins with. */
  readonly prefix: string
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger?: Logger | undefined
}

/** What keeps something in Redis, and follows the connection. */
export interface ConnectionHooks {
  /**
   * Runs when a connection is made, beside the other hooks, before Redis counts as up: what was missed is caught up on.
   * What it throws keeps Redis away.
   */
  beforeReady?(redis: Redis): Promise<void>
  /** Redis is up. What was done while the hooks ran can be made good. */
  onReady?(): void
  /** Redis is away from now on. */
  onLost?(): void
  /** Runs every 10 s while Redis is up: keeps what must not be evicted. What it throws changes nothing. */
  upkeep?(redis: Redis): Promise<void>
}

const FIRST_RETRY_MS: Milliseconds = 50
const LONGEST_RETRY_MS: Milliseconds = 2_000
/** A connection that lasted this long was a good one: the next retry comes soon again. */
const GOOD_GENERATION_MS: Milliseconds = 10_000
/** How often a message to ourselves proves that messages still arrive, and the probe that Redis is what it was. */
const BEAT_EVERY_MS: Milliseconds = 5_000
/** How many beats lie between two times of upkeep. */
const UPKEEP_EVERY_BEATS = 2

/**
 * Redis, or the certainty that it is away. The first answer that does not come in time, and any broken connection, opens
 * the breaker: from then on everything rejects at once, nothing is queued, and one attempt after another (50 ms, doubling
 * to 2 s) finds out whether it is back. Then every hook catches up, and the breaker closes.
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
  readonly #hooks: ConnectionHooks[] = []
  readonly #channels = new Map<string, (message: Buffer) => void>()
  readonly #closing = new AbortController()
  #generation: Generation | undefined
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
    this.#breaker = new Breaker(options.clock, (state) =>
      options.events.emit({ type: 'breaker', name: 'redis', state }),
    )
  }

  get isUp(): boolean {
    return this.#generation !== undefined
  }

  /** Whether keys of one script have to share a slot. */
  get isCluster(): boolean {
    return this.#options.config.cluster
  }

  /** Whether asking is worth it: it is there, or it is not known yet. */
  get isUsable(): boolean {
    if (this.#generation !== undefined) return true
    return this.#starting !== undefined && this.#patient && this.#breaker.state === 'closed' && !this.isClosed
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Ends this connection; the next one is opened at once. */
  renew(): void {
    this.#generation?.end('it is opened anew')
  }

  /** Calls these hooks from now on. Only before `start`. */
  register(hooks: ConnectionHooks): void {
    this.#hooks.push(hooks)
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
  async reach(timeoutMs: Milliseconds): Promise<Generation> {
    if (this.isClosed) throw closedError()
    if (this.isUsable) {
      // Reading the library from disk keeps the event loop busy, and is nobody's time-out.
      await this.#loaded
      await this.ready(timeoutMs)
      this.#patient = false
    }
    if (this.#generation) return this.#generation
    throw unavailable(this.#why)
  }

  read(keys: readonly string[]): Promise<Array<Buffer | null>> {
    return this.#ask(this.readTimeoutMs, (generation) => generation.read(keys))
  }

  run(
    script: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
    timeoutMs: Milliseconds = this.writeTimeoutMs,
  ): Promise<unknown> {
    return this.#ask(timeoutMs, (generation) => generation.run(script, keys, args, timeoutMs))
  }

  publish(channel: string, message: Buffer | string): Promise<unknown> {
    return this.#ask(this.writeTimeoutMs, (generation) => generation.publish(channel, message))
  }

  /** Ends the connection; everything asked from now on rejects. Idempotent. */
  close(): void {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(closedError())
  }

  /** One generation after another, with a pause between them. */
  async #supervise(started: () => void): Promise<void> {
    const { signal } = this.#closing
    // As in `reach`: it is nobody's time-out, nor the connection's.
    await this.#loaded
    for (let failures = 0; !signal.aborted; ) {
      let generation: Generation | undefined
      try {
        generation = await this.#begin(signal)
        this.#generation = generation
        this.#why = undefined
        this.#breaker.close()
        started()
        for (const hooks of this.#hooks) hooks.onReady?.()
        void this.#beat(generation)
        this.#why = await generation.ended
      } catch (error) {
        this.#why = error
      }
      this.#generation = undefined
      started()
      if (signal.aborted) break
      const wasGood = generation && this.#clock.monotonic() - generation.since > GOOD_GENERATION_MS
      failures = wasGood ? 0 : failures + 1
      const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures, 10), LONGEST_RETRY_MS)
      if (this.#breaker.state === 'closed') this.#report()
      this.#breaker.open(pauseMs)
      for (const hooks of this.#hooks) hooks.onLost?.()
      await sleepIdly(this.#clock, pauseMs * (1 + this.#options.random() / 4), signal).catch(() => {})
      this.#breaker.pass()
    }
  }

  /**
   * Connects, and catches up: in as few round trips as order allows. What is said from the subscription on is heard, so
   * everything is read after it.
   */
  async #begin(signal: AbortSignal): Promise<Generation> {
    const { config } = this.#options
    const generation = await Generation.open(config, this.#clock, signal)
    try {
      const channels = [...this.#channels].map(([channel, listener]) => generation.subscribe(channel, listener))
      await Promise.all([this.#probe(generation), ...channels])
      // What is read now is nobody's answer yet, and may be long.
      const redis: Redis = {
        read: (keys) => generation.read(keys, config.writeTimeoutMs),
        run: (script, keys, args, timeoutMs) => generation.run(script, keys, args, timeoutMs),
        publish: (channel, message) => generation.publish(channel, message),
      }
      // A Redis that is too slow for reads is as good as away.
      const ping = generation.ping().catch((error) => {
        throw error instanceof HoldfastError ? unavailable(this.#tooSlow()) : error
      })
      await Promise.all([ping, ...this.#hooks.map((hooks) => hooks.beforeReady?.(redis))])
      if (signal.aborted) throw signal.reason
      return generation
    } catch (error) {
      generation.end(error)
      throw error
    }
  }

  #tooSlow(): string {
    return `no answer within ${this.readTimeoutMs} ms; where Redis is farther away than that, raise redis.readTimeoutMs`
  }

  async #probe(redis: Redis, observe: 'begin' | 'observe' = 'begin'): Promise<void> {
    const sentAt = this.#clock.monotonic()
    const keys = [this.prefix + REDIS_KEYS.probe[0], `${this.prefix}${REDIS_KEYS.probe[0]}:type`]
    // Under the same pattern as the other channels, and nobody listens to it.
    const reply = await redis.run(PROBE, keys, [this.prefix + REDIS_CHANNELS.beat[0].replace('<random>', 'probe')])
    const [seconds, micros, denied] = reply as [string, string, string?]
    if (denied !== undefined)
      throw unavailable(`NOPERM: this user may not ${denied}; docs/guides/fleet.md has the ACL line`)
    this.time[observe](sentAt, Number(seconds) * 1000 + Number(micros) / 1000)
  }

  /** Sends messages to ourselves for as long as a generation lasts: a half-dead connection is silent, not closed. */
  async #beat(generation: Generation): Promise<void> {
    const channel = this.prefix + REDIS_CHANNELS.beat[0].replace('<random>', uniqueToken() + uniqueToken())
    let heard = true
    try {
      await generation.subscribe(channel, () => {
        heard = true
      })
      for (let beats = 1; this.#generation === generation; beats++) {
        heard = false
        await generation.publish(channel, '')
        await sleepIdly(this.#clock, BEAT_EVERY_MS, this.#closing.signal)
        await new Promise<void>((read) => afterInput(read))
        if (this.#generation !== generation) return
        if (!heard) generation.end(unavailable('messages do not arrive any more'))
        await this.#probe(generation, 'observe')
        if (beats % UPKEEP_EVERY_BEATS === 0) await this.#upkeep(generation)
      }
    } catch (error) {
      // A time-out was noted where it happened. What the probe finds (a user who may do less than before) is noted here.
      generation.end(error)
    }
  }

  async #upkeep(generation: Generation): Promise<void> {
    await Promise.allSettled(this.#hooks.map((hooks) => hooks.upkeep?.(generation)))
  }

  #ask<T>(timeoutMs: Milliseconds, work: (generation: Generation) => Promise<T>): Promise<T> {
    const generation = this.#generation
    return generation ? work(generation) : this.reach(timeoutMs).then(work)
  }

  #report(): void {
    this.#options.logger?.warn(
      { error: describe(this.#why) },
      'Redis is away; every process carries on with its own memory until it is back',
    )
  }
}
