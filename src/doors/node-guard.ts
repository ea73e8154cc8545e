import type { Auth } from '../auth/auth.ts'
import type { GuardDecision, PassDecision } from '../guard/decision.ts'
import type { Guard } from '../guard/guard.ts'
import type { GuardRequest } from '../guard/guard-request.ts'
import { headersOf } from './node-exchange.ts'

/** What is used of a request of Express, Connect or node:http. */
export interface NodeRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** The target before a router cut off what it is mounted at. */
  readonly originalUrl?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly socket: { readonly remoteAddress?: string | undefined }
  /** Express's answer to who is asking, by its setting `trust proxy`. */
  readonly ip?: string | undefined
  readonly app?: { get?(setting: string): unknown } | undefined
  /** Put there by `requireAuth`. */
  auth?: Auth | Pick<Auth, 'user'>
  /** Put there by `guard`: where the caller stands, and how a handler gives back what it did not do. */
  guard?: PassDecision
}

/** What is used of its answer. */
export interface NodeResponse {
  statusCode: number
  readonly writableEnded: boolean
  readonly headersSent?: boolean
  readonly destroyed?: boolean
  /** What carries it in HTTP/2, whose answers do not say themselves that they are destroyed. */
  readonly stream?: { readonly destroyed: boolean } | undefined
  setHeader(name: string, value: string): unknown
  end(body?: string): unknown
  on(event: 'finish' | 'close', listener: () => void): unknown
}

export type Next = (error?: unknown) => void
export type Middleware = (request: NodeRequest, response: NodeResponse, next: Next) => void

/** The rules as middleware: refusals are answered, everything else goes on with `request.guard`. */
export function checkedBy(guard: Guard): Middleware {
  return (request, response, next) => decide(() => guard.check(requestOf(request)), request, response, next)
}

/** The first pass alone. Its decision needs no settling. */
export function arrivedAt(guard: Guard): Middleware {
  return (request, response, next) => {
    const refused = (decision: GuardDecision) => decision.action === 'refuse' && refuse(decision, response)
    let decision: GuardDecision | Promise<GuardDecision>
    try {
      decision = guard.arrive(requestOf(request))
      if (!(decision instanceof Promise) && refused(decision)) return
    } catch (error) {
      return next(error)
    }
    if (!(decision instanceof Promise)) return next()
    decision.then((decided) => refused(decided) || next(), next)
  }
}

function decide(
  check: () => GuardDecision | Promise<GuardDecision>,
  request: NodeRequest,
  response: NodeResponse,
  next: Next,
): void {
  // Its client left while something in front was waiting: no end of it will be told, so nothing may begin.
  if (isOver(response)) return
  let goesOn: boolean
  try {
    const decision = check()
    // No promise where none is needed: it would cost more than the decision.
    if (decision instanceof Promise) return wait(decision, request, response, next)
    goesOn = carryOut(decision, request, response)
  } catch (error) {
    return next(error)
  }
  if (goesOn) next()
}

/** A client may leave, and something else may answer, while it is found out who is asking. */
function wait(decision: Promise<GuardDecision>, request: NodeRequest, response: NodeResponse, next: Next): void {
  let gone = false
  response.on('close', () => {
    gone = true
  })
  decision
    .then((decided) => {
      if (!gone && !isOver(response) && response.headersSent !== true) return carryOut(decided, request, response)
      // Nobody waits for this any more: no handler runs, and the place is free at once.
      if (decided.action === 'pass') void decided.settle(0)
      return false
    })
    // In a turn of its own: what the next handler throws is not an error of this one.
    .then((goesOn) => goesOn && next(), next)
}

/** Whether the request goes on. */
function carryOut(decision: GuardDecision, request: NodeRequest, response: NodeResponse): boolean {
  if (decision.action === 'refuse') return !refuse(decision, response)
  request.guard = decision
  const settle = () => {
    // An answer that was cut off was not the one it says: its status gives nothing back.
    const settled = decision.settle(response.writableEnded ? response.statusCode : 0)
    // What a store says of a refund is nobody's to hear here; a misuse of the store is told by the next decision.
    if (settled) settled.catch(() => {})
  }
  // After `finish` comes `close`, always; but a 409 is given back before the client has read it.
  response.on('finish', settle)
  response.on('close', settle)
  // Last: where the head is gone already this throws, and the place must come back even so.
  const { headers } = decision
  for (let index = 0; index < headers.length; index++) response.setHeader(headers[index]![0], headers[index]![1])
  return true
}

/** Whether an answer has ended or was cut off. Whoever listens for that now hears nothing. */
export const isOver = ({ destroyed, stream }: Pick<NodeResponse, 'destroyed' | 'stream'>) =>
  destroyed === true || stream?.destroyed === true

function refuse(decision: Extract<GuardDecision, { action: 'refuse' }>, response: NodeResponse): true {
  for (const [name, value] of decision.headers) response.setHeader(name, value)
  response.statusCode = decision.status
  response.end(decision.body)
  return true
}

const MADE = Symbol('holdfast.guard-request')

/** One object for both passes. */
function requestOf(request: NodeRequest & { [MADE]?: GuardRequest }): GuardRequest {
  request[MADE] ??= new RequestOfNode(request)
  return request[MADE]
}

/** A request of node:http, and of what is built on it, as the guard reads it. */
export class RequestOfNode implements GuardRequest {
  readonly #request: NodeRequest

  constructor(request: NodeRequest) {
    this.#request = request
  }

  get method(): string {
    return this.#request.method ?? 'GET'
  }

  get path(): string {
    return this.#request.originalUrl ?? this.#request.url ?? '/'
  }

  get remoteAddress(): string | undefined {
    return this.#request.socket.remoteAddress
  }

  get address(): string | undefined {
    const trusted = this.#request.app?.get?.('trust proxy')
    if (!trusted) return undefined
    if (trusted !== true) return this.#request.ip
    warnOfTrustingEverybody()
    return undefined
  }

  get userId(): string | undefined {
    const id: unknown = this.#request.auth?.user?.id
    return typeof id === 'string' ? id : undefined
  }

  header(name: string): string | null {
    const value = this.#request.headers[name]
    return typeof value === 'string' ? value : value === undefined ? null : value.join(', ')
  }

  allHeaders(): Headers {
    return headersOf(this.#request.headers)
  }
}

let warned = false

/** With `trust proxy` set to true Express takes the leftmost address, which the client wrote. */
function warnOfTrustingEverybody(): void {
  if (warned) return
  warned = true
  process.emitWarning(
    "holdfast guard: Express's setting 'trust proxy' is true, so its req.ip is whatever the client writes, and is not believed: set it to the number of proxies in front or their addresses, or give the guard trustProxy",
    { type: 'HoldfastWarning', code: 'HOLDFAST_TRUST_PROXY' },
  )
}
