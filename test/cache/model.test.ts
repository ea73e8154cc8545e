import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CacheKey } from '../../src/cache/cache-key.ts'
import type { LoadContext } from '../../src/cache/cache-options.ts'
import { GracefulCache } from '../../src/cache/graceful-cache.ts'
import { Events } from '../../src/events/events.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

// Random histories against a small second cache that only knows the promises: it keeps what was said when, and
// judges each answer and each load by it.

const KEYS: readonly CacheKey[] = [
  { user: 'a', key: 'bc' },
  { user: 'ab', key: 'c' },
  { user: 'a', key: 'c' },
  'abc',
  '\u0000u1:abc',
]
const LOAD_TIMEOUT = 30_000

type Command =
  | { do: 'get'; key: number; freshMs: number; staleMs: number; patienceMs: number; masksAll: boolean }
  | { do: 'end'; load: number; how: 'value' | 'trouble' | 'named wait' | 'answer' }
  | { do: 'invalidate' | 'set'; key: number }
  | { do: 'invalidateUser'; user: string }
  | { do: 'pass' | 'step'; ms: number }

const key = fc.nat({ max: KEYS.length - 1 })
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      key,
      freshMs: fc.constantFrom(0, 1_000, 10_000, 60_000),
      staleMs: fc.constantFrom(0, 5_000, 60_000, 600_000),
      patienceMs: fc.constantFrom(0, 1, 500, 4_000),
      masksAll: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      load: fc.nat({ max: 3 }),
      how: fc.constantFrom(
        'value' as const,
        'value' as const,
        'trouble' as const,
        'named wait' as const,
        'answer' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('invalidate' as const, 'set' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('invalidateUser' as const), user: fc.constantFrom('a', 'ab') }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 300, 500, 800, 1_000, 4_999, 5_000, 9_000, 31_000, 300_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('step' as const), ms: fc.constantFrom(-3_600_000, 3_600_000) }) },
)

/** What is promised, in one place. Moments are numbers that only grow; times are monotonic. */
class Model {
  moment = 0
  /** Every value ever made: whose, when, and by which load or set it came. */
  readonly values = new Map<string, { key: number; bornAt: number; askedAt: number }>()
  readonly held = new Map<number, string>()
  readonly lastForgotten = new Map<number, number>()
  readonly loading = new Map<number, Load>()
  readonly failed = new Map<number, { count: number; notBefore: number }>()

  /** Nothing that was asked for before this moment may be given to whoever asks after it. */
  forget(key: number) {
    this.lastForgotten.set(key, ++this.moment)
    this.held.delete(key)
    this.loading.delete(key)
    this.failed.delete(key)
  }

  ended(load: Load, now: number, outcome: { value: string } | { masked: boolean; waitMs?: number }) {
    if ('value' in outcome) this.values.set(outcome.value, { key: load.key, bornAt: now, askedAt: load.askedAt })
    if (this.loading.get(load.key) !== load) return
    this.loading.delete(load.key)
    if ('value' in outcome) {
      this.held.set(load.key, outcome.value)
      this.failed.delete(load.key)
    } else if (outcome.masked) {
      const count = (this.failed.get(load.key)?.count ?? 0) + 1
      const waitMs = outcome.waitMs ?? Math.min(5_000 * 2 ** (count - 1), 300_000)
      this.failed.set(load.key, { count, notBefore: now + waitMs })
    } else this.forget(load.key)
  }
}

interface Load {
  readonly key: number
  readonly askedAt: number
  readonly masksAll: boolean
  readonly resolve: (value: string) => void
  readonly reject: (error: Error) => void
}

