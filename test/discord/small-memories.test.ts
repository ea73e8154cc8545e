import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BucketMap } from '../../src/discord/bucket-map.ts'
import { toCall } from '../../src/discord/call-options.ts'
import { Egress } from '../../src/discord/egress.ts'
import { GLOBAL_PER_SECOND, GlobalLimit } from '../../src/discord/global-limit.ts'
import { Latency } from '../../src/discord/latency.ts'
import { ResourceHolds } from '../../src/discord/resource-holds.ts'
import { routeOf } from '../../src/discord/route.ts'
import { TokenMemory } from '../../src/discord/token-memory.ts'
import { userAgent, VERSION } from '../../src/discord/user-agent.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { until } from './scripted-discord.ts'

describe('TokenMemory', () => {
  test('a token is unknown, then valid or dead; dying ends its validity, for good', () => {
    const tokens = new TokenMemory(createVirtualClock())
    expect([tokens.isDead('a'), tokens.isValid('a')]).toEqual([false, false])
    tokens.proved('a')
    expect([tokens.isDead('a'), tokens.isValid('a')]).toEqual([false, true])
    tokens.died('a')
    expect([tokens.isDead('a'), tokens.isValid('a'), tokens.isDead('b')]).toEqual([true, false, false])
  })

  test('whose limits a token spends is known before it was seen valid, after, and after its death', () => {
    const tokens = new TokenMemory(createVirtualClock())
    expect(tokens.principalOf('a')).toBeUndefined()
    expect([tokens.belongsTo('a', 'user'), tokens.belongsTo('a', 'user')]).toEqual([true, false])
    expect([tokens.principalOf('a'), tokens.isValid('a')]).toEqual(['user', false])
    tokens.proved('a')
    expect([tokens.principalOf('a'), tokens.isValid('a')]).toEqual(['user', true])
    tokens.died('a')
    expect([tokens.principalOf('a'), tokens.isValid('a')]).toEqual(['user', false])
    tokens.proved('b')
    expect([tokens.principalOf('b'), tokens.isValid('b')]).toEqual([undefined, true])
    expect([tokens.belongsTo('b', 'other'), tokens.principalOf('b'), tokens.isValid('b')]).toEqual([
      true,
      'other',
      true,
    ])
  })

  test('that any is dead is known without naming one', () => {
    const tokens = new TokenMemory(createVirtualClock())
    tokens.proved('a')
    expect(tokens.anyDead).toBe(false)
    tokens.died('a')
    expect(tokens.anyDead).toBe(true)
    tokens.revive('a')
    expect(tokens.anyDead).toBe(false)
  })

  test('at most 100 000 of each kind are kept, by last use', () => {
    const tokens = new TokenMemory(createVirtualClock())
    for (let index = 0; index < 100_001; index++) {
      tokens.died(`dead${index}`)
      tokens.proved(`valid${index}`)
      tokens.isDead('dead0')
    }
    expect(tokens.size).toBe(200_000)
    expect([tokens.isDead('dead0'), tokens.isDead('dead1'), tokens.isValid('valid0')]).toEqual([true, false, false])
  })
})

describe('ResourceHolds', () => {
  test('hold one route of one resource, until their time', async () => {
    const clock = createVirtualClock()
    const holds = new ResourceHolds(clock)
    const [one, two] = ['123456789012345678', '223456789012345678'].map((id) => routeOf('GET', `/guilds/${id}`, 0))
    expect(holds.heldForMs(one!)).toBe(0)
    holds.hold(one!, 1000)
    expect([holds.heldForMs(one!), holds.heldForMs(two!)]).toEqual([1000, 0])
    expect(holds.heldForMs(routeOf('GET', '/guilds/123456789012345678/members', 0))).toBe(0)
    clock.step(-5000)
    await clock.advance(999)
    expect(holds.heldForMs(one!)).toBe(1)
    await clock.advance(1)
    expect(holds.heldForMs(one!)).toBe(0)
  })
})

