// Four keys in three pools, one of them almost spent by somebody else, answers 40 to 160 ms away: how long do 60 and 150
// calls take beside what the limits allow, and how many 429s do they meet?
import { goVirtual, newClock } from './virtual-globals.ts'

const { setTimeout: realSetTimeout } = globalThis
const { now: realNow } = performance
goVirtual()

import { batch, type Clock, createOwnerQuota, systemClock } from 'holdfast'
import { FOUR_KEYS, type Refused, seeded, Upstream } from '../test/quota/upstream.ts'
import { judge, median, table } from './figures.ts'

// Imported when the virtual globals are there.
const { default: PQueue } = await import('p-queue')
const { default: Bottleneck } = await import('bottleneck')

const SEEDS = 200
const PEER_SEEDS = 40
const { keys, owners, pools, lowerBoundMs } = FOUR_KEYS
type N = keyof typeof lowerBoundMs

interface World {
  readonly clock: Clock
  readonly upstream: Upstream
  readonly sleep: (ms: number) => Promise<void>
  readonly random: () => number
}

type Contestant = (world: World, n: number) => Promise<void>

/** Sends, and after a 429 waits what it asks for and sends again. */
async function withRetryAfter({ upstream, sleep }: World, key: string): Promise<void> {
  for (;;) {
    try {
      await upstream.call(key)
      return
    } catch (error) {
      await sleep((error as Refused).retryAfterMs)
    }
  }
}

/** Sends with the next key after a 429, and waits only when all have refused. */
async function withFailover({ upstream, sleep }: World, first: number): Promise<void> {
  for (;;) {
    let shortestMs = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < keys.length; turn++) {
      try {
        await upstream.call(keys[(first + turn) % keys.length]!.key)
        return
      } catch (error) {
        shortestMs = Math.min(shortestMs, (error as Refused).retryAfterMs)
      }
    }
    await sleep(shortestMs)
  }
}

/** One limiter for each owner, which is more than most make: each knows its owner's limit, and keys take turns. */
const eachOwnersLimiter =
  (make: (pool: { limit: number; windowMs: number }) => (work: () => Promise<void>) => Promise<void>): Contestant =>
  async (world, n) => {
    const limiters = new Map(Object.entries(pools).map(([owner, pool]) => [owner, make(pool)]))
    await Promise.all(
      Array.from({ length: n }, (_, index) => {
        const { key, owner } = keys[index % keys.length]!
        return limiters.get(owner)!(() => withRetryAfter(world, key))
      }),
    )
  }

const contestants: Record<string, Contestant> = {
  holdfast: async ({ clock, upstream }, n) => {
    const quota = createOwnerQuota({ limit: 10, windowMs: 10_000, limits: { B: 5, C: 20 }, clock })
    const send = async (_: number, key: string, { learn }: { learn: (answer: object) => void }) =>
      learn(await upstream.call(key))
    await batch(
      Array.from({ length: n }, (_, index) => index),
      { keys, quota, send },
    )
  },
  'Retry-After loop': (world, n) =>
    Promise.all(Array.from({ length: n }, (_, index) => withRetryAfter(world, keys[index % keys.length]!.key))).then(
      () => {},
    ),
  'another key after a 429': (world, n) =>
    Promise.all(Array.from({ length: n }, (_, index) => withFailover(world, index))).then(() => {}),
  'p-queue (strict)': eachOwnersLimiter(({ limit, windowMs }) => {
    const queue = new PQueue({ intervalCap: limit, interval: windowMs, strict: true })
    return (work) => queue.add(work)
  }),
  Bottleneck: eachOwnersLimiter(({ limit, windowMs }) => {
    const limiter = new Bottleneck({
      reservoir: limit,
      reservoirRefreshAmount: limit,
      reservoirRefreshInterval: Math.ceil(windowMs / 250) * 250,
    })
    return (work) => limiter.schedule(work)
  }),
}

async function inVirtualTime(contestant: Contestant, n: N, seed: number) {
  const clock = newClock()
  const random = seeded(seed)
  const upstream = new Upstream({ clock, owners, pools, latency: () => 20 + 60 * random() })
  let doneAt: number | undefined
  const running = contestant({ clock, upstream, random, sleep: (ms) => clock.sleep(ms) }, n).then(() => {
    doneAt = clock.monotonic()
  })
  while (doneAt === undefined) await clock.advance(500)
  await running
  return { ms: doneAt, refusals: upstream.refusals }
}

const rows: Array<Array<string | number>> = []
const reached: Record<string, { times: number; refusals: number }> = {}
for (const n of [60, 150] as const) {
  const bound = lowerBoundMs[n]
  rows.push([`${n} calls: lower bound`, bound / 1000, '', '', ''])
  for (const [name, contestant] of Object.entries(contestants)) {
    const runs = []
    for (let seed = 1; seed <= (name === 'holdfast' ? SEEDS : PEER_SEEDS); seed++)
      runs.push(await inVirtualTime(contestant, n, seed))
    const longest = Math.max(...runs.map((run) => run.ms))
    const refusals = median(runs.map((run) => run.refusals))
    const most = Math.max(...runs.map((run) => run.refusals))
    rows.push([`  ${name}`, median(runs.map((run) => run.ms)) / 1000, longest / 1000, String(refusals), String(most)])
    if (name === 'holdfast') reached[n] = { times: longest / bound, refusals: most }
  }
}
table(['virtual time', 's, median', 'longest', '429s, median', 'most'], rows)

// Once in real time, twenty times as fast.
const FASTER = 20
globalThis.setTimeout = realSetTimeout
performance.now = realNow
const random = seeded(1)
const upstream = new Upstream({
  clock: systemClock,
  owners,
  pools: Object.fromEntries(
    Object.entries(pools).map(([owner, pool]) => [
      owner,
      {
        ...pool,
        windowMs: pool.windowMs / FASTER,
        ...('endsAt' in pool && { endsAt: performance.now() + pool.endsAt / FASTER }),
      },
    ]),
  ),
  latency: () => (20 + 60 * random()) / FASTER,
})
const quota = createOwnerQuota({ limit: 10, windowMs: 10_000 / FASTER, limits: { B: 5, C: 20 }, clock: systemClock })
const began = performance.now()
await batch(
  Array.from({ length: 150 }, (_, index) => index),
  { keys, quota, send: async (_n, key, { learn }) => learn(await upstream.call(key)) },
)
const tookMs = (performance.now() - began) * FASTER
console.log(
  `\nin real time, ${FASTER} times as fast: 150 calls in ${(tookMs / 1000).toFixed(2)} s of theirs, ${upstream.refusals} 429s`,
)

judge([
  { name: '150 calls, longest of 200 seeds', value: reached[150]!.times, unit: '× the lower bound', target: 1.02 },
  { name: '429s in 200 seeds', value: reached[150]!.refusals + reached[60]!.refusals, unit: '', target: 0 },
  { name: 'in real time, 20 times as fast', value: tookMs / lowerBoundMs[150], unit: '× the lower bound', target: 1.1 },
  { name: '429s in real time', value: upstream.refusals, unit: '', target: 0 },
])
