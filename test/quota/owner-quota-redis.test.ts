import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  batch,
  createHoldfast,
  createOwnerQuota,
  type OwnerQuota,
  type OwnerQuotaOptions,
  type OwnerQuotaWindow,
  systemClock,
} from 'holdfast'
import { afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { RedisConnection } from '../../src/redis/connection.ts'
import { startProxy } from '../redis/proxy.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { promisesOfAQuota } from './contract.ts'
import { Upstream } from './upstream.ts'
import { promisesOfSeveralWindows } from './windows-contract.ts'

const SECRET = 'a-secret-of-at-least-thirty-two-bytes'
const WINDOW_MS = 600

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  vi.restoreAllMocks()
})
let namespaces = 0
const newNamespace = () => `quota-${process.pid}-${Date.now()}-${++namespaces}`

/** How often Redis was asked. */
const countScripts = () => vi.spyOn(RedisConnection.prototype, 'run')

function quotaOn(
  url: string,
  namespace: string,
  options: Partial<Omit<Extract<OwnerQuotaOptions, { limit: number }>, 'windows'>> & {
    windows?: readonly OwnerQuotaWindow[]
  } = {},
): OwnerQuota {
  const { windows, ...rest } = options
  const common = { name: 'calls', redis: { url, namespace }, marginMs: 0 }
  const quota = createOwnerQuota(
    windows
      ? { ...common, limits: rest.limits ?? {}, windows }
      : { ...common, limit: 10, windowMs: WINDOW_MS, ...rest },
  )
  cleanUps.push(() => quota.close())
  return quota
}

