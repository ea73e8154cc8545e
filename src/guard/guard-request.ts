/** What the guard reads of a request. A framework's door makes one; the same object goes to `arrive` and `check`. */
export interface GuardRequest {
  readonly method: string
  /** The request target as it came, query included. */
  readonly path: string
  /** A header's value by its lower-case name, several lines joined with a comma; null where there is none. */
  header(name: string): string | null
  /** All headers, where the framework has them: for session resolvers that copy or iterate them. */
  allHeaders?(): Headers
  /** Who is at the other end of the connection; never taken from a header. */
  readonly remoteAddress?: string | undefined
  /** The caller's address as the framework worked it out by its own trusted proxies; read where `trustProxy` is not set. */
  readonly address?: string | undefined
  /** What the framework mounts the whole app at; patterns may be written with it or without. */
  readonly basePath?: string | undefined
  /** Who is asking. Verified only: a name that anybody could have written down buys a fresh allowance. */
  readonly userId?: string | undefined
  /** The session that is asking, where the user is not known. Verified only. */
  readonly sessionId?: string | undefined
  /** Nobody here will see the answer, so nobody can settle: it is not counted among the requests under way. */
  readonly unsettled?: boolean
}

/** Who is asking. Verified only. */
export interface Identity {
  readonly userId?: string | undefined
  readonly sessionId?: string | undefined
  /** What a rule that is a function may look at. */
  readonly plan?: string | undefined
}
