import { batch, createOwnerQuota, type OwnerQuota } from 'holdfast'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { OwnerPools } from '../../src/redis/owner-pools.ts'
import { systemClock } from '../../src/time/clock.ts'
import { ownServer } from './own-server.ts'
import { startProxy } from './proxy.ts'
import { beside, freshNamespace, openRoom, REDIS_URL, SECRET, SERVERS, until } from './room.ts'

const A_MINUTE = 60_000
const cleanUps: Array<() => unknown> = []
beforeEach(() => {
  vi.stubEnv('HOLDFAST_SECRET', SECRET)
})
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  vi.unstubAllEnvs()
})

function quotaOn(url: string, namespace = 'main', limit = 100): OwnerQuota {
  const quota = createOwnerQuota({
    name: 'calls',
    limit,
    windowMs: A_MINUTE,
    redis: { url, namespace, readTimeoutMs: 1_000 },
  })
  cleanUps.push(() => quota.close())
  return quota
}

async function takeAll(quota: OwnerQuota, owner: string): Promise<number> {
  let given = 0
  while ((await quota.take(owner)).ok) given++
  return given
}

/** Waits until a quota reaches its Redis (again). */
const reach = (quota: OwnerQuota) =>
  until(
    () =>
      quota.state('somebody else').then(
        () => true,
        () => false,
      ),
    15_000,
    'the quota to reach Redis',
  )

describe.skipIf(!SERVERS)('a Redis that has forgotten', () => {
  test('by a fail-over to a replica that lagged: nothing is given a second time by who spent it', async () => {
    await using primary = await ownServer()
    await using replica = await ownServer(['--replicaof', '127.0.0.1', String(primary.port)])
    await using proxy = await startProxy(primary.port)
    const [one, two] = [quotaOn(proxy.url), quotaOn(proxy.url)]
    await reach(one)
    await reach(two)
    await one.take('a', 10)
    await two.take('a', 1)
    using inReplica = await beside(replica.url)
    await until(async () => (await inReplica.keys('*:pool')).length > 1, 15_000, 'the replica to follow')
    await inReplica.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await one.take('a', 49)
    await two.take('a', 30)
    await primary.kill()
    proxy.leadTo(replica.port)
    proxy.reset()
    await reach(one)
    await reach(two)
    // Both tell what they saw before either takes more.
    await one.state('a')
    await two.state('a')
    expect(90 + (await takeAll(one, 'a')) + (await takeAll(two, 'a'))).toBeLessThanOrEqual(100)
  }, 60_000)

  test('by a flush in the middle of a window: the rest of the window is spent, and reset opens it', async () => {
    await using server = await ownServer()
    const [one, other] = [quotaOn(server.url), quotaOn(server.url)]
    await reach(one)
    await reach(other)
    await one.take('a', 30)
    using client = await beside(server.url)
    await client.flushAll()
    await one.state('a')
    expect(await one.take('a')).toMatchObject({ ok: false, remaining: 0 })
    expect(await other.take('a')).toMatchObject({ ok: false, remaining: 0 })
    await one.reset('a')
    expect(await one.take('a', 100)).toMatchObject({ ok: true, remaining: 0 })
  }, 60_000)

  test('by a flush, in each of several windows', async () => {
    await using server = await ownServer()
    const quota = createOwnerQuota({
      name: 'calls',
      windows: [
        { limit: 10, windowMs: 1_000 },
        { limit: 100, windowMs: A_MINUTE },
      ],
      redis: { url: server.url, readTimeoutMs: 1_000 },
    })
    cleanUps.push(() => quota.close())
    await reach(quota)
    await quota.take('a', 5)
    using client = await beside(server.url)
    await client.flushAll()
    const wait = await vi.waitFor(async () => {
      const taken = await quota.take('a')
      expect(taken.ok).toBe(false)
      return taken.ok ? 0 : taken.retryAfterMs
    })
    expect(wait).toBeGreaterThan(2_000)
    expect(await quota.state('a')).toMatchObject({ limit: 100, remaining: 0 })
  }, 60_000)

  test('what an answer said while it was away binds the other processes once it is back', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    const [one, other] = [quotaOn(proxy.url), quotaOn(server.url)]
    await reach(one)
    await reach(other)
    await one.take('a')
    proxy.set({ answers: 'swallow' })
    proxy.reset()
    await until(async () => !(await one.take('somebody else', 50)).ok, 15_000, 'one to notice')
    await one.learn('a', { remaining: 3, resetAfterMs: 50_000 })
    proxy.set({ answers: 'pass' })
    proxy.reset()
    await reach(one)
    await one.take('a')
    expect((await other.state('a')).remaining).toBeLessThanOrEqual(3)
  }, 60_000)
})

describe.skipIf(!SERVERS)('a Redis that is slow', () => {
  test('holds takes up, and gives not one more than the limit to two processes at once', async () => {
    await using server = await ownServer()
    await using proxy = await startProxy(server.port)
    const [one, two] = [quotaOn(proxy.url), quotaOn(proxy.url)]
    await reach(one)
    await reach(two)
    proxy.set({ answers: 'delay', ms: 120 })
    const both = await Promise.all([takeAll(one, 'a'), takeAll(two, 'a')])
    expect(both[0] + both[1]).toBeLessThanOrEqual(100)
    proxy.set({ answers: 'pass' })
    // What the one still held when it was refused is back soon.
    let given = both[0] + both[1]
    const giveMore = async () => {
      given += await takeAll(one, 'a')
      return given >= 100
    }
    await until(giveMore, 10_000, 'all of the limit to be given')
    expect(given).toBe(100)
  }, 60_000)
})

