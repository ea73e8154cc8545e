import type { RedisConfig } from '../config/redis.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { Redis } from './commands.ts'
import { type Link, openLink, type RedisArgument } from './link.ts'
import { Pipeline } from './pipeline.ts'
import { ReadBatches } from './read-batches.ts'
import { endsGeneration, translate, unavailable } from './redis-error.ts'
import type { Script } from './script.ts'

const CONNECT_TIMEOUT_MS: Milliseconds = 1_500
/** In a burst Redis may be silent for so many times longer: it and we are busy, on the same processors perhaps. */
const BURST_PATIENCE = 3

/**
 * One connection from its opening to its end, with all that was asked of it. It ends with the first answer that does not
 * come in time, with an answer that says that nothing can be done, or when it breaks.
 */
export class Generation implements Redis {
  readonly since: Milliseconds
  /** Resolves with the reason. */
  readonly ended: Promise<unknown>
  readonly #link: Link
  readonly #config: RedisConfig
  readonly #pipeline: Pipeline
  readonly #batches: ReadBatches
  readonly #finish: (why: unknown) => void

  private constructor(
    link: Link,
    config: RedisConfig,
    clock: Clock,
    ended: Promise<unknown>,
    finish: (why: unknown) => void,
  ) {
    this.#link = link
    this.#config = config
    this.#pipeline = new Pipeline(clock, config.readTimeoutMs)
    this.#batches = new ReadBatches(clock, (keys, isBurst) =>
      this.#ask(config.readTimeoutMs * (isBurst ? BURST_PATIENCE : 1), () => link.read(keys)),
    )
    this.#finish = finish
    this.since = clock.monotonic()
    this.ended = ended
  }

  /** Connects, within 1.5 s. Rejects as `openLink`, with REDIS_UNAVAILABLE or with `signal.reason`, which also ends it later. */
  static async open(config: RedisConfig, clock: Clock, signal: AbortSignal): Promise<Generation> {
    const { promise: ended, resolve: finish } = Promise.withResolvers<unknown>()
    const late = () => unavailable('no connection in time')
    const link = await withDeadline(clock, CONNECT_TIMEOUT_MS, [signal], late, (signal) =>
      abandonable(() => openLink(config, finish, signal), signal),
    )
    const generation = new Generation(link, config, clock, ended, finish)
    const abort = () => generation.end(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void ended.then((why) => {
      signal.removeEventListener('abort', abort)
      link.destroy()
      generation.#close(translate(why))
    })
    return generation
  }

  end(why: unknown): void {
    this.#finish(why)
    this.#link.destroy()
    this.#close(translate(why))
  }

  #close(why: unknown): void {
    this.#pipeline.close(why)
    this.#batches.close(why)
  }

  read(keys: readonly string[], timeoutMs = this.#config.readTimeoutMs): Promise<Array<Buffer | null>> {
    if (this.#link.readsTogether && timeoutMs === this.#config.readTimeoutMs) return this.#batches.read(keys)
    return this.#ask(timeoutMs, () => this.#link.read(keys))
  }

  run(
    script: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
    timeoutMs = this.#config.writeTimeoutMs,
  ): Promise<unknown> {
    return this.#ask(timeoutMs, () => this.#link.run(script, keys, args), script.name)
  }

  publish(channel: string, message: Buffer | string): Promise<unknown> {
    return this.#ask(this.#config.writeTimeoutMs, () => this.#link.publish(channel, message))
  }

  subscribe(channel: string, listener: (message: Buffer) => void): Promise<void> {
    return this.#ask(this.#config.writeTimeoutMs, () => this.#link.subscribe(channel, listener))
  }

  /** Whether a read can be answered in time. */
  async ping(): Promise<void> {
    await this.#ask(this.#config.readTimeoutMs, () => this.#link.ping())
  }

  #ask<T>(timeoutMs: Milliseconds, send: () => Promise<T>, what?: string): Promise<T> {
    return this.#pipeline
      .ask(timeoutMs, send, (error) => this.end(error))
      .catch((error) => {
        const translated = translate(error, what)
        if (endsGeneration(error)) this.end(translated)
        throw translated
      })
  }
}
