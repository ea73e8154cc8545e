// 1 000 upstreams: first-call, calendar and sliding windows, told of exactly, in whole seconds, in part, not at all or wrongly,
// near and far, with and without strangers. How many 429s does a batch meet in a window of each kind, and how much of the
// limit does it use?
import { broken, byKind, type Judged, spendWindows } from '../test/quota/upstream-family.ts'
import { judge, table } from './figures.ts'

const SEEDS = Number(process.env.SEEDS ?? 1_000)
const all: Judged[] = []
for (let seed = 1; seed <= SEEDS; seed++) all.push(await spendWindows(seed))
const kinds = byKind(all)
table(
  ['kind of upstream', 'windows', '429s', 'share used'],
  kinds.map(({ name, windows, refusals, share }) => [name, windows, refusals, share?.toFixed(3) ?? '–']),
)
const promises = broken(all)
for (const what of promises) console.log(`broken: ${what}`)
const shareOf = (name: string) => kinds.find((kind) => kind.name === name)?.share ?? 0
judge([
  { name: 'promises broken', value: promises.length, unit: '', target: 0 },
  { name: 'share where answers tell', value: shareOf('first-call, exact'), unit: '', target: 0.97, atLeast: true },
  { name: 'share where they tell nothing', value: shareOf('first-call, none'), unit: '', target: 0.94, atLeast: true },
])
