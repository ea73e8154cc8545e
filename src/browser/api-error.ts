/**
 * Whatever the browser's part of Holdfast rejects or throws with on purpose. `status` is the answer's, or 0 where there
 * was none. `code` is stable: that of the server's JSON body (`RATE_LIMITED`, `SERVICE_UNAVAILABLE`, your own), or
 * `CONFIG_INVALID`, `CLOSED`, `NOT_JSON`, `KEEPALIVE_TOO_LARGE`, `TIMEOUT`, `SUPERSEDED`. `retryAt`, by this
 * device's wall clock, is there where waiting helps. The message holds nothing of the request, and of the answer its
 * `message` at most.
 */
export class ApiError extends Error {
  readonly status: number
  // Declared only: a field that is not set is not there.
  declare readonly code?: string
  declare readonly retryAt?: Date

  constructor(message: string, code?: string, status = 0, retryAt?: Date) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    if (code) this.code = code
    if (retryAt) this.retryAt = retryAt
  }
}

/** What everything says after it was closed. */
export const closedError = () => new ApiError('closed: make a new one', 'CLOSED')

/** The status an error carries, ours or another client's (`status`, or `response.status` as axios and ky have it). */
export function statusOf(error: unknown): unknown {
  const { status, response } = Object(error)
  return status ?? response?.status
}

/** When an error says to try again; undefined unless it carries a `retryAt` that is a valid Date. */
export function retryAtOf(error: unknown): Date | undefined {
  const { retryAt } = Object(error)
  return retryAt instanceof Date && +retryAt > 0 ? retryAt : undefined
}

/** Whether an error (or a Response) has the status 429, ours or another client's. A 503 is none. */
export function isRateLimitError(error: unknown): boolean {
  return statusOf(error) === 429
}