describe.skipIf(!REDIS_URL)('the scripts', () => {
  test('believe nothing that cannot be, whoever tells it, and write nothing of it', async () => {
    using room = openRoom()
    await room.up()
    const windows = [
      { limit: 10, windowMs: 1_000, marginMs: 0 },
      { limit: 50, windowMs: 10_000, marginMs: 0 },
    ] as const
    const common = { windows, limits: new Map(), name: 'calls', maxOwners: 10, clock: systemClock }
    const poolsHere = () => new OwnerPools({ ...common, connection: room.connection, names: () => room.naming.names })
    // What one tells, another one reads.
    const [pools, reader] = [poolsHere(), poolsHere()]
    await pools.learn('a', { limit: 1e19, remaining: -5, resetAfterMs: 1e300, retryAfterMs: 1e300 }, 0)
    const [first] = await reader.states('a')
    expect(first!.limit).toBe(1_000_000_000)
    expect(first!.resetAfterMs).toBeLessThanOrEqual(3_600_000)
    await pools.reset('a')
    await pools.learn('a', { remaining: 2, resetAfterMs: 1e300 }, 1)
    const [, second] = await reader.states('a')
    expect(second!.remaining).toBe(2)
    expect(second!.resetAfterMs).toBeLessThanOrEqual(40_000)
    await pools.learn('b', { remaining: Number.NaN, resetAfterMs: Number.NaN, doubtMs: Number.NaN }, 0)
    await pools.learn('b', { remaining: 1, windowMs: 5 }, undefined)
    expect((await reader.states('b')).map(({ remaining }) => remaining)).toEqual([10, 50])
    using client = await beside()
    for (const key of await client.keys(`*${room.namespace}*:pool`)) {
      const left = await client.pTTL(key)
      expect(left, key).toBeGreaterThan(0)
      expect(left, key).toBeLessThanOrEqual(2 * 3_600_000)
    }
    await Promise.all([pools.close(), reader.close()])
  })

  test('take an end told in whole seconds, or late, as it is taken in memory', async () => {
    const quota = quotaOn(REDIS_URL!, freshNamespace(), 10)
    const memory = createOwnerQuota({ limit: 10, windowMs: A_MINUTE })
    for (const subject of [quota, memory]) {
      await reach(subject)
      await subject.take('a', 2)
      await subject.learn('a', { remaining: 8, resetAfterMs: 900.5 })
      expect(await subject.state('a')).toMatchObject({ remaining: 8 })
      await subject.take('b', 2)
      // Less than a second sooner than the minute that began with our call.
      await subject.learn('b', { remaining: 8, resetAfterMs: 59_000 })
      const { resetAt } = await subject.state('b')
      expect(resetAt.getTime() - Date.now()).toBeGreaterThan(59_500)
      await subject.take('c', 2)
      // A second before its end nobody knows whose window it is.
      await subject.learn('c', { remaining: 8, resetAfterMs: 1_000 })
      expect(await subject.state('c')).toMatchObject({ limit: 10, remaining: 0 })
    }
    await memory.close()
  })
})

describe.skipIf(!REDIS_URL)('run', () => {
  test('waits its turn, learns, goes again after a 429 and ends at its deadline, in Redis as in memory', async () => {
    const namespace = freshNamespace()
    const quota = createOwnerQuota({
      name: 'calls',
      limit: 4,
      windowMs: 700,
      marginMs: 0,
      redis: { url: REDIS_URL!, namespace, readTimeoutMs: 1_000 },
    })
    cleanUps.push(() => quota.close())
    await reach(quota)
    let tries = 0
    const order: number[] = []
    const runs = Array.from({ length: 9 }, (_, n) =>
      quota.run('a', async ({ learn }) => {
        if (++tries === 1) throw Object.assign(new Error('429'), { retryAfterMs: 50 })
        learn({})
        order.push(n)
        return n
      }),
    )
    expect(await Promise.all(runs)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(tries).toBe(10)
    await quota.setLimit('b', 0)
    await expect(quota.run('b', async () => 1)).rejects.toMatchObject({ code: 'QUOTA_NEVER' })
    await quota.learn('c', { retryAfterMs: 60_000 })
    await expect(quota.run('c', async () => 1, { deadlineMs: 100 })).rejects.toMatchObject({ code: 'QUOTA_DEADLINE' })
  }, 30_000)
})

describe.skipIf(!REDIS_URL)('a batch over more owners than are asked about at a time', () => {
  test('goes on with each of them once another process raised its limit, asking about 64 at a time', async () => {
    const namespace = freshNamespace()
    const [one, other] = [quotaOn(REDIS_URL!, namespace, 1), quotaOn(REDIS_URL!, namespace, 1)]
    await reach(one)
    await reach(other)
    const owners = Array.from({ length: 150 }, (_, n) => `owner ${n}`)
    let sent = 0
    const running = batch(
      owners.flatMap((owner) => [owner, owner]),
      {
        keys: owners.map((owner) => ({ key: `key of ${owner}`, owner })),
        quota: one,
        send: async () => void sent++,
      },
    )
    await until(() => sent === owners.length, 15_000, 'each owner to have spent its call')
    const asked = vi.spyOn(one, 'state')
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, asked.mock.calls.length)
      asked.mockClear()
    }, 100)
    cleanUps.push(() => clearInterval(timer))
    for (const owner of owners) await other.setLimit(owner, 2)
    // Their windows have most of a minute to go.
    await until(() => sent === 2 * owners.length, 20_000, 'all of them to go on')
    expect((await running).every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(64)
  }, 60_000)
})
