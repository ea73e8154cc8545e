import { ApiError, closedError } from './api-error.ts'
import { checkOptions } from './check-options.ts'
import type { Milliseconds } from './clock.ts'
import { createQueue, type Job, LONGEST_CLOSED_MS } from './request-queue.ts'
import { orLeave } from './settle.ts'
import { createReads, identityOf } from './shared-reads.ts'
import { dateIn, readRefusal, waitError } from './told-wait.ts'

export interface ApiClientOptions {
  /** Goes in front of every path that is given as text, `/api` and `/user` making `/api/user`. Default: paths are the page's. */
  baseUrl?: string
  /** How many requests may wait for their answer's headers at once. Default: 6. */
  maxConcurrent?: number
  /** How many requests may be sent within any minute; the next ones wait, for as long as that takes. Default: no bound. */
  perMinute?: number
  /** The longest that the server may make a request wait, between two tries. A longer wait rejects at once, with `retryAt`. Default: 60 000. */
  maxWaitMs?: Milliseconds
  /** How often a request is sent again after a wait. Default: 3. */
  maxRetries?: number
  /** What sends. Default: the page's own `fetch`. */
  fetch?: typeof globalThis.fetch
}

/** A `fetch` for your own API that waits instead of failing; made by `createApiClient`. */
export interface ApiClient {
  /**
   * As the platform's `fetch`, and in its place wherever one can be given. Answers other than 429 and 503 are handed on as
   * they are. Rejects with an `ApiError` where a wait would be longer than `maxWaitMs`, after `maxRetries`, and once closed;
   * with `signal.reason` on abort; as `fetch` does where there is no answer.
   */
  fetch(this: void, input: string | URL | Request, init?: RequestInit): Promise<Response>
  /**
   * The answer's JSON; undefined where it has no body. Rejects like `fetch`, and with an `ApiError` for every status that is
   * no success (`code` and message are the body's) and for what is no JSON (`NOT_JSON`).
   */
  json<T>(this: void, input: string | URL, init?: RequestInit): Promise<T>
  /** Until when requests are held, here or because of another tab; null while they are not. */
  readonly waitingUntil: Date | null
  /** Calls `listener` whenever `waitingUntil` changes, until the returned function is called. */
  onWait(this: void, listener: (until: Date | null) => void): () => void
  /** Rejects what waits and every read under way with `CLOSED`, and lets go of every timer and listener. Writes under way are answered. */
  close(this: void): void
}

/** Sent again after a wait whoever refused them: twice is as good as once (RFC 9110, section 9.2.2). */
const IDEMPOTENT = /^(GET|HEAD|OPTIONS|PUT|DELETE)$/

/** A wait that the server did not name: doubling, half of it by chance. */
const BACKOFF_MS: Milliseconds = 1_000

/**
 * Makes a client for your own API. 429 and 503 are waits: for Retry-After, else what the body or `RateLimit` says, else a
 * backoff. Idempotent methods are sent again always, others only where the body says that Holdfast's guard refused before
 * any handler ran, or else the answer is handed on. While one request waits all wait, in every tab with the same
 * `baseUrl`; when the time has come one request is sent to see. A wait over 15 minutes (and over `maxWaitMs`) is
 * taken for one route's quota: it rejects, and holds nobody else. Identical GETs under way are one request, unless
 * something was written since it was sent. A `keepalive` request never waits. Throws `CONFIG_INVALID` for senseless options.
 */
export function createApiClient(options: ApiClientOptions = {}): ApiClient {
  const { maxConcurrent, perMinute, maxWaitMs, maxRetries } = checkOptions(
    options,
    {
      maxConcurrent: [6, 1],
      perMinute: [Infinity, 1],
      maxWaitMs: [60_000, 0],
      maxRetries: [3, 0],
    },
    { baseUrl: 'string', fetch: 'function' },
  )
  const base = options.baseUrl?.replace(/\/+$/, '')
  const queue = createQueue(`holdfast:${base ?? ''}`, maxConcurrent, perMinute, maxWaitMs)
  const closing = new AbortController()
  const reads = createReads(closing.signal)
  let order = 0

  /** Sends one request through queue and gate until it is answered. `signal` aborts its waits and its sending. */
  function request(
    input: string | Request,
    init: RequestInit | undefined,
    method: string,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const keepalive = init?.keepalive ?? (input as Partial<Request>).keepalive
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    let tries = 0

    async function send(): Promise<boolean> {
      try {
        // A Request is sent as a copy, as long as another try may follow. Whether it has a body not every browser tells.
        const copy = typeof input !== 'string' && tries < maxRetries ? input.clone() : input
        // Looked up at each call: what a page puts in its place later (a test, a tracer) is used.
        const response = await (options.fetch ?? globalThis.fetch)(copy, signal ? { ...init, signal } : init)
        const { status } = response
        if (status !== 429 && status !== 503) {
          resolve(response)
          return true
        }
        const refusal = await readRefusal(response.clone())
        const waitMs = refusal.waitMs ?? BACKOFF_MS * 2 ** tries * (0.5 + Math.random() / 2)
        if (!closing.signal.aborted && waitMs <= Math.max(maxWaitMs, LONGEST_CLOSED_MS))
          queue.refused(waitMs, status, refusal.code)
        // A stream that was given was read by the first try.
        const canRepeat = (IDEMPOTENT.test(method) || refusal.isOurs) && !(init?.body instanceof ReadableStream)
        if (!canRepeat || closing.signal.aborted) resolve(response)
        else {
          response.body?.cancel().catch(() => {})
          if (waitMs > maxWaitMs || tries >= maxRetries)
            reject(waitError(waitMs, status, refusal.code, refusal.message))
          else if (!signal?.aborted) {
            tries++
            queue.add(job)
          }
        }
      } catch (error) {
        reject(error)
      }
      return false
    }

    const job: Job = { order: order++, send, giveUp: reject }
    const leave = () => {
      reject(signal!.reason)
      queue.drop(job)
    }
    if (keepalive) queue.sendNow(job)
    else queue.add(job)
    return orLeave(promise, signal, leave)
  }

  function locate(path: string): string {
    if (base === undefined || /^\w+:/.test(path)) return path
    // One slash between the two, and none before a query or where there is nothing.
    return base + path.replace(/^\/*(?![/?#]|$)/, '/')
  }

  async function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    closing.signal.throwIfAborted()
    const source = input instanceof Request ? input : locate(String(input))
    const given = input as Partial<Request>
    const method = (init?.method ?? given.method ?? 'GET').toUpperCase()
    const signal = init?.signal ?? given.signal ?? undefined
    signal?.throwIfAborted()
    if (method === 'GET')
      return reads.join(identityOf(source, init), signal, (shared) => request(source, init, method, shared))
    // What is read from now on must not be older than what is written here.
    reads.forget()
    return request(source, init, method, signal).finally(reads.forget)
  }

  async function json<T>(input: string | URL, init?: RequestInit): Promise<T> {
    const response = await fetch(input, init)
    const { status } = response
    if (!response.ok) {
      const { code, message, waitMs } = await readRefusal(response)
      throw new ApiError(message ?? `answered with ${status}`, code, status, waitMs ? dateIn(waitMs) : undefined)
    }
    const text = await response.text()
    if (text === '') return undefined as T
    try {
      return JSON.parse(text)
    } catch {
      throw new ApiError('the answer is not JSON', 'NOT_JSON', status)
    }
  }

  return {
    fetch,
    json,
    get waitingUntil() {
      return queue.waitingUntil()
    },
    onWait: queue.onWait,
    close() {
      closing.abort(closedError())
      queue.end(closing.signal.reason)
    },
  }
}
