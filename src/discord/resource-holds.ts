import { RecentlyUsed } from '../collections/recently-used.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { Route } from './call.ts'

const RESOURCES_HELD = 10_000

/** Resources that a `shared` 429 forbids to everybody, whoever asks: a route together with its guild, channel or webhook. */
export class ResourceHolds {
  readonly #clock: Clock
  readonly #until = new RecentlyUsed<string, Milliseconds>(RESOURCES_HELD)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  hold(route: Pick<Route, 'key'>, forMs: Milliseconds): void {
    // A later, shorter 429 does not shorten a longer one.
    this.#until.set(route.key, Math.max(this.#until.get(route.key) ?? 0, this.#clock.monotonic() + forMs))
  }

  /** How long each resource is held. */
  *leftMs(): Generator<Milliseconds> {
    const now = this.#clock.monotonic()
    for (const until of this.#until.values()) yield until - now
  }

  heldForMs(route: Pick<Route, 'key'>): Milliseconds {
    // Nearly always there is none, and then nothing is looked up.
    if (this.#until.size === 0) return 0
    return Math.max(0, (this.#until.get(route.key) ?? 0) - this.#clock.monotonic())
  }
}
