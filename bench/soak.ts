// Constant traffic with a Redis and a database, a new random fault of Discord, of one of them or of none every few
// seconds, and in the end: was memory bounded, did anything stay open, was a rejection nobody's? `npm run soak` (ten
// minutes), `npm run soak -- 60 7` (seconds, seed). Not a bench: no figure.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createHoldfast, isAuthError } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'
import { startRedisServer } from '../test/support/redis-server.ts'
import { SECRET } from './fleet.ts'

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

/** Each returns what ends it. */
const STORE_FAULTS: Record<string, () => () => void | Promise<void>> = {
  'redis frozen': () => {
    redis.freeze()
    return () => redis.thaw()
  },
  'redis killed': () => {
    const gone = redis.kill()
    return async () => {
      await gone
      await redis.start()
    }
  },
  'database locked': () => {
    const other = new DatabaseSync(file)
    other.exec('PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE')
    return () => {
      other.exec('ROLLBACK')
      other.close()
    }
  },
}

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
const redis = await startRedisServer()
const folder = mkdtempSync(join(tmpdir(), 'holdfast-soak-'))
const file = join(folder, 'soak.db')
const holdfast = createHoldfast({
  discord: { baseUrl: discord.url, clientId: discord.clientId },
  redis: redis.url,
  database: `sqlite:${file}`,
  secret: SECRET,
  // Short, so that every kind of age is met many times.
  cache: { freshMs: 2_000, staleMs: 30_000 },
  logger: { debug() {}, info() {}, warn() {}, error() {} },
})
await holdfast.ready()
const handlesBefore = process.getActiveResourcesInfo().length
const counts: Record<string, number> = {}
const count = (name: string) => {
  counts[name] = (counts[name] ?? 0) + 1
}

const heaps: number[] = []
const began = Date.now()
let endFault: () => void | Promise<void> = () => {}
let faultAt = 0
const open = new Set<Promise<void>>()
while (Date.now() - began < SECONDS * 1000) {
  const passedMs = Date.now() - began
  if (passedMs >= faultAt) {
    await endFault()
    endFault = () => {}
    faultAt = passedMs + FAULT_EVERY_MS
    // A third of the time all is well.
    const kind = random()
    if (kind < 1 / 2) {
      const fault = FAULTS[Math.floor(random() * FAULTS.length)]!
      endFault = discord.fault(fault, { probability: random() })
      count(`fault ${fault}`)
    } else if (kind < 2 / 3) {
      const [fault, begin] = Object.entries(STORE_FAULTS)[Math.floor(random() * Object.keys(STORE_FAULTS).length)]!
      endFault = begin()
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
await endFault()
await Promise.all(open)
await holdfast.close()
await discord.close()
await redis.stop()
rmSync(folder, { recursive: true })
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
