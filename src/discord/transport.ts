// Its file: Bun puts a package of its own in the place of the bare name, which has no Pool (docs/decisions/0015-bun.md).
import { type Dispatcher, Pool } from 'undici/index.js'
import { TransientMap } from '../collections/transient-map.ts'
import { type DiscordUnavailableCode, DiscordUnavailableError } from '../errors/errors.ts'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import { onAbort } from '../time/on-abort.ts'
import type { Answer, AnswerHead, AnswerHeaders, Call } from './call.ts'

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
  /** The user's own way out: a proxy, a mock. Never closed by us. */
  readonly dispatcher?: object | undefined
}

/** What is sent, and what is told about it while it is under way (see Permit). */
export interface Sending {
  readonly call: Call
  /** It was handed to a connection. */
  sent: boolean
  /** The answer's head, as soon as it is there. */
  head: AnswerHead | undefined
}

/** The one file that talks to Discord's network address. No redirects, no retries, no opinions. */
export class Transport {
  #way: Way
  readonly #options: TransportOptions
  readonly #basePath: string
  readonly #clock: Clock
  /** Under way, oldest first; all have the same time-out, so the oldest is the next to run out. */
  readonly #underWay = new TransientMap<Exchange, true>()
  /** Pools that were given up, until what is under way on them has ended. */
  readonly #retired = new Set<Pool>()
  #cancelAlarm: (() => void) | undefined

  constructor(options: TransportOptions) {
    this.#clock = options.clock
    this.#options = options
    this.#basePath = options.baseUrl.pathname.replace(/\/$/, '')
    this.#way = this.#newWay()
  }

