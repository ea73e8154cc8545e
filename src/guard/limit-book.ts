import { ConfigError } from '../errors/errors.ts'
import type { AppliedLimit, LimitsByCaller } from './applied-limit.ts'
import type { ReadLimit } from './limit.ts'
import type { Pattern } from './patterns.ts'

/** How many times its limit a window's ceiling is. */
export const CEILING = 10

/** Counters that one guard may have. Rules that are functions could else make one for every caller, without end. */
const MOST_COUNTERS = 10_000

/** Which counter every limit of a guard has, and which limits share one. */
export class LimitBook {
  readonly #slots = new Map<string, number>()
  readonly #named = new Map<string, { readonly limit: ReadLimit; readonly pattern: string }>()

  /**
   * The limits of a pattern as they are counted. `fixed` limits of one name must agree in everything; those that a
   * function gives may have another number for each plan. Throws ConfigError.
   */
  apply(pattern: Pattern, limits: readonly ReadLimit[], option: string, fixed: boolean): LimitsByCaller {
    for (const limit of limits) this.#checkName(pattern, limit, option, fixed)
    return {
      anonymous: limits.map((limit) => this.#applied(pattern, limit, limit.anon, option)),
      signedIn: limits.map((limit) => this.#applied(pattern, limit, limit.auth, option)),
    }
  }

  #checkName(pattern: Pattern, limit: ReadLimit, option: string, fixed: boolean): void {
    if (limit.name === undefined) return
    const known = this.#named.get(limit.name)
    if (!known) {
      if (this.#named.size < MOST_COUNTERS) this.#named.set(limit.name, { limit, pattern: pattern.text })
      return
    }
    const agree = fixed ? sameInAll(known.limit, limit) : sameWindow(known.limit, limit)
    if (!agree)
      throw new ConfigError(
        option,
        `${option}: the limit named ${JSON.stringify(limit.name)} has other numbers than under ${JSON.stringify(known.pattern)}; limits that share a name share a counter, so they must agree`,
      )
  }

  #applied(pattern: Pattern, limit: ReadLimit, most: number, option: string): AppliedLimit {
    // A name of one's own must not meet a counter that a pattern named.
    const counter = limit.name === undefined ? `pattern ${pattern.text} ${limit.label}` : `name ${limit.name}`
    let slot = this.#slots.get(counter)
    if (slot === undefined) {
      slot = this.#slots.size
      if (slot >= MOST_COUNTERS)
        throw new ConfigError(
          option,
          `${option}: the rules make more than ${MOST_COUNTERS} different limits; give the limits of a plan, not one for each caller`,
        )
      this.#slots.set(counter, slot)
    }
    return {
      counter,
      slot,
      name: limit.name ?? limit.label,
      limit: most,
      ceiling: most * CEILING,
      windowMs: limit.windowMs,
      sliding: limit.sliding,
      cost: limit.cost,
      onStoreError: limit.onStoreError,
    }
  }
}

const sameWindow = (a: ReadLimit, b: ReadLimit) => a.windowMs === b.windowMs && a.sliding === b.sliding

const sameInAll = (a: ReadLimit, b: ReadLimit) =>
  sameWindow(a, b) && a.anon === b.anon && a.auth === b.auth && a.onStoreError === b.onStoreError
