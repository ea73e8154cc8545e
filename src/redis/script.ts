import { hash } from 'node:crypto'

/** A Lua script. Redis runs it as one step, and knows it by the SHA-1 of its text. */
export interface Script {
  /** For error messages. */
  readonly name: string
  readonly source: string
  readonly sha1: string
}

/** All keys of a script must share one hash tag, `{…}`, so that a Cluster finds them in one slot. */
export function defineScript(name: string, source: string): Script {
  return { name, source, sha1: hash('sha1', source) }
}