describe('Latency', () => {
  /** A round trip that begins at a time, beside so many others. */
  const seen = (latency: Latency, at: number, ms: number, together = 1) => {
    for (let count = 0; count < together; count++) latency.sent(at)
    for (let count = 0; count < together; count++) {
      latency.observe(at, at + ms)
      latency.ended(at + ms)
    }
  }

  test('credits nothing for one burst, however many answers it brings, then nearly the shortest round trip, never all of it', () => {
    const latency = new Latency()
    seen(latency, 0, 100, 50)
    expect(latency.creditMs).toBe(0)
    seen(latency, 1000, 100, 50)
    expect(latency.creditMs).toBe(0)
    seen(latency, 2000, 200, 50)
    expect(latency.creditMs).toBeGreaterThan(80)
    expect(latency.creditMs).toBeLessThan(100)
  })

  test('believes a round trip that had the process to itself sooner: two of them are enough', () => {
    const latency = new Latency()
    seen(latency, 0, 100)
    expect(latency.creditMs).toBe(0)
    seen(latency, 100, 100, 4)
    expect(latency.creditMs).toBeGreaterThan(80)
  })

  test('is never negative, and takes no notice of times that cannot be', () => {
    const latency = new Latency()
    for (let at = 0; at < 9000; at += 1000) seen(latency, at, 0)
    expect(latency.creditMs).toBe(0)
    const other = new Latency()
    for (let at = 0; at < 9000; at += 1000) seen(other, at, 100)
    const before = other.creditMs
    other.observe(100, 50)
    other.observe(Number.NaN, 50)
    expect(other.creditMs).toBe(before)
  })

  test('believes a shortest round trip for two half minutes at most, so that a path that became slower is noticed', () => {
    const latency = new Latency()
    for (let at = 0; at < 5000; at += 1000) seen(latency, at, 10)
    for (let at = 5000; at <= 95_000; at += 1000) seen(latency, at, 200)
    expect(latency.creditMs).toBeGreaterThan(150)
  })

  test('distrusted, it credits nothing until enough was seen anew', () => {
    const latency = new Latency()
    for (let at = 0; at < 5000; at += 1000) seen(latency, at, 100)
    latency.distrust()
    seen(latency, 6000, 100)
    expect(latency.creditMs).toBe(0)
    seen(latency, 7000, 100)
    expect(latency.creditMs).toBeGreaterThan(0)
  })
})

describe('GlobalLimit', () => {
  test('has 50 places, each free again a second after its answer, or at once where nothing was sent', () => {
    const limit = new GlobalLimit()
    for (let count = 0; count < GLOBAL_PER_SECOND; count++) {
      expect(limit.nextAt(0)).toBe(0)
      limit.take()
    }
    expect(limit.nextAt(0)).toBe(Number.POSITIVE_INFINITY)
    limit.giveBack()
    expect(limit.nextAt(0)).toBe(0)
    limit.take()
    limit.answered(300)
    limit.answered(100)
    expect(limit.nextAt(400)).toBe(1100)
    expect(limit.nextAt(1100)).toBe(1100)
    limit.take()
    expect(limit.nextAt(1100)).toBe(1300)
  })

  test('held, nothing goes before the end of the longest hold', () => {
    const limit = new GlobalLimit()
    limit.hold(500)
    limit.hold(200)
    expect([limit.nextAt(0), limit.nextAt(499), limit.nextAt(500)]).toEqual([500, 500, 500])
  })
})

describe('Egress', () => {
  test('a caller that waits for the probe hears of its end, or leaves with its reason', async () => {
    const clock = createVirtualClock()
    const states: string[] = []
    const egress = new Egress(clock, (state) => states.push(state))
    expect([egress.state, egress.closedForMs('/a'), egress.pass('/a')]).toEqual(['closed', 0, 'pass'])
    expect(egress.blocked('/a', 5000)).toBe(5000)
    expect([egress.closedForMs('/a'), egress.pass('/a')]).toEqual([5000, 'wait'])
    await clock.advance(5000)
    expect([egress.pass('/a'), egress.pass('/a')]).toEqual(['probe', 'wait'])
    const controller = new AbortController()
    const left = egress.nextChange(until(controller.signal))
    const stayed = egress.nextChange(() => () => {})
    controller.abort('gone')
    await expect(left).rejects.toBe('gone')
    egress.free(clock.monotonic(), '/a')
    await stayed
    expect([egress.state, egress.pass('/a')]).toEqual(['closed', 'pass'])
    expect(states).toEqual(['open', 'half-open', 'closed'])
  })

  test('an end of the ban begins the doubling anew', async () => {
    const clock = createVirtualClock()
    const egress = new Egress(clock, () => {})
    expect(egress.blocked('/a', undefined)).toBe(60_000)
    await clock.advance(60_000)
    egress.pass('/a')
    expect(egress.blocked('/a', undefined)).toBe(120_000)
    await clock.advance(120_000)
    egress.pass('/a')
    egress.free(clock.monotonic(), '/a')
    expect(egress.blocked('/a', undefined)).toBe(60_000)
  })

  test('what was sent before a ban says nothing about it', async () => {
    const clock = createVirtualClock()
    const egress = new Egress(clock, () => {})
    const sentAt = clock.monotonic()
    await clock.advance(10)
    egress.blocked('/a', 5000)
    expect(egress.free(sentAt, '/a')).toBe(false)
    expect(egress.closedForMs('/a')).toBe(5000)
    await clock.advance(10)
    expect(egress.free(clock.monotonic(), '/a')).toBe(true)
    expect(egress.state).toBe('closed')
  })
})

