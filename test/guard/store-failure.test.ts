import { describe, expect, test } from 'vitest'
import { HoldfastError } from '../../src/errors/errors.ts'
import { Events } from '../../src/events/events.ts'
import { Listed } from '../../src/guard/caller-lists.ts'
import { Charging } from '../../src/guard/charging.ts'
import { ClientAddresses } from '../../src/guard/client-address.ts'
import type { Attempt, CounterStore, Taken } from '../../src/guard/counters.ts'
import type { GuardDecision, PassDecision } from '../../src/guard/decision.ts'
import { RequestGuard } from '../../src/guard/guard.ts'
import { GuardTelling } from '../../src/guard/guard-telling.ts'
import { Identification } from '../../src/guard/identification.ts'
import type { Limit } from '../../src/guard/limit.ts'
import { Lookup } from '../../src/guard/lookup.ts'
import { MemoryCounters } from '../../src/guard/memory-counters.ts'
import { NetworkLimits } from '../../src/guard/network-limits.ts'
import { PathList } from '../../src/guard/patterns.ts'
import { Routes } from '../../src/guard/routes.ts'
import { Rules } from '../../src/guard/rules.ts'
import { StoreCounting } from '../../src/guard/store-counting.ts'
import { readTrustedProxies } from '../../src/guard/trusted-proxies.ts'
import { KeyRing, Names } from '../../src/secrets/key-ring.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { ask } from './asking.ts'

/** A guard on a store that does what a test says. */
function onStore(limits: readonly Limit[], options: { instances?: number } = {}) {
  const clock = createVirtualClock()
  const shared = new MemoryCounters({ clock, maxCallers: 100 })
  const store = { state: 'up' as 'up' | 'away' | 'misused', undone: 0, attempts: 0 }
  const counterStore: CounterStore = {
    attempt(kind, id, quotas, mayRefuse): Attempt {
      store.attempts++
      const taken = async (): Promise<Taken> => {
        if (store.state === 'away') throw new HoldfastError('REDIS_UNAVAILABLE', 'away')
        if (store.state === 'misused') throw new HoldfastError('REDIS_MISUSE', 'wrong type')
        return shared.take(kind, id, quotas, { mayRefuse: () => mayRefuse })
      }
      return { taken: taken(), undo: () => void store.undone++ }
    },
    look: async (kind, id, limits) => shared.look(kind, id, limits),
    forget: async (kind, id) => shared.forget(kind, id),
  }
  const rules = new Rules({ '/costly': limits }, { windowMs: 900_000, anon: 100, auth: 300 })
  const events = new Events(clock)
  const counters = new MemoryCounters({ clock, maxCallers: 100 })
  const nowhere = new PathList([], 'publicPaths')
  const routes = new Routes(rules, { healthPaths: nowhere, publicPaths: nowhere, apiPrefixes: ['/api'] })
  const addresses = new ClientAddresses({ proxies: readTrustedProxies(false), believesFramework: false })
  const networks = new NetworkLimits(counters, { per56: 1, per48: 1 })
  const guard = new RequestGuard({
    clock,
    routes,
    counters,
    charging: new Charging({
      counters,
      shared: new StoreCounting(counterStore, counters, options.instances ?? 1),
      networks,
      addresses,
    }),
    shedding: undefined,
    addresses,
    identification: new Identification({
      clock,
      logger: undefined,
      identify: undefined,
      skip: undefined,
      key: undefined,
    }),
    identifiesKnown: false,
    allow: new Listed(undefined, 'allow'),
    deny: new Listed(undefined, 'deny'),
    dryRun: false,
    ceilings: [],
    telling: new GuardTelling({ clock, events, names: new Names(KeyRing.ephemeral().namingKey()), dryRun: false }),
    lookup: new Lookup({ clock, routes, counters, store: counterStore, networks: undefined, addresses }),
    refundOn: new Set([409]),
    headers: { rateLimit: true, xRateLimit: true },
    refusal: undefined,
    corsOrigins: new Set(),
    onRefusalFailed: () => {},
    onClose: () => {},
  })
  const check = () => guard.check(ask('POST', '/costly', { userId: 'u' }))
  const statuses = async (times: number) => {
    const found: number[] = []
    for (let time = 0; time < times; time++) {
      const decision: GuardDecision = await check()
      found.push(decision.action === 'pass' ? 200 : decision.status)
    }
    return found
  }
  return { store, guard, check, statuses, events }
}

