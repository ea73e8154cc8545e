import type { Milliseconds } from '../time/clock.ts'
import type { Route } from './call.ts'

/**
 * What one process learns about Discord and the others must know: an address that is banned or free again, somebody's
 * 429, a dead token.
 */
export type Notice =
  /** A block, and the route that it was met on. */
  | { readonly about: 'egress'; readonly route?: string }
  | { readonly about: 'egress-lifted' }
  | { readonly about: 'principal'; readonly principal: string }
  | { readonly about: 'resource'; readonly route: Route }
  | { readonly about: 'route' | 'bucket'; readonly principal: string; readonly route: Route }
  /** `token-lives`: signed in anew, or accepted after all. */
  | { readonly about: 'token' | 'token-lives'; readonly tokenId: string }

/** How many invalid requests others sent: when, and how many of them with tokens never seen valid. */
export interface InvalidRequests {
  readonly agoMs: Milliseconds
  readonly count: number
  readonly strangers: number
}

/** What the fleet tells this process. */
export interface FleetNews {
  noticed(notice: Notice, forMs: Milliseconds): void
  /** A request that another process sent this long ago on `route` got through: blocks of all routes from before it are over. */
  egressFree(sentAgoMs: Milliseconds, route: string): void
  /** Another process has just sent these. */
  invalidSent(requests: InvalidRequests): void
  /** All that the fleet sent in the last ten minutes, this process included. */
  invalidTotals(requests: readonly InvalidRequests[]): void
}

/** The processes that share an application and its address. No method waits, and none ever throws. */
export interface Fleet {
  listen(news: FleetNews): void
  announce(notice: Notice, forMs: Milliseconds): void
  announceEgressFree(sentAgoMs: Milliseconds, route: string): void
  invalidSent(stranger: boolean): void
}
