import { ConfigError } from '../errors/errors.ts'
import { type Reading, segmentsOf } from './readings.ts'
import { normalPath } from './request-path.ts'

/** Where something applies: a path, or a family of paths, for one method or for all. */
export interface Pattern {
  /** As it was given. */
  readonly text: string
  readonly method: string | undefined
  /** Lower case, percent-decoded; `:` stands for any one segment. */
  readonly segments: readonly string[]
  /** The same as they were given, for what minds letters. */
  readonly exact: readonly string[]
  /** Whether anything may follow. */
  readonly open: boolean
}

const METHOD = /^[A-Z]+$/

/**
 * Reads `/api/concepts/:id`, `/api/*`, `POST /api/chat`. `:name` is one segment, whatever it is; `*` stands at the end
 * only, for any number of segments, none included. Throws ConfigError for the option named.
 */
export function readPattern(text: string, option: string): Pattern {
  const refuse = (why: string) =>
    new ConfigError(
      option,
      `${option}: the pattern ${JSON.stringify(text)} ${why}; accepted: '/api/concepts/:id', '/api/*', 'POST /api/chat'`,
    )
  if (typeof text !== 'string') throw refuse('is not a text')
  const words = text.trim().split(/\s+/)
  if (words.length > 2) throw refuse('has more than a method and a path')
  const method = words.length === 2 ? words[0] : undefined
  if (method !== undefined && !METHOD.test(method)) throw refuse('begins with what is no method in capitals')
  const given = words.at(-1)!
  if (given !== '*' && !given.startsWith('/')) throw refuse('does not begin with a slash')
  if (/[?#]/.test(given)) throw refuse('has a query or fragment, which no path has')
  if (given.includes('\\')) throw refuse('has a backslash, which routers read as a slash; write a slash')
  const exact = segmentsOf(normalPath(given === '*' ? '/*' : given))
  const segments = exact.map((segment) => (segment.startsWith(':') ? ':' : segment.toLowerCase()))
  const open = segments.at(-1) === '*'
  if (open) segments.pop()
  if (segments.some((segment) => segment === '.' || segment === '..'))
    throw refuse('has a dot segment; write the path that it leads to')
  if (segments.some((segment) => segment.includes('*'))) throw refuse('has a * that is not the whole of its end')
  return { text, method, segments, exact: exact.slice(0, segments.length), open }
}

/** Whether a path's segments (lower case) are among those that the pattern means. */
export function matches(pattern: Pattern, segments: readonly string[]): boolean {
  const wanted = pattern.segments
  if (pattern.open ? segments.length < wanted.length : segments.length !== wanted.length) return false
  return wanted.every((segment, index) => segment === ':' || segment === segments[index])
}

/**
 * Puts the more specific pattern first: at the first segment where two differ a literal beats `:name`, and that beats
 * `*`; of two that are alike, the one with a method. 0 where both mean the same requests.
 */
export function bySpecificity(a: Pattern, b: Pattern): number {
  const longest = Math.max(a.segments.length, b.segments.length)
  for (let index = 0; index < longest; index++) {
    const difference = rank(a, index) - rank(b, index)
    if (difference !== 0) return difference
    const [left = '', right = ''] = [a.segments[index], b.segments[index]]
    if (left !== right) return left < right ? -1 : 1
  }
  if (a.open !== b.open) return a.open ? 1 : -1
  if (a.method === b.method) return 0
  if (a.method === undefined || b.method === undefined) return a.method === undefined ? 1 : -1
  return a.method < b.method ? -1 : 1
}

function rank({ segments }: Pattern, index: number): number {
  const segment = segments[index]
  return segment === undefined ? 2 : segment === ':' ? 1 : 0
}

/** Paths that are let off. Letters count here: to let off too little costs a limit, to let off too much costs the app. */
export class PathList {
  readonly #patterns: readonly Pattern[]

  constructor(paths: readonly string[], option: string) {
    if (!Array.isArray(paths)) throw new ConfigError(option, `${option} must be a list of paths`)
    this.#patterns = paths.map((text) => {
      const pattern = readPattern(text, option)
      if (pattern.method !== undefined)
        throw new ConfigError(option, `${option}: ${JSON.stringify(text)} names a method; give the path alone`)
      return pattern
    })
  }

  has(path: Reading): boolean {
    return this.#patterns.some((pattern) => meansExactly(pattern, path))
  }
}

function meansExactly({ segments, exact, open }: Pattern, path: Reading): boolean {
  if (open ? path.length < segments.length : path.length !== segments.length) return false
  return segments.every((segment, index) => segment === ':' || exact[index] === path[index])
}
