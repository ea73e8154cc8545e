import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CacheKey } from '../../src/cache/cache-key.ts'
import { GracefulCache } from '../../src/cache/graceful-cache.ts'
import { systemClock } from '../../src/time/clock.ts'
import { beside, openFleet, SERVERS, until } from '../redis/room.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'

// Random histories of several processes on one Redis that freezes and forgets, against a model that only knows the
// promises: an answer is never another key's, never older than its caller allows, and never from before an invalidation
// that had ended (and, for the other processes, had a moment to be told) when it was asked for.

const KEYS: readonly CacheKey[] = [{ user: 'a', key: 'bc' }, { user: 'ab', key: 'c' }, { user: 'a', key: 'c' }, 'abc']
/** How long news may take to the other processes. On a busy machine that is more than the 50 ms that are promised. */
const NEWS_MS = 250

type Command =
  | {
      do: 'get'
      by: number
      key: number
      freshMs: number
      staleMs: number
      loadMs: number
      how: 'value' | 'trouble' | 'gone'
    }
  | { do: 'set' | 'invalidate'; by: number; key: number }
  | { do: 'invalidateUser'; by: number; user: string }
  | { do: 'freeze' | 'thaw' | 'flush' | 'scripts' | 'settle' }
  | { do: 'pass'; ms: number }

const by = fc.nat({ max: 2 })
const key = fc.nat({ max: KEYS.length - 1 })
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      by,
      key,
      freshMs: fc.constantFrom(0, 20, 60_000),
      staleMs: fc.constantFrom(0, 40, 600_000),
      loadMs: fc.constantFrom(0, 0, 5, 40),
      how: fc.constantFrom('value' as const, 'value' as const, 'value' as const, 'trouble' as const, 'gone' as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('set' as const, 'invalidate' as const), by, key }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('invalidateUser' as const), by, user: fc.constantFrom('a', 'ab') }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'freeze' as const,
        'thaw' as const,
        'thaw' as const,
        'scripts' as const,
        'flush' as const,
        'settle' as const,
        'settle' as const,
      ),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 5, 30) }) },
)

interface Born {
  readonly key: number
  readonly text: string
  /** When its load began, and when it was there. What is set may come after all that is done before set() has ended. */
  begunAt: number
  at: number
  /** By which process it was set, until that has ended. */
  setBy?: number | undefined
}

/** An invalidation of a key: whatever began before it is not to be given any more. */
interface Forgotten {
  readonly by: number
  readonly startedAt: number
  /** When the promise resolved; until then nothing is promised. */
  endedAt: number
  /** When the others have been told. While Redis is away they are told later, and that is no promise at all. */
  toldAt: number
}