describe.skipIf(!inject('redisUrl'))('a quota in Redis', () => {
  const url = inject('redisUrl')!
  beforeAll(() => {
    vi.stubEnv('HOLDFAST_SECRET', SECRET)
    return () => vi.unstubAllEnvs()
  })

  promisesOfAQuota(async () => ({
    quota: quotaOn(url, newNamespace(), { limits: { vip: 20, stopped: 0 } }),
    windowMs: WINDOW_MS,
    // A timer may fire a moment early.
    pass: (ms) => sleep(ms + 5),
  }))

  promisesOfSeveralWindows(async () => {
    const windows = [
      { limit: 10, windowMs: WINDOW_MS },
      { limit: 25, windowMs: 4 * WINDOW_MS },
    ]
    return {
      quota: quotaOn(url, newNamespace(), { windows, limits: { vip: 20, stopped: 0 } }),
      windowMs: WINDOW_MS,
      pass: (ms) => sleep(ms + 5),
    }
  })

  test('what was leased and not used when a short window ended is given back to the long one', async () => {
    const namespace = newNamespace()
    const windows = [
      { limit: 500, windowMs: 300 },
      { limit: 1_000, windowMs: 60_000 },
    ]
    const [one, other] = [1, 2].map(() => quotaOn(url, namespace, { windows })) as [OwnerQuota, OwnerQuota]
    for (let n = 0; n < 20; n++) await one.take('a')
    await expect
      .poll(async () => (await other.state('a')).limit === 500 && (await other.state('a')).remaining)
      .toBe(500)
    await expect.poll(async () => await remainingOfLong(other), { timeout: 5_000 }).toBe(980)

    async function remainingOfLong(quota: OwnerQuota): Promise<number> {
      await quota.setLimit('a', 2_000)
      const { remaining, limit } = await quota.state('a')
      await quota.setLimit('a', undefined)
      return limit === 1_000 ? remaining : Number.NaN
    }
  })

  test('two quotas of one name whose windows differ are refused', async () => {
    await using holdfast = createHoldfast({ redis: { url, namespace: newNamespace() }, secret: SECRET })
    const first = createOwnerQuota({ name: 'calls', windows: [{ limit: 3, windowMs: 1_000 }], holdfast })
    expect(() =>
      createOwnerQuota({
        name: 'calls',
        windows: [
          { limit: 3, windowMs: 1_000 },
          { limit: 9, windowMs: 60_000 },
        ],
        holdfast,
      }),
    ).toThrow(expect.objectContaining({ name: 'ConfigError', option: 'name' }))
    await first.close()
  })

  test('leases in chunks, so that most takes ask nobody', async () => {
    const quota = quotaOn(url, newNamespace(), { limit: 10_000, windowMs: 60_000 })
    const asked = countScripts()
    for (let n = 0; n < 5_000; n++) expect((await quota.take('a')).ok).toBe(true)
    expect(asked.mock.calls.length).toBeLessThan(100)
    expect(await quota.state('a')).toMatchObject({ remaining: 5_000 })
  })

  test('several processes never give more than the limit together, and give all of it', async () => {
    const namespace = newNamespace()
    const quotas = Array.from({ length: 4 }, () => quotaOn(url, namespace, { limit: 100, windowMs: 60_000 }))
    const taken = await Promise.all(
      quotas.map(async (quota) => {
        let given = 0
        for (let n = 0; n < 60; n++) if ((await quota.take('a')).ok) given++
        return given
      }),
    )
    const early = taken.reduce((sum, given) => sum + given)
    expect(early).toBeLessThanOrEqual(100)
    // What one still holds and does not use comes back to the others.
    await sleep(700)
    let late = 0
    while ((await quotas[0]!.take('a')).ok) late++
    expect(early + late).toBe(100)
  })

  test('a limit that one process sets, and what it learns, reaches the others within a quarter of a second', async () => {
    const namespace = newNamespace()
    const [one, other] = [1, 2].map(() => quotaOn(url, namespace, { windowMs: 60_000 })) as [OwnerQuota, OwnerQuota]
    await other.take('a', 10)
    expect(await other.take('a')).toMatchObject({ ok: false })
    await one.setLimit('a', 12)
    await sleep(260)
    expect(await other.take('a', 2)).toMatchObject({ ok: true, remaining: 0 })
    await one.setLimit('a', undefined)
    expect(await other.state('a')).toMatchObject({ limit: 10, remaining: 0 })
    await one.learn('b', { retryAfterMs: 30_000 })
    expect(await other.take('b')).toMatchObject({ ok: false, remaining: 0 })
    await one.take('c')
    await one.learn('c', { limit: 5, remaining: 1, resetAfterMs: 20_000 })
    expect(await other.state('c')).toMatchObject({ limit: 5, remaining: 1 })
    const wait = await other.take('c', 2)
    expect(wait.ok ? 0 : wait.retryAfterMs).toBeLessThanOrEqual(20_010)
  })

  test('a reset in one process opens an owner in the others within a quarter of a second', async () => {
    const namespace = newNamespace()
    const [one, other] = [1, 2].map(() => quotaOn(url, namespace, { windowMs: 60_000 })) as [OwnerQuota, OwnerQuota]
    await other.take('a', 3)
    await other.learn('a', { limit: 4, retryAfterMs: 3_600_000 })
    expect(await other.take('a')).toMatchObject({ ok: false })
    await one.reset('a')
    await sleep(260)
    expect(await other.take('a', 10)).toMatchObject({ ok: true, remaining: 0 })
    // What was known from before it is not taken for a window that Redis lost.
    expect(await one.state('a')).toMatchObject({ limit: 10, remaining: 0 })
  })

  test('where no answer tells the end of a window, nothing is given while it may have ended upstream', async () => {
    const quota = quotaOn(url, newNamespace(), { limit: 100, windowMs: 1_000, marginMs: 100 })
    await quota.take('b')
    await quota.take('a', 3)
    await sleep(930)
    const refusal = await quota.take('a')
    expect(refusal).toMatchObject({ ok: false, remaining: 0 })
    await sleep(refusal.ok ? 0 : refusal.retryAfterMs + 5)
    expect(await quota.take('a', 100)).toMatchObject({ ok: true, remaining: 0 })
  })

  test('answers that say nothing new cost no round trip', async () => {
    const quota = quotaOn(url, newNamespace(), { limit: 1_000, windowMs: 60_000 })
    const endsAt = performance.now() + 60_000
    for (let n = 0; n < 50; n++) await quota.take('a')
    await quota.learn('a', { limit: 1_000, remaining: 999, resetAfterMs: endsAt - performance.now() })
    const asked = countScripts()
    for (let n = 0; n < 50; n++)
      await quota.learn('a', { limit: 1_000, remaining: 999 - n, resetAfterMs: endsAt - performance.now() })
    expect(asked).not.toHaveBeenCalled()
  })

  test('what a process that died had leased is lost for no longer than its window', async () => {
    // Longer than a busy machine holds up what is taken in it.
    const windowMs = 2_000
    const namespace = newNamespace()
    const dying = quotaOn(url, namespace, { limit: 100, windowMs })
    for (let n = 0; n < 30; n++) await dying.take('a')
    // It never says goodbye.
    const run = vi.spyOn(RedisConnection.prototype, 'run').mockRejectedValue(new Error('dead'))
    await dying.close().catch(() => {})
    run.mockRestore()
    const living = quotaOn(url, namespace, { limit: 100, windowMs })
    let given = 0
    while ((await living.take('a')).ok) given++
    expect(given).toBeLessThanOrEqual(70)
    await sleep(windowMs)
    expect(await living.take('a', 100)).toMatchObject({ ok: true })
  })

  test('a limit that was set survives a flush: the process that set it sets it again, and one that was taken back stays so', async () => {
    const { createClient } = await import('@keyv/redis')
    const server = await startRedisServer()
    cleanUps.push(() => server.stop())
    const namespace = newNamespace()
    const [one, two] = [quotaOn(server.url, namespace), quotaOn(server.url, namespace)]
    const client = createClient({ url: server.url })
    await client.connect()
    await one.setLimit('a', 25)
    await one.setLimit('b', 25)
    await one.setLimit('b', undefined)
    await client.flushAll()
    await one.take('a')
    await expect.poll(async () => (await two.state('a')).limit, { timeout: 5_000 }).toBe(25)
    await one.take('b')
    expect((await two.state('b')).limit).toBe(10)
    client.destroy()
  })

  test('leases grow with demand where Redis is 60 ms away, too', async () => {
    await using proxy = await startProxy(Number(new URL(url).port))
    const quota = quotaOn(url.replace(/:\d+/, `:${new URL(proxy.url).port}`), newNamespace(), {
      limit: 1_000,
      windowMs: 60_000,
    })
    await quota.take('a')
    proxy.set({ answers: 'delay', ms: 60 })
    const run = countScripts()
    for (let nth = 0; nth < 200; nth++) expect(await quota.take('a')).toMatchObject({ ok: true })
    // Doubling from one: a handful of leases, not two hundred.
    expect(run.mock.calls.length).toBeLessThan(20)
  })

  test('keys hold no owner, and nothing stays for ever but limits that were set', async () => {
    const { createClient } = await import('@keyv/redis')
    const client = createClient({ url })
    await client.connect()
    cleanUps.push(() => client.destroy())
    const namespace = newNamespace()
    const quota = quotaOn(url, namespace)
    await quota.take('80351110224678912')
    await quota.setLimit('80351110224678912', 5)
    const keys = (await client.keys(`holdfast:1:${namespace}:*pool*`)) as string[]
    expect(keys).toHaveLength(2)
    for (const key of keys) expect(key).not.toContain('80351110224678912')
    const [pool] = keys.filter((key) => key.endsWith(':pool'))
    expect(await client.pTTL(pool!)).toBeGreaterThan(0)
    expect(await client.pTTL(pool!)).toBeLessThanOrEqual(2 * WINDOW_MS)
  })

  test("shares an instance's connection, and does not close it", async () => {
    await using holdfast = createHoldfast({ redis: { url, namespace: newNamespace() }, secret: SECRET })
    const quota = createOwnerQuota({ name: 'calls', limit: 3, windowMs: 60_000, holdfast })
    expect(await quota.take('a')).toMatchObject({ ok: true, remaining: 2 })
    await quota.close()
    const next = createOwnerQuota({ name: 'calls', limit: 3, windowMs: 60_000, holdfast })
    expect(await next.state('a')).toMatchObject({ remaining: 2 })
    await next.close()
  })
})

