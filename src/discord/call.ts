import type { Milliseconds } from '../time/clock.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Who waits for a call. When the budget of invalid requests runs low, background work stops first and logins last. */
export type Priority = 'login' | 'page' | 'background'

/** One request to Discord, checked and ready to be sent. */
export interface Call {
  readonly method: Method
  /** Path and query below the API's base URL. Never in an error or event: it can hold ids and secrets. */
  readonly path: string
  readonly route: Route
  readonly token: string
  readonly tokenType: 'Bearer' | 'Bot'
  /** SHA-256 of the token: its name in every map. */
  readonly tokenId: string
  /** Whose limits this call spends. */
  readonly principal: string
  readonly priority: Priority
  /** Text, where the call has a body: JSON, or what `isForm` says. */
  readonly body: string | undefined
  /** A form of OAuth2 (RFC 6749): the application's own id and secret are in the body, and no token in the headers. */
  readonly isForm?: true
}

/** Where a call goes, as far as limits and people who read logs care. */
export interface Route {
  /** `GET /guilds/:id/members/:id`: what errors and events name. */
  readonly name: string
  /** The top-level resource that Discord counts by (guild, channel, webhook), or ''. */
  readonly resource: string
  /** Both together: what a limit of this route is known by. */
  readonly key: string
  /** What a successful answer has to be; undefined where the route is not known. */
  readonly answer: 'object' | 'array' | undefined
}

/** What came back for one attempt. */
export interface Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: string
  /** When the request was handed to an open connection, and when the first byte of the answer came; monotonic. */
  readonly sentAt: Milliseconds
  readonly receivedAt: Milliseconds
}

/** Lower-case names; of a repeated header, the first value. */
export type AnswerHeaders = Readonly<Record<string, string | undefined>>
