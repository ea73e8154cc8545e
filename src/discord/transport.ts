import { type Dispatcher, Pool } from 'undici'
import { type DiscordUnavailableCode, DiscordUnavailableError } from '../errors/errors.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import type { Answer, AnswerHeaders, Call } from './call.ts'

/** A longer body is not one of Discord's answers: 200 guilds are 60 kB, a page of members 500 kB. */
export const LARGEST_BODY_BYTES = 8 * 1024 * 1024
/** A bound where Discord accepts connections and never answers: with all of them waiting, further calls wait for one. */
const CONNECTIONS = 1024

export interface TransportOptions {
  readonly baseUrl: URL
  readonly userAgent: string
  /** One attempt, connect to last byte. */
  readonly timeoutMs: Milliseconds
  readonly clock: Clock
}

/** The one file that talks to Discord's network address. No redirects, no retries, no opinions. */
export class Transport {
  readonly #pool: Pool
  readonly #basePath: string
  readonly #userAgent: string
  readonly #timeoutMs: Milliseconds
  readonly #clock: Clock
  /** Under way, oldest first; all have the same time-out, so the oldest is the next to run out. */
  readonly #underWay = new Set<Exchange>()
  #cancelAlarm: (() => void) | undefined

  constructor(options: TransportOptions) {
    this.#clock = options.clock
    this.#timeoutMs = options.timeoutMs
    this.#userAgent = options.userAgent
    this.#basePath = options.baseUrl.pathname.replace(/\/$/, '')
    this.#pool = new Pool(options.baseUrl.origin, {
      connections: CONNECTIONS,
      connect: { timeout: options.timeoutMs },
      // One alarm below bounds the whole attempt.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  /** Sends one request. Rejects with DiscordUnavailableError, or with `signal.reason`. */
  send(call: Call, attempt: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const exchange = new Exchange(call, attempt, this.#clock, signal, resolve, reject, () => this.#ended(exchange))
      this.#underWay.add(exchange)
      this.#watch()
      const headers: Record<string, string> = { 'user-agent': this.#userAgent, accept: 'application/json' }
      if (!call.isForm) headers.authorization = `${call.tokenType} ${call.token}`
      // Discord answers 50035 to a body without a valid type, also to an empty one.
      if (call.method !== 'GET')
        headers['content-type'] = call.isForm ? 'application/x-www-form-urlencoded' : 'application/json'
      try {
        this.#pool.dispatch(
          { method: call.method, path: this.#basePath + call.path, headers, body: call.body ?? null },
          exchange,
        )
      } catch (error) {
        exchange.fail('DISCORD_NETWORK', 'the request could not be sent', error)
      }
    })
  }

  async close(): Promise<void> {
    this.#cancelAlarm?.()
    this.#cancelAlarm = undefined
    await this.#pool.destroy()
  }

  #watch(): void {
    if (this.#cancelAlarm) return
    const [oldest] = this.#underWay
    if (!oldest) return
    const leftMs = oldest.startedAt + this.#timeoutMs - this.#clock.monotonic()
    this.#cancelAlarm = alarm(this.#clock, Math.max(0, leftMs), () => {
      this.#cancelAlarm = undefined
      const dueBefore = this.#clock.monotonic() - this.#timeoutMs
      for (const exchange of [...this.#underWay]) {
        if (exchange.startedAt > dueBefore) break
        exchange.timeOut(this.#timeoutMs)
      }
      this.#watch()
    })
  }

  #ended(exchange: Exchange): void {
    this.#underWay.delete(exchange)
    // Nothing under way: no alarm may keep the process alive.
    if (this.#underWay.size === 0) {
      this.#cancelAlarm?.()
      this.#cancelAlarm = undefined
    }
  }
}

