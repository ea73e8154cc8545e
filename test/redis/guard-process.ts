// A process of its own that takes places in limits: driven by its parent, over messages.

import { readRedis } from '../../src/config/redis.ts'
import { Events } from '../../src/events/events.ts'
import type { AppliedLimit } from '../../src/guard/applied-limit.ts'
import type { Taken } from '../../src/guard/counters.ts'

import { Backplane } from '../../src/redis/backplane.ts'

import { RedisConnection } from '../../src/redis/connection.ts'
import { GuardCounters } from '../../src/redis/guard-counters.ts'
import { Naming } from '../../src/redis/naming.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { systemClock } from '../../src/time/clock.ts'

export const SECRET = 'a secret that all processes of these tests share'

/** Counters on a Redis of one's own choice. */
export function openCounters(options: {
  readonly url: string
  readonly prefix: string
  readonly readTimeoutMs?: number
  readonly longestTakeMs?: number
}) {
  const clock = systemClock
  const ring = new KeyRing([SECRET])
  const { url, readTimeoutMs, longestTakeMs } = options
  const config = readRedis(
    { url, ...(readTimeoutMs !== undefined && { readTimeoutMs, writeTimeoutMs: readTimeoutMs }) },
    {},
  )!
  const { prefix } = options
  const connection = new RedisConnection({ config, prefix, clock, random: Math.random, events: new Events(clock) })
  const naming = new Naming(connection, ring, new Backplane(connection, ring, clock), undefined)
  connection.register(naming)
  connection.start()
  return { connection, naming, counters: new GuardCounters(connection, naming, clock, longestTakeMs) }
}

/** What a process is asked to do: so many requests, one after the other in so many lanes, some given back. */
export interface Orders {
  readonly ids: readonly string[]
  readonly quotas: readonly AppliedLimit[]
  readonly requests: number
  readonly lanes: number
  readonly refundEvery: number
}

export interface Outcome {
  admitted: Record<string, number>
  refunded: Record<string, number>
  refused: number
}

async function obey(counters: GuardCounters, orders: Orders): Promise<Outcome> {
  const outcome: Outcome = { admitted: {}, refunded: {}, refused: 0 }
  const lane = async (first: number) => {
    for (let index = first; index < orders.requests; index += orders.lanes) {
      const id = orders.ids[index % orders.ids.length]!
      const taken: Taken = await counters.attempt('user', id, orders.quotas, true).taken
      if (!taken.admitted) {
        outcome.refused++
        continue
      }
      outcome.admitted[id] = (outcome.admitted[id] ?? 0) + 1
      if (orders.refundEvery > 0 && index % orders.refundEvery === 0 && (await taken.refund()))
        outcome.refunded[id] = (outcome.refunded[id] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: orders.lanes }, (_, first) => lane(first)))
  return outcome
}

if (process.argv[1] === import.meta.filename && process.send) {
  const [, , url, prefix] = process.argv
  // Four processes on two cores are slow at times; what is tested here is the counting, not the deadlines.
  const { connection, counters } = openCounters({
    url: url!,
    prefix: prefix!,
    readTimeoutMs: 15_000,
    longestTakeMs: 15_000,
  })
  await connection.ready(10_000)
  process.on('message', (orders: Orders) => void obey(counters, orders).then((outcome) => process.send!(outcome)))
  process.on('disconnect', () => connection.close())
  process.send('ready')
}