describe.skipIf(!SERVERS)('several processes on one Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer()
  })
  afterAll(async () => {
    server?.thaw()
    await server?.stop()
  })

  async function run(commands: readonly Command[], seen: Record<string, number>) {
    const rooms = await openFleet(3, { url: server.url, readTimeoutMs: 100, writeTimeoutMs: 250 })
    const caches = rooms.map(
      ({ entries, events }) =>
        new GracefulCache({
          freshMs: 60_000,
          staleMs: 600_000,
          patienceMs: 20,
          loadTimeoutMs: 5_000,
          maxEntries: 1_000,
          maxBytes: 1_000_000,
          clock: systemClock,
          events,
          shared: entries,
        }),
    )
    const now = () => performance.now()
    const born = new Map<string, Born>()
    const forgotten = KEYS.map((): Forgotten[] => [])
    const broken: string[] = []
    const underWay = new Set<Promise<unknown>>()
    let made = 0
    let frozen = false

    const begin = (work: Promise<unknown>) => {
      underWay.add(work)
      void work.finally(() => underWay.delete(work))
    }
    const allUp = () => !frozen && rooms.every(({ connection }) => connection.isUp)
    const forget = (by: number, keys: readonly number[], work: () => Promise<void>) => {
      const told = allUp()
      const entry: Forgotten = {
        by,
        startedAt: now(),
        endedAt: Number.POSITIVE_INFINITY,
        toldAt: Number.POSITIVE_INFINITY,
      }
      for (const key of keys) forgotten[key]!.push(entry)
      // Within a process, what is set first is forgotten.
      for (const value of born.values()) {
        if (value.setBy !== by || !keys.includes(value.key)) continue
        value.begunAt = 0
        value.setBy = undefined
      }
      begin(
        work().then(() => {
          entry.endedAt = now()
          // Told, if Redis was there all the while.
          if (told && allUp()) entry.toldAt = now() + NEWS_MS
        }),
      )
    }
    const indicesOf = (user: string) =>
      KEYS.flatMap((key, index) => (typeof key !== 'string' && key.user === user ? [index] : []))

    const get = ({ by, key, freshMs, staleMs, loadMs, how }: Command & { do: 'get' }) => {
      const askedAt = now()
      const due = forgotten[key]!.filter((one) => (one.by === by ? one.endedAt : one.toldAt) < askedAt)
      const notBefore = Math.max(0, ...due.map(({ startedAt }) => startedAt))
      const load = async () => {
        const begunAt = now()
        if (loadMs > 0) await sleep(loadMs)
        if (how !== 'value') throw Object.assign(new Error(how), { status: how === 'gone' ? 404 : 503 })
        const text = `value ${++made} of ${key}`
        born.set(text, { key, text, begunAt, at: now() })
        return text
      }
      const answered = caches[by]!.get<string>(KEYS[key]!, { load, freshMs, staleMs }).then(
        (answer) => {
          seen[`${answer.state} from ${answer.source}`] = (seen[`${answer.state} from ${answer.source}`] ?? 0) + 1
          const value = born.get(answer.value)
          const say = (what: string) => broken.push(`process ${by}, key ${key}: ${what}: ${JSON.stringify(answer)}`)
          if (!value || value.key !== key) return say('a value of another key')
          if (value.begunAt < notBefore) say(`from ${(notBefore - value.begunAt).toFixed()} ms before it was forgotten`)
          const ageMs = now() - value.at
          // It was answered at some time since then, and a busy machine lets things lie.
          const slackMs = now() - askedAt + 100
          if (answer.state === 'fresh' && answer.source === 'memory' && ageMs > freshMs + slackMs) say('not fresh')
          if (answer.state === 'stale' && ageMs > Math.max(freshMs, staleMs) + slackMs) say('older than allowed')
          if (answer.ageMs < ageMs - slackMs) say(`made younger by ${(ageMs - answer.ageMs).toFixed()} ms`)
        },
        (error: { status?: number; code?: string }) => {
          seen.error = (seen.error ?? 0) + 1
          if (error.status === undefined && error.code !== 'LOAD_FAILED_ELSEWHERE')
            broken.push(`an error of its own: ${String(error)}`)
        },
      )
      begin(answered)
      return answered
    }

    for (const command of commands) {
      switch (command.do) {
        case 'get':
          // Every other one is waited for, so that histories are deep as well as wide.
          if (command.loadMs === 0) await get(command)
          else get(command)
          break
        case 'set': {
          const text = `value ${++made} of ${command.key}`
          const value: Born = {
            key: command.key,
            text,
            begunAt: Number.POSITIVE_INFINITY,
            at: Number.POSITIVE_INFINITY,
            setBy: command.by,
          }
          born.set(text, value)
          const stored = caches[command.by]!.set(KEYS[command.key]!, text)
          begin(
            stored.then(() => {
              value.at = now()
              if (value.setBy !== undefined) value.begunAt = value.at
              value.setBy = undefined
            }),
          )
          break
        }
        case 'invalidate':
          forget(command.by, [command.key], () => caches[command.by]!.invalidate(KEYS[command.key]!))
          break
        case 'invalidateUser':
          forget(command.by, indicesOf(command.user), () => caches[command.by]!.invalidateUser(command.user))
          break
        case 'freeze':
          frozen = true
          server.freeze()
          break
        case 'thaw':
          frozen = false
          server.thaw()
          break
        case 'flush':
        case 'scripts': {
          if (frozen) break
          using client = await beside(server.url)
          await (command.do === 'flush' ? client.flushAll() : client.scriptFlush())
          break
        }
        case 'settle':
          await Promise.all(underWay)
          await sleep(frozen ? 0 : NEWS_MS + 10)
          break
        case 'pass':
          await sleep(command.ms)
      }
    }
    frozen = false
    server.thaw()
    await Promise.all(underWay)
    // In the end everybody is back and has been told everything, and nothing that was forgotten is left.
    await until(allUp, 15_000, 'all processes to be back')
    await sleep(NEWS_MS)
    for (const list of forgotten) for (const one of list) one.toldAt = Math.min(one.toldAt, now() - 1)
    for (const by of caches.keys())
      for (const key of KEYS.keys())
        await get({ do: 'get', by, key, freshMs: 60_000, staleMs: 600_000, loadMs: 0, how: 'value' })
    for (const cache of caches) cache.close()
    for (const { connection } of rooms) connection.close()
    expect(broken).toEqual([])
  }

  test('no history of asking, setting, forgetting, freezing and thawing breaks a promise', {
    timeout: 120_000,
  }, async () => {
    const seen: Record<string, number> = {}
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 10, maxLength: 40, size: 'max' }), (commands) =>
        run(commands, seen),
      ),
      { numRuns: Number(process.env.HOLDFAST_MODEL_RUNS ?? 6), endOnFailure: true },
    )
    for (const kind of ['fresh from memory', 'fresh from redis', 'loaded from load', 'error'])
      expect(seen[kind] ?? 0, kind).toBeGreaterThan(0)
  })
})
