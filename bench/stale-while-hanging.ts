// Stale lists are held and Discord hangs: who waits, and how often is Discord asked?
import { createHoldfast } from 'holdfast'
import { startDiscord } from './discord.ts'
import { judge, percentile, table } from './figures.ts'

const SECONDS = 10
const PER_SECOND = 50
const PATIENCE_MS = 500

const discord = await startDiscord({ users: 1, guildsPerUser: 100 })
const holdfast = createHoldfast({
  discord: { baseUrl: discord.url },
  cache: { freshMs: 50, staleMs: 3_600_000, patienceMs: PATIENCE_MS },
})
const { id: userId, accessToken } = discord.users[0]!
await holdfast.memberships({ userId, accessToken })
await new Promise((resolve) => setTimeout(resolve, 200))
await discord.fault('hang')
await discord.tally()

const waits: Array<{ ms: number; stale: boolean }> = []
const open: Promise<void>[] = []
const began = performance.now()
for (let index = 0; index < SECONDS * PER_SECOND; index++) {
  const dueMs = (index * 1000) / PER_SECOND - (performance.now() - began)
  if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs))
  const asked = performance.now()
  open.push(
    holdfast.memberships({ userId, accessToken }).then((result) => {
      waits.push({ ms: performance.now() - asked, stale: result.stale })
    }),
  )
}
await Promise.all(open)
const { calls } = await discord.tally()
const underWay = holdfast.stats().discord.calls - 1
await holdfast.close({ deadlineMs: 0 })
await discord.stop()

const sorted = waits.map(({ ms }) => ms).sort((a, b) => a - b)
const patient = sorted.filter((ms) => ms > PATIENCE_MS / 2)
const others = sorted.filter((ms) => ms <= PATIENCE_MS / 2)
table(
  [`${SECONDS} s at ${PER_SECOND} requests a second`, ''],
  [
    ['requests that waited for a refresh', patient.length],
    ['the longest of them, ms', patient.at(-1) ?? 0],
    ['p99 of the others, ms', percentile(others, 0.99)],
    ['calls to Discord', Math.max(calls, underWay)],
    ['stale answers', waits.filter(({ stale }) => stale).length],
  ],
)
judge([
  { name: 'the longest wait', value: patient.at(-1) ?? 0, unit: 'ms', target: PATIENCE_MS + 50 },
  { name: 'requests that waited', value: patient.length, unit: 'requests', target: 2 },
  { name: 'p99 of every other', value: percentile(others, 0.99), unit: 'ms', target: 1 },
  { name: 'calls to Discord', value: Math.max(calls, underWay), unit: 'calls', target: 2 },
])
