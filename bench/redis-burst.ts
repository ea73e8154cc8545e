// A process that has just started, and Redis that knows every user: all of them ask in the same turn. How many loads does
// Discord get, and how long does it take beside one MGET of the same values, parsed?
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@keyv/redis'
import { createHoldfast } from 'holdfast'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'

const ROWS = [
  { reads: 1_000, kilobytes: 8 },
  { reads: 3_000, kilobytes: 8 },
  { reads: 6_000, kilobytes: 8 },
  { reads: 1_000, kilobytes: 36 },
  { reads: 300, kilobytes: 200 },
]
const ROUNDS = 5
const WRITTEN_TOGETHER = 50

/** A value of about so many bytes as JSON, of things like those that apps keep for a user. */
function rowsOf(user: number, kilobytes: number) {
  const hex = (salt: number) => ((user * 2654435761 * salt) >>> 0).toString(16).padStart(8, '0')
  const rows = []
  for (let nth = 1, bytes = 0; bytes < kilobytes * 1_000; nth++) {
    const row = {
      id: String(80351110224678912n + BigInt(user * 1_000 + nth) * 7919n),
      name: `The guild of things number ${(user * 31 + nth) % 5_000}`,
      icon: hex(nth) + hex(nth + 1) + hex(nth + 2) + hex(nth + 3),
      permissions: nth % 10 === 0 ? '2251799813685247' : '2222085186636353',
    }
    bytes += JSON.stringify(row).length + 1
    rows.push(row)
  }
  return rows
}

const server = await startRedisServer()
const secret = 'a secret of at least thirty-two bytes'
const FRESH_MS = 3_600_000
const rows: Array<[string, ...number[]]> = []
const verdicts: Parameters<typeof judge>[0] extends infer List
  ? List extends ReadonlyArray<infer One>
    ? One[]
    : never
  : never = []
for (const compress of [true, false]) {
  for (const { reads, kilobytes } of ROWS) {
    const redis = { url: server.url, compress, namespace: `n${compress}${reads}-${kilobytes}` }
    const open = async (more: object = {}) => {
      const holdfast = createHoldfast({ redis: { ...redis, ...more }, secret, logger: undefined })
      while (holdfast.stats().redis !== 'up') await sleep(5)
      return holdfast
    }
    const raw = await createClient({ url: server.url }).connect()
    // Whatever keeps Redis from the processor now is not the question: a value that is not written is a load later.
    const writer = await open({ readTimeoutMs: 10_000, writeTimeoutMs: 10_000 })
    const write = async (user: number) => {
      const value = rowsOf(user, kilobytes)
      await writer.cacheUserScopedGraceful(`${user}`, 'rows', FRESH_MS, FRESH_MS, async () => value)
      await raw.set(`raw:${redis.namespace}:${user}`, JSON.stringify(value))
    }
    for (let first = 0; first < reads; first += WRITTEN_TOGETHER)
      await Promise.all(Array.from({ length: WRITTEN_TOGETHER }, (_, nth) => write(first + nth)))
    await writer.close()
    const ours: number[] = []
    const theirs: number[] = []
    let loads = 0
    for (let round = -1; round < ROUNDS; round++) {
      const holdfast = await open()
      const began = performance.now()
      await Promise.all(
        Array.from({ length: reads }, (_, user) =>
          holdfast.cacheUserScopedGraceful(`${user}`, 'rows', FRESH_MS, FRESH_MS, async () => {
            loads++
            return []
          }),
        ),
      )
      const tookMs = performance.now() - began
      await holdfast.close()
      const rawBegan = performance.now()
      const texts = await raw.mGet(Array.from({ length: reads }, (_, user) => `raw:${redis.namespace}:${user}`))
      const parsed = texts.map((text) => JSON.parse(text!))
      const rawMs = performance.now() - rawBegan
      if (parsed.length !== reads) throw new Error('raw is wrong')
      if (round < 0) continue
      ours.push(tookMs)
      theirs.push(rawMs)
    }
    raw.destroy()
    const ratio = median(ours) / median(theirs)
    const name = `${reads} × ${kilobytes} kB${compress ? '' : ', not compressed'}`
    rows.push([name, loads, median(ours), median(theirs), ratio])
    verdicts.push({ name: `${name}: loads`, value: loads, unit: '', target: 0 })
    verdicts.push({ name: `${name}: time`, value: ratio, unit: '× raw', target: 1.5 })
  }
}
await server.stop()
table(['a burst of cold reads', 'loads', 'ms', 'raw MGET + parse, ms', '×'], rows)
judge(verdicts)
