import type { PathList } from './patterns.ts'
import { normalPath } from './request-path.ts'
import type { Rule, Rules } from './rules.ts'

/** All that a request's path decides. */
export interface Route {
  /** In its normal form. */
  readonly path: string
  readonly isHealth: boolean
  readonly isPublic: boolean
  /** The most specific first; the last is for every method. */
  readonly rules: readonly Rule[]
}

const ROUTES_REMEMBERED = 1_000
const LONGEST_REMEMBERED = 256

/** Finds what holds for a request target, and remembers it for the next that is the same. */
export class Routes {
  readonly #rules: Rules
  readonly #healthPaths: PathList
  readonly #publicPaths: PathList
  readonly #remembered = new Map<string, Route>()

  constructor(rules: Rules, healthPaths: PathList, publicPaths: PathList) {
    this.#rules = rules
    this.#healthPaths = healthPaths
    this.#publicPaths = publicPaths
  }

  /** The route of a request target, as it came. */
  of(target: string): Route {
    return this.#remembered.get(target) ?? this.#find(target)
  }

  #find(target: string): Route {
    const path = normalPath(target)
    const route: Route = {
      path,
      isHealth: this.#healthPaths.has(path),
      isPublic: this.#publicPaths.has(path),
      rules: this.#rules.at(path),
    }
    // All at once: paths that nobody asks for twice must not cost more than they bring.
    if (this.#remembered.size >= ROUTES_REMEMBERED) this.#remembered.clear()
    if (target.length <= LONGEST_REMEMBERED) this.#remembered.set(target, route)
    return route
  }
}

/** The rule of a route for a method. What GET may do, HEAD may. */
export function ruleFor({ rules }: Route, method: string): Rule {
  for (const rule of rules) {
    const { method: only } = rule.pattern
    if (only === undefined || only === method || (only === 'GET' && method === 'HEAD')) return rule
  }
  return rules.at(-1)!
}
