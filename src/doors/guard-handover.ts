import type { PassDecision } from '../guard/decision.ts'
import { processWideSymbol } from '../instance/process-wide.ts'
import { randomId } from '../secrets/key-ring.ts'
import { type Milliseconds, systemClock } from '../time/clock.ts'

/** A decision that its proxy made and no route has taken yet. */
interface Handed {
  readonly decision: PassDecision
  readonly at: Milliseconds
}

/** A route is reached within this, or the request went where no route takes decisions: a page, a file, another server. */
const KEPT_MS: Milliseconds = 10_000
/** Of more, the oldest are forgotten and keep what they charged. */
const MOST_KEPT = 10_000

/** In one process Next bundles the proxy and the routes apart: what one notes, the other has to find. */
const HANDED = processWideSymbol('next-decisions')
const processWide = globalThis as { [key: symbol]: Map<string, Handed> | undefined }

function handed(): Map<string, Handed> {
  const known = processWide[HANDED] ?? new Map<string, Handed>()
  processWide[HANDED] = known
  return known
}

/** Notes a decision for the route behind; its name is good for one request. Nothing of the request is kept alive. */
export function handOn(decision: PassDecision): string {
  const all = handed()
  const now = systemClock.monotonic()
  // In the order they came, so the first that is young ends the search.
  for (const [id, { at }] of all) {
    if (all.size < MOST_KEPT && now - at < KEPT_MS) break
    all.delete(id)
  }
  const id = randomId()
  all.set(id, { decision: decision.release?.() ?? decision, at: now })
  return id
}

/** Takes a decision: the first who comes with its name, and in time. */
export function takeOver(id: string): PassDecision | undefined {
  const all = handed()
  const found = all.get(id)
  if (!found) return undefined
  all.delete(id)
  return systemClock.monotonic() - found.at < KEPT_MS ? found.decision : undefined
}
