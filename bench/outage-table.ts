// What users and Discord see of the same bad two hours with plain fetch, with fetch behind a 60 s cache, and with
// Holdfast: in virtual time, so that an hour is an hour. `node bench/outage-table.ts --write` puts it into README.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { createHoldfast } from 'holdfast'
import { createVirtualClock, startSimulator, type VirtualClock } from 'holdfast/simulator'
import { LRUCache } from 'lru-cache'
import { PHASES, phaseAt } from '../src/cli/story.ts'
import { judge, table } from './figures.ts'

const SEED = 1
const USERS = 200
const LENGTH_MS = 2 * 3_600_000
/** Somebody comes back every ten minutes on average, and then opens five pages, fifteen seconds apart. */
const COMES_BACK_MS = 600_000
const PAGES = 5
const PAGE_MS = 15_000
/** Two tabs, a server render and its client, a double click. */
const ASKS_TWICE = 0.2
/** A page that has not come by then is an error for whoever waits. */
const GIVES_UP_MS = 15_000
const FETCH_TRIES = 4
const FETCH_TIMEOUT_MS = 10_000
const CACHE_MS = 60_000

interface World {
  readonly url: string
  readonly clientId: string
  readonly clock: VirtualClock
}

/** Answers a page view: whether it was stale. Rejects where the user sees an error. */
type Page = (token: string) => Promise<boolean>
interface App {
  readonly page: Page
  close?(): Promise<void>
}

/** What apps do without a library: a time-out, and a loop that does what Retry-After says. */
async function fetchGuilds({ url, clock }: World, token: string): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    const deadline = new AbortController()
    const over = new AbortController()
    clock.sleep(FETCH_TIMEOUT_MS, over.signal).then(
      () => deadline.abort(new Error('Discord does not answer')),
      () => {},
    )
    try {
      const headers = { authorization: `Bearer ${token}`, 'user-agent': 'DiscordBot (https://example.com, 1.0.0)' }
      const response = await fetch(`${url}/users/@me/guilds`, { headers, signal: deadline.signal })
      if (response.ok) return await response.json()
      await response.body?.cancel()
      const seconds = Number(response.headers.get('retry-after') ?? 1)
      if (response.status !== 429 || attempt === FETCH_TRIES || seconds * 1000 > FETCH_TIMEOUT_MS)
        throw new Error(`Discord answered ${response.status}`)
      await clock.sleep(seconds * 1000)
    } finally {
      over.abort()
    }
  }
}

const APPS: Record<string, (world: World) => App> = {
  'plain fetch': (world) => ({
    page: async (token) => {
      await fetchGuilds(world, token)
      return false
    },
  }),
  'fetch, 60 s cache': (world) => {
    const cache = new LRUCache<string, object>({
      max: 10_000,
      ttl: CACHE_MS,
      ttlResolution: 0,
      perf: { now: () => world.clock.monotonic() + 1 },
      // One fetch for all who ask at once: the better of the caches people write.
      fetchMethod: async (token) => (await fetchGuilds(world, token)) as object,
    })
    return {
      page: async (token) => {
        await cache.fetch(token)
        return false
      },
    }
  },
  Holdfast: (world) => {
    const holdfast = createHoldfast({
      discord: { baseUrl: world.url, clientId: world.clientId },
      clock: world.clock,
    })
    return {
      page: async (token) =>
        (await holdfast.requireAuth({ method: 'GET', headers: new Headers({ authorization: `Bearer ${token}` }) }))
          .stale,
      close: () => holdfast.close(),
    }
  },
}

