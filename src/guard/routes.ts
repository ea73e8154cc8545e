import type { PathList } from './patterns.ts'
import { type Reading, readingsOf } from './readings.ts'
import { normalPath } from './request-path.ts'
import type { Rule, Rules } from './rules.ts'

/** All that a request's path decides. */
export interface Route {
  /** As it was sent, in its normal form. */
  readonly path: string
  readonly isHealth: boolean
  readonly isPublic: boolean
  /** Whether any reading of it is an API path. */
  readonly isApi: boolean
  /** What holds for every reading of the target; undefined as a method stands for whichever has the most specific rule. */
  ruleFor(method: string | undefined): Rule
}

const ROUTES_REMEMBERED = 1_000
const LONGEST_REMEMBERED = 256

/** Which paths are what, beside the rules. */
export interface PathLists {
  readonly healthPaths: PathList
  readonly publicPaths: PathList
  readonly apiPrefixes: readonly string[]
}

/** Finds what holds for a request target, and remembers it for the next that is the same. */
export class Routes {
  readonly #rules: Rules
  readonly #paths: PathLists
  readonly #apiPrefixes: readonly Reading[]
  readonly #remembered = new Map<string, Route>()

  constructor(rules: Rules, paths: PathLists) {
    this.#rules = rules
    this.#paths = paths
    this.#apiPrefixes = paths.apiPrefixes.map(prefixOf)
  }

  /** The route of a request target, as it came; `basePath` is what a framework mounts the whole app at. */
  of(target: string, basePath?: string): Route {
    if (basePath) return this.#find(target, basePath)
    return this.#remembered.get(target) ?? this.#find(target, '')
  }

  #find(target: string, basePath: string): Route {
    const readings = withoutBase(readingsOf(target), basePath)
    const { healthPaths, publicPaths } = this.#paths
    // What is let off has to be let off in every reading, or a second one would get in with the first.
    const isEvery = (list: PathList) => readings !== 'any' && readings.every((reading) => list.has(reading))
    const rules = this.#rules
    const byMethod = new Map<string | undefined, Rule>()
    const route: Route = {
      path: normalPath(target),
      isHealth: isEvery(healthPaths),
      isPublic: isEvery(publicPaths),
      isApi: readings === 'any' || readings.some((reading) => isUnder(reading, this.#apiPrefixes)),
      ruleFor(method) {
        let rule = byMethod.get(method)
        if (!rule) {
          rule = rules.for(readings, method)
          // Methods are Node's list on Node; elsewhere anything may be one.
          if (byMethod.size < 16) byMethod.set(method, rule)
        }
        return rule
      },
    }
    // All at once: paths that nobody asks for twice must not cost more than they bring.
    if (this.#remembered.size >= ROUTES_REMEMBERED) this.#remembered.clear()
    if (basePath === '' && target.length <= LONGEST_REMEMBERED) this.#remembered.set(target, route)
    return route
  }
}

/** A path prefix as its segments, lower case. */
export function prefixOf(prefix: string): Reading {
  const [segments] = readingsOf(prefix)
  return (segments as Reading).map((segment) => segment.toLowerCase())
}

/** Whether a path is one of the prefixes or below one. Express routes /API/chat to /api/chat: letters do not count. */
export function isUnder(reading: Reading, prefixes: readonly Reading[]): boolean {
  return prefixes.some(
    (prefix) =>
      prefix.length <= reading.length && prefix.every((segment, index) => segment === reading[index]!.toLowerCase()),
  )
}

/** Patterns may be written with the base path or without it: both are read. */
function withoutBase(readings: readonly Reading[] | 'any', basePath: string): readonly Reading[] | 'any' {
  if (readings === 'any' || basePath === '') return readings
  const base = prefixOf(basePath)
  return readings.flatMap((reading) => (isUnder(reading, [base]) ? [reading.slice(base.length), reading] : [reading]))
}
