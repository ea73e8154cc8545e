import { type Milliseconds, systemClock } from '../time/clock.ts'
import { targetOf } from './web-guard.ts'

/** The optimizer fetches what it was asked for at once; of what it holds already it fetches nothing. */
const EXPECTED_MS: Milliseconds = 10_000
const MOST_EXPECTED = 1_000
const OPTIMIZER = /\/_next\/image\/?\?(.*)$/

/**
 * Knows what Next's image optimizer fetches for itself: a local image comes back through the proxy as a request of its
 * own, without a header of the visitor's, under one address for everybody. Expected is what a request that was counted
 * asked the optimizer for, once each, and only without a Host: so nobody gets more images than they were counted for.
 */
export class InnerImages {
  readonly #expected = new Map<string, { count: number; at: Milliseconds }>()

  /** A request that was let in: if it asks the optimizer for a local image, that one may come back. */
  expect(request: Request): void {
    const query = OPTIMIZER.exec(targetOf(request.url))?.[1]
    const image = query === undefined ? null : new URLSearchParams(query).get('url')
    if (image === null || !image.startsWith('/')) return
    const now = systemClock.monotonic()
    for (const [target, { at }] of this.#expected) {
      if (this.#expected.size < MOST_EXPECTED && now - at < EXPECTED_MS) break
      this.#expected.delete(target)
    }
    const target = normal(image)
    const known = this.#expected.get(target)
    this.#expected.delete(target)
    this.#expected.set(target, { count: (known?.count ?? 0) + 1, at: now })
  }

  /** Whether a request is one of those: then it counts for nobody. */
  has(request: Request): boolean {
    // Whatever comes over HTTP/1.1 or later has one (RFC 9112, section 3.2).
    if (this.#expected.size === 0 || request.method !== 'GET' || request.headers.has('host')) return false
    const target = normal(targetOf(request.url))
    const found = this.#expected.get(target)
    if (!found || systemClock.monotonic() - found.at >= EXPECTED_MS) return false
    if (found.count === 1) this.#expected.delete(target)
    else found.count--
    return true
  }
}

function normal(target: string): string {
  if (!URL.canParse(target, 'http://localhost')) return target
  const { pathname, search } = new URL(target, 'http://localhost')
  return pathname + search
}
