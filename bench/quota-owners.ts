// One batch over 20 and over 20 000 owners: what does a call cost? The same number of calls, in memory, in
// interleaved rounds. Processor time, because a machine with other work to do has its own opinion of time.
import { batch, createOwnerQuota } from 'holdfast'
import { judge, median, table } from './figures.ts'

const CALLS = 400_000
const ROUNDS = 3
/** Of each owner: as many as 20 need. */
const LIMIT = CALLS / 20
const requests = Array.from({ length: CALLS }, (_, index) => index)

async function microsecondsPerCall(owners: number): Promise<number> {
  const keys = Array.from({ length: owners }, (_, index) => ({ key: `key-${index}`, owner: `owner-${index}` }))
  const quota = createOwnerQuota({ limit: LIMIT, windowMs: 3_600_000 })
  const before = process.cpuUsage()
  await batch(requests, { keys, quota, send: async (n) => n })
  const { user, system } = process.cpuUsage(before)
  await quota.close()
  return (user + system) / CALLS
}

const FEW = 20
const MANY = 20_000
const times: Record<number, number[]> = { [FEW]: [], [MANY]: [] }
for (let round = -1; round < ROUNDS; round++)
  for (const owners of [FEW, MANY]) {
    globalThis.gc?.()
    const us = await microsecondsPerCall(owners)
    if (round >= 0) times[owners]!.push(us)
  }
const ratios = times[MANY]!.map((us, round) => us / times[FEW]![round]!)
table(
  ['owners', 'µs a call, median', 'least', 'most'],
  [FEW, MANY].map((owners) => {
    const of = times[owners]!
    return [String(owners), median(of), Math.min(...of), Math.max(...of)]
  }),
)
judge([
  { name: `${MANY} owners beside ${FEW}, median of ${ROUNDS} rounds`, value: median(ratios), unit: '×', target: 1.2 },
])