describe('BucketMap', () => {
  test('a principal with calls under way is one object; at rest it is remembered', () => {
    const buckets = new BucketMap(createVirtualClock())
    expect(buckets.find('a')).toBeUndefined()
    const first = buckets.enter('a')
    expect(buckets.enter('a')).toBe(first)
    expect(buckets.enter('b')).not.toBe(first)
    buckets.leave('a')
    buckets.leave('a')
    expect(buckets.find('a')).toBe(first)
    expect(buckets.enter('a')).toBe(first)
    expect(buckets.size).toBe(2)
  })

  test('at most 20 000 at rest are kept; one with calls under way always is', () => {
    const buckets = new BucketMap(createVirtualClock())
    const busy = buckets.enter('busy')
    for (let index = 0; index < 25_000; index++) {
      buckets.enter(`user${index}`)
      buckets.leave(`user${index}`)
    }
    expect(buckets.size).toBe(20_001)
    expect(buckets.enter('busy')).toBe(busy)
    expect(buckets.find('user0')).toBeUndefined()
    expect(buckets.find('user24999')).toBeDefined()
  })
})

describe('BucketMap, of many users', () => {
  const call = { route: routeOf('GET', '/users/@me/guilds', 0) }
  const comeBy = (buckets: BucketMap, count: number) => {
    for (let index = 0; index < count; index++) {
      buckets.enter(`user${index}`)
      buckets.leave(`user${index}`)
    }
  }

  test('lets those go that hold nobody back, two seconds after a call, the ones used longest ago first', async () => {
    const clock = createVirtualClock()
    const buckets = new BucketMap(clock)
    comeBy(buckets, 300)
    await clock.advance(1_999)
    expect(buckets.size).toBe(300)
    await clock.advance(1)
    expect(buckets.size).toBe(100)
    expect([buckets.find('user199'), buckets.find('user200') !== undefined]).toEqual([undefined, true])
    comeBy(buckets, 300)
    await clock.advance(2_000)
    expect(buckets.size).toBe(100)
  })

  test('keeps those that are held by a 429, wait for an answer, or spent a place within the last second', async () => {
    const clock = createVirtualClock()
    const buckets = new BucketMap(clock)
    buckets.enter('bucket').holdBucket(call, 10_000)
    buckets.enter('route').holdRoute(call, 10_000)
    buckets.enter('all').holdAll(10_000)
    for (const id of ['bucket', 'route', 'all']) buckets.leave(id)
    buckets.enter('busy')
    const made = toCall('/users/@me/guilds', 'token', {}, { now: 0, principalOf: () => 'sent' })
    if (made instanceof Promise) throw new Error('a GET needs no reading')
    const sent = buckets.enter('sent')
    const permit = sent.tryTake(made)!
    buckets.leave('sent')
    comeBy(buckets, 300)
    await clock.advance(2_000)
    const kept = () => ['bucket', 'route', 'all', 'busy', 'sent'].filter((id) => buckets.find(id))
    expect([buckets.size, kept()]).toEqual([100, ['bucket', 'route', 'all', 'busy', 'sent']])
    sent.answered(permit, { limit: 5, remaining: 4, resetAfterMs: 3_000 }, undefined, clock.monotonic())
    comeBy(buckets, 300)
    await clock.advance(2_000)
    expect(kept()).toEqual(['bucket', 'route', 'all', 'busy', 'sent'])
    await clock.advance(8_000)
    comeBy(buckets, 300)
    await clock.advance(2_000)
    expect([buckets.size, kept()]).toEqual([100, ['busy']])
  })

  test('ends looking when it is closed', async () => {
    const clock = createVirtualClock()
    const buckets = new BucketMap(clock)
    comeBy(buckets, 300)
    buckets.close()
    await clock.advance(10_000)
    expect(buckets.size).toBe(300)
  })
})

describe('userAgent', () => {
  test('is what Discord requires, names the app where it is known, and the package’s own version', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(VERSION).toBe(version)
    expect(userAgent('https://dash.example')).toMatch(
      new RegExp(`^DiscordBot \\(https://dash\\.example, ${version}\\)`),
    )
    expect(userAgent(undefined)).toMatch(/^DiscordBot \(https:\/\/\S+, \S+\)/)
  })
})
