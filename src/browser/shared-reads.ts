import { orLeave } from './settle.ts'

/** A GET under way, and how many callers still want it. */
interface Read {
  readonly answer: Promise<Response>
  callers: number
  /** Ends it, and nobody may join it any more. */
  abort(reason: unknown): void
}

/** Identical GETs that are under way at the same time are one. All of them end when `closing` aborts. */
export function createReads(closing: AbortSignal) {
  const reads = new Map<string, Read>()

  function start(identity: string, send: (signal: AbortSignal) => Promise<Response>): Read {
    const controller = new AbortController()
    const land = () => {
      if (reads.get(identity) === read) reads.delete(identity)
    }
    const abort = (reason: unknown) => {
      land()
      controller.abort(reason)
    }
    const answer = orLeave(send(controller.signal), closing, () => abort(closing.reason))
    const read: Read = { answer, callers: 0, abort }
    reads.set(identity, read)
    answer.then(land, land)
    return read
  }

  return {
    /**
     * Waits for the read of this identity, and starts it with `send` if there is none. Each caller gets a Response of its
     * own. A caller's abort ends its own wait; the last one's ends the read.
     */
    join(
      identity: string,
      signal: AbortSignal | undefined,
      send: (signal: AbortSignal) => Promise<Response>,
    ): Promise<Response> {
      const read = reads.get(identity) ?? start(identity, send)
      const { promise, resolve, reject } = Promise.withResolvers<Response>()
      read.callers++
      read.answer.then((response) => {
        // The last one takes the original: a copy that nobody reads would keep the whole body.
        if (!signal?.aborted) resolve(independent(--read.callers > 0 ? response.clone() : response, signal))
      }, reject)
      return orLeave(promise, signal, () => {
        reject(signal!.reason)
        if (--read.callers === 0) read.abort(signal!.reason)
      })
    },

    /** Something was written: what is asked from now on must not get an answer that may be older. */
    forget: () => reads.clear(),
  }
}

/**
 * What two GETs have in common if they are the same: URL, every header (also Authorization), credentials, cache mode and
 * all else that a Request says. Throws what `fetch` would reject with.
 */
export function identityOf(input: string | Request, init?: RequestInit): string {
  // Only to compare: any base will do for paths.
  const url = typeof input === 'string' ? new URL(input, 'http://page') : input
  const request = new Request(url, { ...init, signal: null })
  const parts: unknown[] = [...request.headers]
  for (const name in request) {
    const value = request[name as keyof Request]
    if (Object(value) !== value) parts.push(value)
  }
  return JSON.stringify(parts)
}

/** The same answer, whose body ends with this caller's `signal`, and with nobody else's. */
function independent(response: Response, signal: AbortSignal | undefined): Response {
  if (!signal || !response.body) return response
  const own = new Response(response.body.pipeThrough(new TransformStream(), { signal }), response)
  // The constructor has no other way to say where an answer came from.
  for (const name of ['url', 'redirected'] as const) Object.defineProperty(own, name, { value: response[name] })
  return own
}
