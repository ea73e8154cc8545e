import type { Milliseconds } from '../time/clock.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Who waits for a call: logins go first, then pages, then background work. When the budget of invalid requests runs low, background work stops first and logins last. */
export type Priority = 'login' | 'page' | 'background'

/** How a call says who it is; `'none'` sends no Authorization at all (webhooks, answers to interactions). */
export type TokenType = 'Bearer' | 'Bot' | 'none'

/** One request to Discord, checked and ready to be sent. */
export interface Call {
  readonly method: Method
  /** Path and query below the API's base URL. Never in an error or event: it can hold ids and secrets. */
  readonly path: string
  readonly route: Route
  readonly token: string
  readonly tokenType: TokenType
  /** Type and SHA-256 of the token (without one: of the webhook that the path names): its name in every map. */
  readonly tokenId: string
  /** Whose limits this call spends. */
  readonly principal: string
  readonly priority: Priority
  /** The caller's own headers and the reason for the audit log, checked; lower-case names. */
  readonly headers: Readonly<Record<string, string>> | undefined
  readonly body: RequestBody | undefined
}

export interface RequestBody {
  readonly contentType: string
  readonly content: string | Uint8Array
}

/** Where a call goes, as far as limits and people who read logs care. */
export interface Route {
  /** `GET /guilds/:id/members/:id`: what errors and events name. */
  readonly name: string
  /** What Discord counts by: the name, and for deleted messages their age too. */
  readonly counted: string
  /** The top-level resource that Discord counts by (guild, channel, webhook), or ''. */
  readonly resource: string
  /** `counted` and `resource`: what a limit of this route is known by. */
  readonly key: string
  /** What a successful answer has to be; undefined where the route is not known. */
  readonly answer: 'object' | 'array' | undefined
}

/** What came back for one attempt, as far as its headers tell. */
export interface AnswerHead {
  readonly status: number
  readonly headers: AnswerHeaders
  /** When the request was handed to an open connection, and when the first byte of the answer came; monotonic. */
  readonly sentAt: Milliseconds
  readonly receivedAt: Milliseconds
}

/** What came back for one attempt. */
export interface Answer extends AnswerHead {
  readonly body: string
}

/** Lower-case names; of a repeated header, the first value. */
export type AnswerHeaders = Readonly<Record<string, string | undefined>>

/** What an answer's headers say about its bucket (docs, topic Rate Limits). Absent means unknown: not unlimited, not blocked. */
export interface BucketReport {
  readonly limit: number
  readonly remaining: number
  readonly resetAfterMs: Milliseconds
}