describe('without a secret', () => {
  test('Redis is refused', () => {
    vi.stubEnv('HOLDFAST_SECRET', undefined)
    cleanUps.push(() => vi.unstubAllEnvs())
    expect(() => createOwnerQuota({ limit: 1, windowMs: 1, redis: 'redis://127.0.0.1:1' })).toThrow('secret')
  })
})

describe.skipIf(!inject('redisUrl'))('a batch that waits', () => {
  beforeAll(() => {
    vi.stubEnv('HOLDFAST_SECRET', SECRET)
    return () => vi.unstubAllEnvs()
  })

  test.each(['setLimit', 'reset'] as const)('goes on soon after another process called %s', async (change) => {
    const namespace = newNamespace()
    const [one, other] = [1, 2].map(() => quotaOn(inject('redisUrl')!, namespace, { windowMs: 60_000 })) as [
      OwnerQuota,
      OwnerQuota,
    ]
    await other.take('b')
    let sent = 0
    const running = batch(
      Array.from({ length: 12 }, (_, index) => index),
      { keys: [{ key: 'k', owner: 'a' }], quota: one, send: async () => void sent++ },
    )
    await expect.poll(() => sent, { timeout: 5_000, interval: 10 }).toBe(10)
    const wait = change === 'setLimit' ? other.setLimit('a', 20) : other.reset('a')
    await wait
    // Its window has most of a minute still to go.
    await expect.poll(() => sent, { timeout: 5_000, interval: 10 }).toBe(12)
    expect((await running).every(({ status }) => status === 'fulfilled')).toBe(true)
  })
})