/** One request and its answer; undici calls the `on…` methods. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly startedAt: Milliseconds
  readonly #call: Call
  readonly #attempt: number
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #resolve: (answer: Answer) => void
  #reject: (reason: unknown) => void
  readonly #onEnd: () => void
  #controller: Dispatcher.DispatchController | undefined
  #ended = false
  #complete = false
  #sentAt = 0
  #receivedAt = 0
  #status = 0
  #headers: AnswerHeaders = {}
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(
    call: Call,
    attempt: number,
    clock: Clock,
    signal: AbortSignal,
    resolve: (answer: Answer) => void,
    reject: (reason: unknown) => void,
    onEnd: () => void,
  ) {
    this.startedAt = clock.monotonic()
    this.#call = call
    this.#attempt = attempt
    this.#clock = clock
    this.#signal = signal
    this.#resolve = resolve
    this.#reject = reject
    this.#onEnd = onEnd
    signal.addEventListener('abort', this.#abort, { once: true })
  }

  timeOut(afterMs: Milliseconds): void {
    if (this.#controller) this.fail('DISCORD_TIMEOUT', `Discord did not answer within ${afterMs} ms`)
    else
      this.fail('DISCORD_TIMEOUT', `no connection to Discord was to be had within ${afterMs} ms, and nothing was sent`)
  }

  /** Ends the exchange with an error of ours, and the connection with it. */
  fail(code: DiscordUnavailableCode, message: string, cause?: unknown): void {
    this.#end(() =>
      this.#reject(
        new DiscordUnavailableError(code, `${this.#call.route.name}: ${message}`, {
          route: this.#call.route.name,
          // Without a connection it was not sent this time.
          attempts: this.#controller ? this.#attempt : this.#attempt - 1,
          cause,
        }),
      ),
    )
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#ended) return controller.abort(GIVEN_UP)
    // Not when it was queued: opening a connection is not part of the way to Discord's rule book.
    this.#sentAt = this.#clock.monotonic()
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return
    this.#receivedAt = this.#clock.monotonic()
    this.#status = status
    const first: Record<string, string | undefined> = {}
    for (const name in headers) {
      const value = headers[name]
      first[name] = Array.isArray(value) ? value[0] : value
    }
    this.#headers = first
    if (Number(first['content-length']) > LARGEST_BODY_BYTES) this.#tooLarge()
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes > LARGEST_BODY_BYTES) return this.#tooLarge()
    this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    this.#complete = true
    const [only] = this.#chunks
    const body = this.#chunks.length === 1 ? only! : Buffer.concat(this.#chunks, this.#bytes)
    this.#end(() =>
      this.#resolve({
        status: this.#status,
        headers: this.#headers,
        body: body.toString('utf8'),
        sentAt: this.#sentAt,
        receivedAt: this.#receivedAt,
      }),
    )
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    // A parser's error carries the bytes that it could not read, and they can quote the request.
    delete (error as { data?: unknown }).data
    if (this.#status > 0) return this.fail('DISCORD_TRUNCATED', 'the answer broke off before its end', error)
    if ((error as { code?: string }).code === 'UND_ERR_CONNECT_TIMEOUT')
      return this.fail('DISCORD_TIMEOUT', 'no connection to Discord within the time-out', error)
    this.fail('DISCORD_NETWORK', `no answer came (${(error as { code?: string }).code ?? error.name})`, error)
  }

  #tooLarge(): void {
    this.fail('DISCORD_TOO_LARGE', `the answer is larger than ${LARGEST_BODY_BYTES} bytes`)
  }

  readonly #abort = () => this.#end(() => this.#reject(this.#signal.reason))

  #end(settle: () => void): void {
    if (this.#ended) return
    this.#ended = true
    this.#signal.removeEventListener('abort', this.#abort)
    // What is left of the answer is not wanted; undici then closes the connection.
    if (!this.#complete) this.#controller?.abort(GIVEN_UP)
    this.#chunks = []
    this.#onEnd()
    settle()
    // What still refers to an exchange that has ended (see SingleFlight) must not keep its answer alive.
    this.#resolve = ENDED
    this.#reject = ENDED
  }
}

const ENDED = () => {}

/** Given to undici where we end an exchange; nobody sees it. One object, because making an error costs microseconds. */
const GIVEN_UP = new Error('the exchange was given up')
