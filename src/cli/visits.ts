/** One page view: when, and by whom. */
export interface Visit {
  readonly atMs: number
  readonly user: number
}

/** How often a user opens a page, on average. */
const EVERY_MS = 2500
/** Share of the page views that ask twice at once: two tabs, a server render and its client, a double click. */
const ASK_TWICE = 0.2

/** All page views of a run, in order of time; the same for the same seed. */
export function planVisits(options: {
  readonly users: number
  readonly lengthMs: number
  readonly seed: number
}): Visit[] {
  const random = mulberry32(options.seed)
  const visits: Visit[] = []
  for (let user = 0; user < options.users; user++) {
    // Everybody has been there before the trouble begins.
    let atMs = random() * Math.min(EVERY_MS, options.lengthMs * 0.15)
    while (atMs < options.lengthMs) {
      visits.push({ atMs, user })
      if (random() < ASK_TWICE) visits.push({ atMs, user })
      atMs += EVERY_MS * (0.5 + random())
    }
  }
  return visits.sort((a, b) => a.atMs - b.atMs)
}

/** A small seeded generator; the story needs repeatable visits, not good randomness. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