async function run(commands: readonly Command[], seen: Record<string, number>) {
  const clock = createVirtualClock()
  const cache = new GracefulCache({
    freshMs: 10_000,
    staleMs: 60_000,
    patienceMs: 500,
    loadTimeoutMs: LOAD_TIMEOUT,
    maxEntries: 1_000,
    maxBytes: 1_000_000,
    clock,
    events: new Events(clock),
  })
  const model = new Model()
  const open: Load[] = []
  const broken: string[] = []
  const check = (holds: boolean, what: string) => {
    if (!holds) broken.push(`${what} (at ${clock.monotonic()} ms)`)
  }
  let made = 0
  let unsettled = 0

  const load = (key: number, masksAll: boolean) => (context: LoadContext<string>) => {
    const now = clock.monotonic()
    check(!model.loading.has(key), 'two loads of one key at a time')
    check(now >= (model.failed.get(key)?.notBefore ?? 0), 'a load within the backoff of its key')
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const load: Load = { key, masksAll, askedAt: ++model.moment, resolve, reject }
    model.loading.set(key, load)
    open.push(load)
    context.signal.addEventListener('abort', () => {
      check(clock.monotonic() === now + LOAD_TIMEOUT, 'a load is given up at another time than its deadline')
      model.ended(load, clock.monotonic(), { masked: true })
    })
    return promise
  }

  const get = async ({ key, freshMs, staleMs, patienceMs, masksAll }: Command & { do: 'get' }) => {
    const askedAt = ++model.moment
    const askedTime = clock.monotonic()
    const held = model.held.get(key)
    const heldAge = held === undefined ? Number.POSITIVE_INFINITY : askedTime - model.values.get(held)!.bornAt
    const wasLoading = model.loading.get(key)
    const loads = open.length
    const options = {
      load: load(key, masksAll),
      freshMs,
      staleMs,
      patienceMs,
      shouldMask: masksAll ? () => true : undefined,
    }
    unsettled++
    const answer = cache.get<string>(KEYS[key]!, definedOnly(options)).then(
      (cached) => {
        seen[cached.state] = (seen[cached.state] ?? 0) + 1
        const value = model.values.get(cached.value)
        check(value !== undefined && value.key === key, `a value of another key: ${cached.value} for ${key}`)
        if (!value) return
        const now = clock.monotonic()
        const age = now - value.bornAt
        check(cached.ageMs === age, `ageMs ${cached.ageMs} is not the age ${age}`)
        const forgotten = model.lastForgotten.get(key) ?? 0
        check(!(value.askedAt < forgotten && forgotten < askedAt), `${cached.value} came back after it was forgotten`)
        if (cached.state === 'fresh') check(age < freshMs && now === askedTime, `fresh at ${age} of ${freshMs}`)
        if (cached.state === 'stale') {
          check(age < staleMs, `stale at ${age} of ${staleMs}`)
          check(cached.value === held, 'a stale value that was not held when it was asked for')
          check(now - askedTime <= patienceMs, 'a caller waited longer than its patience')
          if (wasLoading) check(now === askedTime, 'a caller waited although a refresh was under way')
        }
        if (cached.state === 'loaded') check(value.bornAt >= askedTime, 'a load that had ended before')
        if (heldAge < freshMs)
          check(cached.value === held && cached.state === 'fresh', 'something else than the fresh value')
      },
      () => {
        seen.error = (seen.error ?? 0) + 1
        check(heldAge >= freshMs, 'an error where a fresh value was held')
      },
    )
    void answer.finally(() => unsettled--)
    await clock.advance(0)
    if (heldAge < freshMs * 0.8) check(open.length === loads, 'a load although the value is younger than 80 %')
  }

  for (const command of commands) {
    switch (command.do) {
      case 'get':
        await get(command)
        break
      case 'end': {
        const load = open.splice(command.load, 1)[0]
        if (!load) break
        const now = clock.monotonic()
        if (command.how === 'value') {
          const value = `value ${++made}`
          model.ended(load, now, { value })
          load.resolve(value)
        } else if (command.how === 'answer') {
          model.ended(load, now, { masked: load.masksAll })
          load.reject(Object.assign(new Error('no'), { status: 404 }))
        } else {
          const waitMs = command.how === 'named wait' ? 7_000 : undefined
          model.ended(load, now, waitMs === undefined ? { masked: true } : { masked: true, waitMs })
          load.reject(Object.assign(new Error('down'), { status: 503, retryAfterMs: waitMs }))
        }
        break
      }
      case 'invalidate':
        model.forget(command.key)
        await cache.invalidate(KEYS[command.key]!)
        break
      case 'invalidateUser':
        for (const [index, key] of KEYS.entries())
          if (typeof key !== 'string' && key.user === command.user) model.forget(index)
        await cache.invalidateUser(command.user)
        break
      case 'set': {
        const value = `value ${++made}`
        model.forget(command.key)
        model.values.set(value, { key: command.key, bornAt: clock.monotonic(), askedAt: ++model.moment })
        model.held.set(command.key, value)
        await cache.set(KEYS[command.key]!, value)
        break
      }
      case 'step':
        clock.step(command.ms)
        break
      case 'pass':
        await clock.advance(command.ms)
    }
    await clock.advance(0)
    for (const [index, key] of KEYS.entries()) {
      const peeked = cache.peek<string>(key)
      if (peeked) check(peeked.value === model.held.get(index), `${peeked.value} is held under key ${index}`)
    }
    expect(broken).toEqual([])
  }
  await clock.advance(LOAD_TIMEOUT)
  expect(broken).toEqual([])
  expect(unsettled).toBe(0)
  expect(clock.sleepers).toBe(0)
}

const definedOnly = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never

test('no history of asking, loading, failing, forgetting and waiting breaks a promise of the cache', async () => {
  const seen: Record<string, number> = {}
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 60, size: 'max' }), (commands) =>
      run(commands, seen),
    ),
    { numRuns: 300 },
  )
  // The histories reach every kind of answer.
  for (const kind of ['fresh', 'stale', 'loaded', 'error']) expect(seen[kind] ?? 0, kind).toBeGreaterThan(20)
})
