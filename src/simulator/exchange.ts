import type { IncomingHttpHeaders } from 'node:http'
import type { Milliseconds } from '../time/clock.ts'

/** One request, wholly read. */
export interface Incoming {
  readonly method: string
  readonly path: string
  /** What stands after `?`. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
  /** Null: longer than the server reads. */
  readonly body: Buffer | null
  readonly address: string
}

/** What the server shall do about one request. */
export interface Ruling {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: string[]
  readonly body: Buffer | string
  readonly delivery: 'whole' | 'truncate' | 'reset' | 'hang'
  /** How long each byte of the body takes; 0: all at once. */
  readonly paceMs: Milliseconds
  /** How much later than usual it shall leave. */
  readonly delayMs: Milliseconds
}