/** A small seeded generator: the same page views for all three. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pageViews(): { readonly atMs: number; readonly user: number }[] {
  const random = seeded(SEED)
  const views: { atMs: number; user: number }[] = []
  for (let user = 0; user < USERS; user++)
    for (let visitMs = random() * COMES_BACK_MS; visitMs < LENGTH_MS; visitMs += COMES_BACK_MS * (0.5 + random()))
      for (let page = 0; page < PAGES; page++) {
        const atMs = Math.floor(visitMs + page * PAGE_MS)
        if (atMs >= LENGTH_MS) break
        views.push({ atMs, user })
        if (random() < ASKS_TWICE) views.push({ atMs, user })
      }
  return views.sort((a, b) => a.atMs - b.atMs)
}

async function play(make: (world: World) => App) {
  const clock = createVirtualClock()
  const simulator = await startSimulator({ clock, users: USERS, guildsPerUser: 40, seed: SEED })
  const app = make({ url: simulator.url, clientId: simulator.clientId, clock })
  const outcome = { errors: 0, stale: 0, duringTroubleMs: [] as number[] }
  const open = new Set<Promise<void>>()
  let phase = PHASES[0]!
  let endPhase = phase.begin(simulator, LENGTH_MS * phase.share)
  for (const { atMs, user } of pageViews()) {
    if (atMs > clock.monotonic()) await clock.advance(atMs - clock.monotonic())
    const now = phaseAt(atMs / LENGTH_MS)
    if (now !== phase) {
      endPhase()
      phase = now
      endPhase = phase.begin(simulator, LENGTH_MS * phase.share)
    }
    const { outage } = phase
    const began = clock.monotonic()
    const view = app.page(simulator.users[user]!.accessToken).then(
      (stale) => ({ ok: true, stale }),
      () => ({ ok: false, stale: false }),
    )
    const seen = view.then(({ ok, stale }) => {
      const tookMs = Math.min(GIVES_UP_MS, clock.monotonic() - began)
      if (!ok || tookMs >= GIVES_UP_MS) outcome.errors++
      else if (stale) outcome.stale++
      if (outage) outcome.duringTroubleMs.push(tookMs)
    })
    open.add(seen)
    void seen.then(() => open.delete(seen))
  }
  endPhase()
  await clock.advance(60_000)
  await Promise.all(open)
  const calls = simulator.calls.length
  const rateLimited = simulator.calls.filter((call) => call.status === 429).length
  await app.close?.()
  await simulator.close()
  return { calls, rateLimited, ...outcome }
}

const views = pageViews().length
const runs: Awaited<ReturnType<typeof play>>[] = []
for (const make of Object.values(APPS)) runs.push(await play(make))

const count = (value: number) => value.toLocaleString('en-US')
const time = (ms: number) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(0)} ms`)
const rows = [
  ['errors shown to users', ...runs.map(({ errors }) => count(errors))],
  ['calls sent to Discord', ...runs.map(({ calls }) => count(calls))],
  ['429s received', ...runs.map(({ rateLimited }) => count(rateLimited))],
  ['slowest page, in virtual time', ...runs.map(({ duringTroubleMs }) => time(Math.max(...duringTroubleMs)))],
  ['pages from an older list, marked stale', ...runs.map(({ stale }) => count(stale))],
]
const head = [`${count(views)} page views, ${USERS} users`, ...Object.keys(APPS)]
table(head, rows)
judge([
  { name: 'errors with Holdfast', value: runs[2]!.errors, unit: 'of all page views', target: 0 },
  { name: 'slowest page with Holdfast', value: Math.max(...runs[2]!.duringTroubleMs), unit: 'ms', target: 600 },
])

if (process.argv.includes('--write')) {
  const readme = new URL('../README.md', import.meta.url)
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const text = [line(head), `|---|${'---:|'.repeat(runs.length)}`, ...rows.map(line)].join('\n')
  const day = new Date().toISOString().slice(0, 10)
  const note = `Measured on ${day} with Node ${process.versions.node}, seed ${SEED}: \`npm run bench -- outage-table\`.`
  const marked = /(<!-- outage-table -->\n)[\s\S]*?(\n<!-- \/outage-table -->)/
  writeFileSync(readme, readFileSync(readme, 'utf8').replace(marked, `$1${text}\n\n${note}$2`))
}