const hourly = (limit: number, onStoreError: 'local' | 'open' | 'closed'): Limit => ({
  name: onStoreError,
  limit,
  windowMs: 3_600_000,
  onStoreError,
})

describe('while the store is away', () => {
  test('a local limit counts here, up to this process’s share', async () => {
    const { store, statuses } = onStore([hourly(10, 'local')], { instances: 4 })
    store.state = 'away'
    expect(await statuses(5)).toEqual([200, 200, 200, 429, 429])
    // What was refused must not count in the store either, if it heard of it.
    expect(store.undone).toBe(2)
  })

  test('all processes together admit at most the limit and a rounding each', async () => {
    let admitted = 0
    for (let process = 0; process < 4; process++) {
      const { store, statuses } = onStore([hourly(10, 'local')], { instances: 4 })
      store.state = 'away'
      admitted += (await statuses(20)).filter((status) => status === 200).length
    }
    expect(admitted).toBe(12)
  })

  test('an open limit lets everybody in', async () => {
    const { store, statuses } = onStore([hourly(1, 'open')])
    store.state = 'away'
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 200])
  })

  test('a closed limit answers 503, and the request counts nowhere', async () => {
    const { store, check, statuses } = onStore([hourly(1, 'closed'), hourly(5, 'local')])
    store.state = 'away'
    expect(await statuses(2)).toEqual([503, 503])
    expect(store.undone).toBe(2)
    const decision = (await check()) as Extract<GuardDecision, { action: 'refuse' }>
    expect(JSON.parse(decision.body)).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfterSeconds: 5, status: 503 })
    store.state = 'up'
    expect(await statuses(2)).toEqual([200, 429])
  })

  test.each(['away', 'misused'] as const)('… nor in the network of its address, also where it is %s', async (state) => {
    const { store, guard } = onStore([hourly(1, 'closed')])
    const from = () => guard.check(ask('POST', '/costly', { remoteAddress: '2001:db8::1' }))
    store.state = state
    for (let time = 0; time < 3; time++) await Promise.resolve(from()).catch(() => {})
    store.state = 'up'
    expect((await from()).action).toBe('pass')
  })

  test('of several limits each does as its rule says', async () => {
    const { store, check, statuses } = onStore([hourly(1, 'open'), hourly(2, 'local')])
    store.state = 'away'
    const decision = (await check()) as PassDecision
    expect(decision.limits.map(({ name }) => name)).toEqual(['local'])
    expect(await statuses(2)).toEqual([200, 429])
  })

  test('a request that is given back is given back here and there', async () => {
    const { store, check, statuses } = onStore([hourly(1, 'local')])
    store.state = 'away'
    const decision = (await check()) as PassDecision
    await decision.settle(409)
    await decision.settle(409)
    expect(store.undone).toBe(1)
    expect(await statuses(2)).toEqual([200, 429])
  })

  test('when it is back, it counts again', async () => {
    const { store, statuses } = onStore([hourly(2, 'local')])
    expect(await statuses(1)).toEqual([200])
    store.state = 'away'
    expect(await statuses(3)).toEqual([200, 200, 429])
    store.state = 'up'
    expect(await statuses(2)).toEqual([200, 429])
  })
})

test('a store that is misused is a bug: it is told, and nothing is let in or counted instead', async () => {
  for (const policy of ['local', 'open', 'closed'] as const) {
    const { store, check } = onStore([hourly(1, policy)])
    store.state = 'misused'
    await expect(check()).rejects.toMatchObject({ code: 'REDIS_MISUSE' })
  }
})
