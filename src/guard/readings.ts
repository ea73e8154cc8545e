import { normalPath } from './request-path.ts'

/** One path that a request target may be taken for: its segments, percent-decoded. */
export type Reading = readonly string[]

/**
 * Characters that routers disagree about. A target without them has one reading. `:` begins no scheme where the target
 * begins with a slash, and `;` ends a path for some routers.
 */
const AMBIGUOUS = /[\\#;]|%(?:25|2f|5c|2e|23|3f|3b)|\/\/|^[^/]|(?:^|\/)\.\.?(?:\/|$|\?)|\/_next\/data\//i

/** Double and triple encoding are undone; what is wrapped deeper means nothing to any router known. */
const MOST_DECODINGS = 3
/** Longer paths that are ambiguous are not read in every way: that would cost more than answering them. */
const LONGEST_READ = 512

/**
 * Every path that a router, a file server or `new URL` may take a request target for; the first is the target as it was
 * sent. Frameworks disagree about backslashes, `%2F`, dot segments, what a fragment or a semicolon ends, and where the
 * host of an absolute target ends: a limit that knew one reading only would be walked around by another. `'any'` where
 * the target is too long to be read in every way, so that it has to be taken for every path.
 */
export function readingsOf(target: string): readonly Reading[] | 'any' {
  const first = segmentsOf(normalPath(target))
  const query = target.startsWith('/') ? target.indexOf('?') : -1
  const path = query === -1 ? target : target.slice(0, query)
  if (!AMBIGUOUS.test(path)) return [first]
  if (path.length > LONGEST_READ) return 'any'
  const found = new Map<string, Reading>([[first.join('\n'), first]])
  const add = (path: string) => {
    const segments = segmentsOf(path)
    const key = segments.join('\n')
    if (!found.has(key)) found.set(key, segments)
  }
  const paths = new Set<string>()
  for (const start of afterHost(path)) for (const level of decodings(start)) resolve(level, paths)
  for (const resolved of paths) add(resolved)
  for (const segments of [...found.values()]) {
    const page = pageOfData(segments)
    if (page) add(page)
  }
  return [...found.values()]
}

/** The segments of a path, each percent-decoded as far as it is UTF-8; of empty ones nothing is left. */
export function segmentsOf(path: string): Reading {
  return path
    .split('/')
    .filter((segment) => segment !== '')
    .map(decoded)
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

const SCHEME = '^[a-z][a-z0-9+.-]*:'
/**
 * Where the host ends: of `http://h/x`, and of `//h/x` to whoever parses it relative to a URL. As RFC 3986, WHATWG and
 * Node's url.parse have it, and as find-my-way does, which skips to the first slash.
 */
const HOSTS: readonly RegExp[] = [
  /^(?:[a-z][a-z0-9+.-]*:)?[/\\]{2,}[^/\\?#]*/i,
  new RegExp(`${SCHEME}[/\\\\]{2}[^/\\\\?#]*`, 'i'),
  new RegExp(`${SCHEME}[/\\\\]{2}[^/\\\\?#%;'"<>^\`{|}]*`, 'i'),
  new RegExp(`${SCHEME}//.*?(?=/)`, 'i'),
]

/** Where the path of a target may begin. */
function afterHost(target: string): ReadonlySet<string> {
  const starts = new Set(/^[a-z][a-z0-9+.-]*:\/\//i.test(target) ? [] : [target])
  for (const host of HOSTS) {
    const rest = target.replace(host, '')
    if (rest !== target) starts.add(rest)
  }
  return starts
}

/** A path percent-decoded not at all, once, and again. */
function decodings(path: string): ReadonlySet<string> {
  const levels = new Set([path])
  let level = path
  for (let time = 0; time < MOST_DECODINGS; time++) {
    level = level.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
      try {
        return decodeURIComponent(escapes)
      } catch {
        return escapes
      }
    })
    levels.add(level)
  }
  return levels
}

/** Where a path may end: at its query or fragment, or at what follows a semicolon. */
const ENDS = [/[?#].*/s, /\?.*/s, /[?#;].*/s]

/** What a path becomes by what ends it, backslashes and dots, in any order that is in use. */
function resolve(path: string, found: Set<string>): void {
  for (const cut of new Set(ENDS.map((end) => path.replace(end, ''))))
    for (const slashed of new Set([cut, cut.replaceAll('\\', '/')])) {
      const dotted = slashed.replace(/%2e/gi, '.')
      found.add(slashed)
      if (!dotted.includes('.')) continue
      found.add(withoutDots(dotted)).add(withoutDots(dotted.replace(/\/{2,}/g, '/')))
    }
}

/** RFC 3986, section 5.2.4; empty segments are segments. */
function withoutDots(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/').slice(path.startsWith('/') ? 1 : 0)) {
    if (segment === '..') kept.pop()
    else if (segment !== '.') kept.push(segment)
  }
  return `/${kept.join('/')}`
}

/** Next serves the data of a page at `/_next/data/<build>/<page>.json`, by running what the page runs. */
function pageOfData(segments: Reading): string | undefined {
  const at = segments.findIndex((segment, index) => segment === '_next' && segments[index + 1] === 'data')
  const last = segments.at(-1)
  if (at === -1 || segments.length < at + 4 || !last?.endsWith('.json')) return undefined
  const page = [...segments.slice(0, at), ...segments.slice(at + 3, -1), last.slice(0, -'.json'.length)]
  return `/${page.map(encodeURIComponent).join('/')}`.replace(/\/index$/, '/')
}