describe.skipIf(!inject('redisServers'))('a quota whose Redis is in trouble', () => {
  const own = async (): Promise<RedisServer> => {
    vi.stubEnv('HOLDFAST_SECRET', SECRET)
    cleanUps.push(() => vi.unstubAllEnvs())
    const server = await startRedisServer()
    cleanUps.push(() => server.stop())
    return server
  }

  test('gives nothing beyond what is leased while it is away, says to wait, and goes on when it is back', async () => {
    const server = await own()
    const quota = quotaOn(server.url, 'main', { limit: 1_000, windowMs: 60_000 })
    for (let n = 0; n < 60; n++) await quota.take('a')
    await server.kill()
    let given = 0
    const began = performance.now()
    while ((await quota.take('a')).ok) given++
    expect(given).toBeLessThan(125)
    expect(performance.now() - began).toBeLessThan(1_000)
    expect(await quota.take('b')).toEqual({ ok: false, remaining: 0, retryAfterMs: 1_000 })
    await expect(quota.state('a')).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    await expect(quota.setLimit('a', 5)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    await quota.learn('b', { retryAfterMs: 60_000 })
    await server.start()
    await vi.waitFor(async () => expect((await quota.take('c')).ok).toBe(true), { timeout: 10_000, interval: 50 })
    // It lost the window that this process was in the middle of: that counts as spent. And what was learned is told now.
    expect(await quota.take('a')).toMatchObject({ ok: false, remaining: 0 })
    expect(await quota.take('b')).toMatchObject({ ok: false, remaining: 0 })
    const other = quotaOn(server.url, 'main', { limit: 1_000, windowMs: 60_000 })
    expect(await other.take('a')).toMatchObject({ ok: false })
  })

  test('keeps a batch that is begun while it is away waiting, and lets it go on once it is back', async () => {
    const server = await own()
    await server.kill()
    const quota = quotaOn(server.url, 'main', { limit: 10_000, windowMs: 60_000 })
    const keys = Array.from({ length: 2_000 }, (_, index) => ({ key: `k${index}`, owner: `o${index}` }))
    const running = batch([1, 2, 3], { keys, quota, send: async (n) => n })
    await sleep(500)
    await server.start()
    expect((await running).map((result) => result.status === 'fulfilled' && result.value)).toEqual([1, 2, 3])
  }, 20_000)

  test('started again from its snapshot, gives nothing of a window a second time', async () => {
    const { createClient } = await import('@keyv/redis')
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-quota-'))
    cleanUps.push(() => rmSync(folder, { recursive: true, force: true }))
    vi.stubEnv('HOLDFAST_SECRET', SECRET)
    cleanUps.push(() => vi.unstubAllEnvs())
    const server = await startRedisServer(['--dir', folder])
    cleanUps.push(() => server.stop())
    const [one, two] = [1, 2].map(() => quotaOn(server.url, 'main', { limit: 100, windowMs: 60_000 })) as [
      OwnerQuota,
      OwnerQuota,
    ]
    await one.take('a', 10)
    await two.take('a', 1)
    const client = createClient({ url: server.url })
    client.on('error', () => {})
    await client.connect()
    await client.sendCommand(['SAVE'])
    client.destroy()
    await one.take('a', 49)
    await two.take('a', 30)
    await server.kill()
    await server.start()
    await vi.waitFor(async () => expect((await one.take('b')).ok).toBe(true), { timeout: 10_000, interval: 50 })
    await vi.waitFor(async () => expect((await two.take('b')).ok).toBe(true), { timeout: 10_000, interval: 50 })
    let given = 90
    await two.state('a')
    for (const quota of [one, two, one]) while ((await quota.take('a')).ok) given++
    expect(given).toBe(100)
  }, 20_000)

  test('frozen, it holds a take up once, for readTimeoutMs', async () => {
    const server = await own()
    const quota = createOwnerQuota({
      name: 'calls',
      limit: 10,
      windowMs: 60_000,
      redis: { url: server.url, readTimeoutMs: 100 },
    })
    cleanUps.push(() => quota.close())
    await quota.take('a')
    server.freeze()
    const began = performance.now()
    expect(await quota.take('b')).toMatchObject({ ok: false })
    expect(performance.now() - began).toBeLessThan(400)
    const second = performance.now()
    expect(await quota.take('c')).toMatchObject({ ok: false })
    expect(performance.now() - second).toBeLessThan(50)
    server.thaw()
  })
})

describe.skipIf(!inject('redisUrl'))('four processes on one owner', () => {
  test('for ten windows: never more than the limit in any window as the server counts, and at least 97 % of it', async () => {
    const LIMIT = 100
    const SERVER_WINDOW_MS = 1_000
    const WINDOWS = 10
    const windows: Array<{ endsAt: number; used: number }> = []
    const server = createServer((_request, response) => {
      const now = performance.now()
      let window = windows.at(-1)
      if (!window || now >= window.endsAt) {
        window = { endsAt: now + SERVER_WINDOW_MS, used: 0 }
        windows.push(window)
      }
      window.used++
      response.end(JSON.stringify({ remaining: LIMIT - window.used, resetAfterMs: window.endsAt - now }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanUps.push(() => {
      server.closeAllConnections()
      server.close()
    })
    const namespace = newNamespace()
    const workers = Array.from({ length: 4 }, () =>
      fork(
        new URL('./taking-worker.ts', import.meta.url),
        [
          JSON.stringify({
            redis: { url: inject('redisUrl'), namespace },
            limit: LIMIT,
            windowMs: SERVER_WINDOW_MS,
            api: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          }),
        ],
        { env: { ...process.env, HOLDFAST_SECRET: SECRET } },
      ),
    )
    cleanUps.push(() => workers.map((worker) => worker.kill('SIGKILL')))
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    const began = performance.now()
    for (const worker of workers) worker.send('go')
    while (windows.length <= WINDOWS && performance.now() - began < 30_000) await sleep(20)
    const tookMs = performance.now() - began
    const full = windows.slice(0, WINDOWS)
    expect(full).toHaveLength(WINDOWS)
    expect(Math.max(...full.map((window) => window.used))).toBeLessThanOrEqual(LIMIT)
    const made = full.reduce((sum, window) => sum + window.used, 0)
    expect(made / (LIMIT * WINDOWS)).toBeGreaterThanOrEqual(0.97)
    // Over time too: the windows follow each other. How close, on a machine that has nothing else to do: bench/quota-fleet.
    expect(made / ((LIMIT * tookMs) / SERVER_WINDOW_MS)).toBeGreaterThanOrEqual(0.7)
  }, 60_000)
})

describe.skipIf(!inject('redisUrl'))('batches of two processes on one owner', () => {
  test('spend its windows together, without one 429, and all are done', async () => {
    vi.stubEnv('HOLDFAST_SECRET', SECRET)
    cleanUps.push(() => vi.unstubAllEnvs())
    const namespace = newNamespace()
    const upstream = new Upstream({
      clock: systemClock,
      owners: { 'k-1': 'a', 'k-2': 'a' },
      pools: { a: { limit: 20, windowMs: 1_000 } },
      latency: () => 3,
    })
    const runs = ['k-1', 'k-2'].map((key) =>
      batch(
        Array.from({ length: 40 }, (_, index) => index),
        {
          keys: [{ key, owner: 'a' }],
          quota: quotaOn(inject('redisUrl')!, namespace, { limit: 20, windowMs: 1_000, marginMs: 50 }),
          send: async (n, sentKey, { learn }) => {
            learn(await upstream.call(sentKey))
            return n
          },
        },
      ),
    )
    const began = performance.now()
    for (const results of await Promise.all(runs))
      expect(results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason))).toEqual(
        Array.from({ length: 40 }, (_, index) => index),
      )
    expect(upstream.refusals).toBe(0)
    // Four windows of 20: the last begins after three of them.
    expect(performance.now() - began).toBeLessThan(4_500)
  })
})
