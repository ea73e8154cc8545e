// Constant traffic, a new random fault every few seconds, and in the end: was memory bounded, did anything stay open, was
// a rejection nobody's? `npm run soak` (ten minutes), `npm run soak -- 60 7` (seconds, seed). Not a bench: no figure.
import { createHoldfast, isAuthError } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'

const SECONDS = Number(process.argv[2] ?? 600)
const SEED = Number(process.argv[3] ?? 1)
const USERS = 500
const REQUESTS_A_SECOND = 200
const FAULT_EVERY_MS = 3_000
/** Heap over its lowest point after the first fifth; what is held is bounded, so the rest may only breathe. */
const MOST_GROWTH = 1.5
const FAULTS = [
  'rate-limit',
  'ban',
  'server-error',
  'hang',
  'slow',
  'truncate',
  'malformed',
  'reset',
  'clock-skew',
  'block-page',
  'no-headers',
  'bucket-change',
  'sub-limit',
  'trickle',
  'short-page',
] as const

let orphans = 0
process.on('unhandledRejection', (reason) => {
  orphans++
  console.error('nobody owns:', reason)
})

let state = SEED >>> 0
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32
}
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const discord = await startSimulator({ users: USERS, seed: SEED, guildsPerUser: 50 })
const holdfast = createHoldfast({
  discord: { baseUrl: discord.url, clientId: discord.clientId },
  // Short, so that every kind of age is met many times.
  cache: { freshMs: 2_000, staleMs: 30_000 },
  logger: { debug() {}, info() {}, warn() {}, error() {} },
})
const handlesBefore = process.getActiveResourcesInfo().length
const counts: Record<string, number> = {}
const count = (name: string) => {
  counts[name] = (counts[name] ?? 0) + 1
}

const heaps: number[] = []
const began = Date.now()
let endFault: () => void = () => {}
let faultAt = 0
const open = new Set<Promise<void>>()
while (Date.now() - began < SECONDS * 1000) {
  const passedMs = Date.now() - began
  if (passedMs >= faultAt) {
    endFault()
    endFault = () => {}
    faultAt = passedMs + FAULT_EVERY_MS
    const fault = FAULTS[Math.floor(random() * FAULTS.length)]!
    // A third of the time all is well.
    if (random() < 2 / 3) {
      endFault = discord.fault(fault, { probability: random() })
      count(`fault ${fault}`)
    }
    globalThis.gc?.()
    heaps.push(process.memoryUsage().heapUsed)
  }
  const { accessToken } = discord.users[Math.floor(random() * USERS)]!
  const made = random() < 0.02 ? `made-up-${Math.floor(random() * 1e9)}` : accessToken
  const method = random() < 0.1 ? 'PATCH' : 'GET'
  const asked = holdfast
    .requireAuth({ method, headers: new Headers({ authorization: `Bearer ${made}` }) })
    .then(
      ({ stale }) => count(stale ? 'stale' : 'fresh'),
      (error) => count(isAuthError(error) ? String(error.status) : `unexpected ${String(error)}`),
    )
    .finally(() => open.delete(asked))
  open.add(asked)
  await sleep(1000 / REQUESTS_A_SECOND)
}
endFault()
await Promise.all(open)
await holdfast.close()
await discord.close()
await sleep(500)

const settled = heaps.slice(Math.ceil(heaps.length / 5))
const growth = settled.at(-1)! / Math.min(...settled)
const handles = process.getActiveResourcesInfo().length
console.log(counts)
console.log(
  `${SECONDS} s, seed ${SEED}, Node ${process.versions.node}: heap ${(settled.at(-1)! / 1e6).toFixed(0)} MB, ${growth.toFixed(2)} × its lowest; ${handles} handles open, ${handlesBefore} before; ${orphans} rejections nobody owned`,
)
const unexpected = Object.keys(counts).filter((name) => name.startsWith('unexpected'))
const isWell = growth <= MOST_GROWTH && handles <= handlesBefore && orphans === 0 && unexpected.length === 0
console.log(isWell ? 'all is well' : 'something is not')
process.exitCode = isWell ? 0 : 1