  /** Sends one request. Rejects with DiscordUnavailableError, or with `signal.reason`. */
  send(sending: Sending, attempt: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const { call } = sending
      const exchange = new Exchange(sending, attempt, this.#way, this.#clock, signal, resolve, reject, this.#ended)
      this.#underWay.set(exchange, true)
      this.#watch()
      const headers: Record<string, string> = {
        ...call.headers,
        'user-agent': this.#options.userAgent,
        accept: 'application/json',
      }
      if (call.tokenType !== 'none') headers.authorization = `${call.tokenType} ${call.token}`
      // Discord answers 50035 to a body without a valid type, also to an empty one.
      if (call.body) headers['content-type'] = call.body.contentType
      else if (call.method !== 'GET') headers['content-type'] = 'application/json'
      try {
        this.#way.dispatcher.dispatch(
          {
            origin: this.#options.baseUrl.origin,
            method: call.method,
            path: this.#basePath + call.path,
            headers,
            body: call.body?.content ?? null,
          },
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
    const pools = [...this.#retired, ...(this.#way.pool ? [this.#way.pool] : [])]
    await Promise.all(pools.map((pool) => pool.destroy()))
  }

  #newWay(): Way {
    const { baseUrl, timeoutMs } = this.#options
    // An object of the user's undici; the options' table has checked that it can dispatch.
    const dispatcher = this.#options.dispatcher as Pick<Dispatcher, 'dispatch'> | undefined
    if (dispatcher) return { dispatcher, pool: undefined, heardAt: Number.NEGATIVE_INFINITY }
    const pool = new Pool(baseUrl.origin, {
      connections: CONNECTIONS,
      connect: { timeout: timeoutMs },
      // Over HTTP/2 all requests share one connection, and ending one of them does not end it: a connection that the
      // network silently dropped would fail every request until the kernel gives it up, after a quarter of an hour.
      allowH2: false,
      // One alarm below bounds the whole attempt.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    return { dispatcher: pool, pool, heardAt: Number.NEGATIVE_INFINITY }
  }

  /**
   * A request got no answer in time. Its own connection ends with it; where nothing was heard on any other since it was
   * sent, those that lie idle are as likely dead, and each would cost another time-out: all of them are given up.
   */
  #timedOut(exchange: Exchange): void {
    exchange.timeOut(this.#options.timeoutMs)
    const { pool, heardAt } = exchange.way
    if (!pool || exchange.way !== this.#way || heardAt >= exchange.startedAt) return
    this.#way = this.#newWay()
    this.#retired.add(pool)
    const forget = () => void this.#retired.delete(pool)
    pool.close().then(forget, forget)
  }

  #watch(): void {
    if (this.#cancelAlarm) return
    const oldest = this.#underWay.keys().next().value
    if (!oldest) return
    const leftMs = oldest.startedAt + this.#options.timeoutMs - this.#clock.monotonic()
    this.#cancelAlarm = alarm(this.#clock, Math.max(0, leftMs), () => {
      this.#cancelAlarm = undefined
      const dueBefore = this.#clock.monotonic() - this.#options.timeoutMs
      for (const exchange of [...this.#underWay.keys()]) {
        if (exchange.startedAt > dueBefore) break
        this.#timedOut(exchange)
      }
      this.#watch()
    })
  }

  readonly #ended = (exchange: Exchange): void => {
    this.#underWay.delete(exchange)
    // Nothing under way: no alarm may keep the process alive.
    if (this.#underWay.size === 0) {
      this.#cancelAlarm?.()
      this.#cancelAlarm = undefined
    }
  }
}

/** The connections that requests take. */
interface Way {
  readonly dispatcher: Pick<Dispatcher, 'dispatch'>
  /** Undefined where the dispatcher is the user's. */
  readonly pool: Pool | undefined
  /** When anything was last heard on them; monotonic. */
  heardAt: Milliseconds
}

/** One request and its answer; undici calls the `on…` methods. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly startedAt: Milliseconds
  readonly way: Way
  readonly #sending: Sending
  readonly #attempt: number
  readonly #clock: Clock
  readonly #unlisten: () => void
  #resolve: (answer: Answer) => void
  #reject: (reason: unknown) => void
  readonly #onEnd: (exchange: Exchange) => void
  #controller: Dispatcher.DispatchController | undefined
  #ended = false
  #complete = false
  #sentAt = 0
  #head: AnswerHead | undefined
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(
    sending: Sending,
    attempt: number,
    way: Way,
    clock: Clock,
    signal: AbortSignal,
    resolve: (answer: Answer) => void,
    reject: (reason: unknown) => void,
    onEnd: (exchange: Exchange) => void,
  ) {
    this.startedAt = clock.monotonic()
    this.way = way
    this.#sending = sending
    this.#attempt = attempt
    this.#clock = clock
    this.#resolve = resolve
    this.#reject = reject
    this.#onEnd = onEnd
    this.#unlisten = onAbort(signal, () => this.#end(() => this.#reject(signal.reason)))
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
        new DiscordUnavailableError(code, `${this.#sending.call.route.name}: ${message}`, {
          route: this.#sending.call.route.name,
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
    this.#sending.sent = true
    // Not when it was queued: opening a connection is not part of the way to Discord's rule book.
    this.#sentAt = this.#clock.monotonic()
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200 || this.#ended) return
    const receivedAt = this.#clock.monotonic()
    this.way.heardAt = receivedAt
    const first = firstValues(headers)
    this.#head = { status, headers: first, sentAt: this.#sentAt, receivedAt }
    this.#sending.head = this.#head
    if (Number(first['content-length']) > LARGEST_BODY_BYTES) this.#tooLarge()
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended) return
    this.#bytes += chunk.length
    if (this.#bytes > LARGEST_BODY_BYTES) return this.#tooLarge()
    this.#chunks.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk))
  }

  onResponseEnd(): void {
    const head = this.#head
    if (!head) return this.fail('DISCORD_NETWORK', 'an answer without a beginning came')
    this.#complete = true
    const [only] = this.#chunks
    const body = this.#chunks.length === 1 ? only! : Buffer.concat(this.#chunks, this.#bytes)
    this.#end(() => this.#resolve({ ...head, body: body.toString('utf8') }))
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    // A parser's error carries the bytes that it could not read, and they can quote the request.
    delete (error as { data?: unknown }).data
    if (this.#head) return this.fail('DISCORD_TRUNCATED', 'the answer broke off before its end', error)
    if ((error as { code?: string }).code === 'UND_ERR_CONNECT_TIMEOUT')
      return this.fail('DISCORD_TIMEOUT', 'no connection to Discord within the time-out', error)
    this.fail('DISCORD_NETWORK', `no answer came (${(error as { code?: string }).code ?? error.name})`, error)
  }

  #tooLarge(): void {
    this.fail('DISCORD_TOO_LARGE', `the answer is larger than ${LARGEST_BODY_BYTES} bytes`)
  }

  #end(settle: () => void): void {
    if (this.#ended) return
    this.#ended = true
    this.#unlisten()
    // What is left of the answer is not wanted; undici then closes the connection.
    if (!this.#complete) this.#controller?.abort(GIVEN_UP)
    this.#chunks = []
    this.#onEnd(this)
    settle()
    // What still refers to an exchange that has ended (see TransientMap) must not keep its answer alive.
    this.#resolve = ENDED
    this.#reject = ENDED
  }
}

const ENDED = () => {}

/** Nearly always they are what undici made of them: lower-case names with one value each, and nothing has to be copied. */
function firstValues(headers: Record<string, string | string[] | undefined>): AnswerHeaders {
  for (const name in headers) {
    if (typeof headers[name] === 'string' && name === name.toLowerCase()) continue
    const first: Record<string, string | undefined> = {}
    for (const name in headers) {
      const value = headers[name]
      first[name.toLowerCase()] = Array.isArray(value) ? value[0] : value
    }
    return first
  }
  return headers as AnswerHeaders
}

/** Given to undici where we end an exchange; nobody sees it. One object, because making an error costs microseconds. */
const GIVEN_UP = new Error('the exchange was given up')
