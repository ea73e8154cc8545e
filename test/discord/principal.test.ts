import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BucketMap } from '../../src/discord/bucket-map.ts'
import type { BucketReport, Call, Priority } from '../../src/discord/call.ts'
import { Latency } from '../../src/discord/latency.ts'
import type { Permit } from '../../src/discord/permit.ts'
import { Principal } from '../../src/discord/principal.ts'
import { routeOf } from '../../src/discord/route.ts'
import type { OnGivingUp } from '../../src/discord/waiters.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import type { Milliseconds } from '../../src/time/clock.ts'
import { until } from './scripted-discord.ts'

const never: OnGivingUp = () => () => {}

const callOf = (path: string, priority: Priority = 'page'): Call => ({
  method: 'GET',
  path,
  route: routeOf('GET', path, 0),
  token: 't',
  tokenType: 'Bearer',
  tokenId: 't',
  principal: 'p',
  priority,
  headers: undefined,
  body: undefined,
})
const GUILDS = callOf('/users/@me/guilds')

function principal() {
  const clock = createVirtualClock()
  const hashes = new Map<string, string>()
  const shared = { clock, hashes, latency: new Latency() }
  return { clock, hashes, shared, subject: new Principal(shared) }
}

const report = (limit: number, remaining: number, resetAfterMs: number): BucketReport => ({
  limit,
  remaining,
  resetAfterMs,
})

/** How the request of a permit ended. */
function ended(
  permit: Permit | undefined,
  ending: 'answered' | 'failed' | 'giveBack',
  report?: BucketReport,
  hash?: string,
  receivedAt: Milliseconds = 0,
) {
  if (ending === 'answered') permit!.principal.answered(permit!, report, hash, receivedAt)
  else permit!.principal[ending](permit!)
}

/** Waits for a place; tells when it came. */
function queued(subject: Principal, call: Call, signal?: AbortSignal) {
  const state: { permit?: Permit; error?: unknown } = {}
  subject.take(call, signal ? until(signal) : never).then(
    (permit) => Object.assign(state, { permit }),
    (error) => Object.assign(state, { error }),
  )
  return state
}

describe('permits', () => {
  test('of an unknown bucket: one goes first, and the others wait for what it teaches', async () => {
    const { subject, clock } = principal()
    const first = subject.tryTake(GUILDS)!
    expect(subject.tryTake(GUILDS)).toBeUndefined()
    const waiting = [1, 2, 3, 4].map(() => queued(subject, GUILDS))
    await clock.advance(60_000)
    expect(waiting.some(({ permit }) => permit)).toBe(false)
    ended(first, 'answered', report(4, 3, 1000), 'hash', clock.monotonic())
    await clock.advance(0)
    expect(waiting.map(({ permit }) => permit !== undefined)).toEqual([true, true, true, false])
    await clock.advance(1001)
    expect(waiting[3]!.permit).toBeDefined()
  })

  test('of a known bucket go out up to its remaining together, and not one more', () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(5, 4, 1000), undefined, clock.monotonic())
    for (let count = 0; count < 4; count++) expect(subject.tryTake(GUILDS)).toBeDefined()
    expect(subject.tryTake(GUILDS)).toBeUndefined()
  })

  test('of a bucket with limit 1 block the second request until the reset', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 234), undefined, 0)
    expect(subject.tryTake(GUILDS)).toBeUndefined()
    expect(subject.estimateMs(GUILDS)).toBeGreaterThanOrEqual(234)
    await clock.advance(234)
    expect(subject.tryTake(GUILDS)).toBeUndefined()
    await clock.advance(1)
    expect(subject.tryTake(GUILDS)).toBeDefined()
  })

  test('keep what was learned when the hash becomes known', async () => {
    const { subject, clock } = principal()
    const [first] = [subject.tryTake(GUILDS)!]
    const waiting = [1, 2].map(() => queued(subject, GUILDS))
    ended(first, 'answered', report(2, 1, 1000), 'hash', 0)
    await clock.advance(0)
    expect(waiting.map(({ permit }) => permit !== undefined)).toEqual([true, false])
    expect(subject.tryTake(GUILDS)).toBeUndefined()
  })

  test('survive a hash that changes while calls wait: none is lost, none is sent beyond the limit', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(2, 1, 1000), 'old', 0)
    const second = subject.tryTake(GUILDS)!
    const waiting = [1, 2, 3].map(() => queued(subject, GUILDS))
    ended(second, 'answered', report(1, 0, 2000), 'new', clock.monotonic())
    await clock.advance(1999)
    expect(waiting.some(({ permit }) => permit)).toBe(false)
    for (const waiter of waiting) {
      await clock.advance(2)
      expect(waiter.permit).toBeDefined()
      ended(waiter.permit!, 'answered', report(1, 0, 2000), 'new', clock.monotonic())
      await clock.advance(1999)
    }
    expect(clock.sleepers).toBe(0)
  })

  test('count routes of one hash together, and the same route of two guilds apart', () => {
    const { subject, hashes } = principal()
    const [a, b] = ['123456789012345678', '223456789012345678'].map((id) => callOf(`/guilds/${id}`))
    const other = callOf('/guilds/123456789012345678/members/323456789012345678')
    hashes.set(a!.route.name, 'hash')
    hashes.set(other.route.name, 'hash')
    ended(subject.tryTake(a!), 'answered', report(1, 0, 1000), 'hash', 0)
    expect(subject.tryTake(other)).toBeUndefined()
    expect(subject.tryTake(b!)).toBeDefined()
  })

  test('of a route that turns out to share a known bucket are charged to it, also where the answer tells only the hash', () => {
    const { subject, hashes } = principal()
    const [one, two] = [callOf('/users/@me/guilds'), callOf('/users/@me/connections')]
    ended(subject.tryTake(one), 'answered', report(3, 2, 1000), 'hash', 0)
    ended(subject.tryTake(two), 'answered', undefined, 'hash', 0)
    expect(hashes.get(two.route.name)).toBe('hash')
    expect(subject.tryTake(one)).toBeDefined()
    expect(subject.tryTake(one)).toBeUndefined()
  })

  test('are not taken past those who wait, even in the moment a place becomes free', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', 0)
    const overtaking = clock.sleep(1001).then(() => subject.tryTake(GUILDS))
    const waiting = queued(subject, GUILDS)
    await clock.advance(1001)
    expect(await overtaking).toBeUndefined()
    expect(waiting.permit).toBeDefined()
  })

  test('answers without limit headers are neither unlimited nor blocked: one request at a time', async () => {
    const { subject, clock } = principal()
    const first = subject.tryTake(GUILDS)!
    const waiting = [1, 2].map(() => queued(subject, GUILDS))
    ended(first, 'answered', undefined, undefined, 0)
    await clock.advance(0)
    expect(waiting.map(({ permit }) => permit !== undefined)).toEqual([true, false])
    ended(waiting[0]!.permit!, 'answered', undefined, undefined, 0)
    await clock.advance(0)
    expect(waiting[1]!.permit).toBeDefined()
  })

  test('headers that are missing on some answers do not strand who waits', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', 0)
    const waiting = [1, 2, 3].map(() => queued(subject, GUILDS))
    for (const [index, waiter] of waiting.entries()) {
      await clock.advance(2001)
      expect(waiter.permit).toBeDefined()
      ended(
        waiter.permit!,
        'answered',
        index % 2 ? report(1, 0, 1000) : undefined,
        index % 2 ? 'hash' : undefined,
        clock.monotonic(),
      )
    }
    expect(clock.sleepers).toBe(0)
  })

  test('a first request that fails, or is given back, does not strand the queue', async () => {
    for (const ending of ['failed', 'giveBack'] as const) {
      const { subject, clock } = principal()
      const first = subject.tryTake(GUILDS)!
      const waiting = queued(subject, GUILDS)
      ended(first, ending)
      await clock.advance(0)
      expect(waiting.permit).toBeDefined()
    }
  })

  test('a place whose request failed stays taken until the window ends, and is then free', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(2, 1, 1000), 'hash', 0)
    ended(subject.tryTake(GUILDS), 'failed')
    expect(subject.tryTake(GUILDS)).toBeUndefined()
    await clock.advance(1001)
    expect(subject.tryTake(GUILDS)).toBeDefined()
  })

  test('a place that was given back is free at once', () => {
    const { subject } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(2, 1, 1000), 'hash', 0)
    ended(subject.tryTake(GUILDS), 'giveBack')
    expect(subject.tryTake(GUILDS)).toBeDefined()
  })

  test('logins go before pages, pages before background work, and each in order of arrival', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', 0)
    const served: string[] = []
    for (const [priority, name] of [
      ['background', 'b1'],
      ['page', 'p1'],
      ['login', 'l1'],
      ['background', 'b2'],
      ['page', 'p2'],
      ['login', 'l2'],
    ] as const)
      void subject.take(callOf('/users/@me/guilds', priority), never).then((permit) => {
        served.push(name)
        ended(permit, 'answered', report(1, 0, 1000), 'hash', clock.monotonic())
      })
    await clock.advance(60_000)
    expect(served).toEqual(['l1', 'l2', 'p1', 'p2', 'b1', 'b2'])
  })

  test('who aborts in line leaves it with its reason; the others move up', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', 0)
    const controller = new AbortController()
    const leaver = queued(subject, GUILDS, controller.signal)
    const next = queued(subject, GUILDS)
    controller.abort('gone')
    await clock.advance(1001)
    expect(leaver.error).toBe('gone')
    expect(next.permit).toBeDefined()
  })

  test('an empty line keeps no alarm', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', 0)
    const controller = new AbortController()
    queued(subject, GUILDS, controller.signal)
    expect(clock.sleepers).toBe(1)
    controller.abort()
    await clock.advance(0)
    expect(clock.sleepers).toBe(0)
  })

  test('no second holds more than 50 requests of one principal, over all its buckets', async () => {
    const { subject, clock } = principal()
    const sentAt: number[] = []
    const calls = Array.from({ length: 200 }, (_, index) => callOf(`/guilds/${100000000000000000n + BigInt(index)}`))
    for (const call of calls)
      void subject.take(call, never).then((permit) => {
        sentAt.push(clock.monotonic())
        ended(permit, 'answered', undefined, undefined, clock.monotonic())
      })
    await clock.advance(10_000)
    expect(sentAt).toHaveLength(200)
    for (const at of sentAt)
      expect(sentAt.filter((other) => other >= at && other < at + 1000).length).toBeLessThanOrEqual(50)
    expect(sentAt.at(-1)).toBeLessThanOrEqual(3100)
  })
})

// Discord, in a few lines: what a server that counts says, and whether it says 429.
interface Server {
  ask(now: Milliseconds): { ok: boolean; limit: number; remaining: number; resetAfterMs: number; retryAfterMs: number }
}

function fixedWindow(limit: number, windowMs: Milliseconds): Server {
  let endsAt = 0
  let used = 0
  return {
    ask(now) {
      if (now >= endsAt) {
        endsAt = now + windowMs
        used = 0
      }
      const ok = used < limit
      if (ok) used++
      const resetAfterMs = Math.ceil(endsAt - now)
      return { ok, limit, remaining: limit - used, resetAfterMs, retryAfterMs: resetAfterMs }
    },
  }
}

function leakyBucket(limit: number, windowMs: Milliseconds): Server {
  let level = 0
  let last = 0
  const drainMs = windowMs / limit
  return {
    ask(now) {
      level = Math.max(0, level - (now - last) / drainMs)
      last = now
      const ok = level + 1 <= limit + 1e-9
      if (ok) level++
      return {
        ok,
        limit,
        remaining: Math.max(0, Math.floor(limit - level + 1e-9)),
        resetAfterMs: Math.ceil(level * drainMs),
        retryAfterMs: Math.ceil(Math.max(0, level - limit + 1) * drainMs),
      }
    },
  }
}

async function play(options: {
  server: Server
  calls: ReadonlyArray<Milliseconds>
  wayMs: () => readonly [there: Milliseconds, back: Milliseconds]
  endMs: Milliseconds
}) {
  const clock = createVirtualClock()
  const buckets = new BucketMap(clock)
  const { latency } = buckets
  let refused = 0
  const done: Array<{ arrived: Milliseconds; ended: Milliseconds }> = []
  const one = async (arriveMs: Milliseconds) => {
    await clock.sleep(arriveMs)
    const arrived = clock.monotonic()
    const subject = buckets.enter('p')
    for (;;) {
      const held = subject.heldFor(GUILDS)
      if (held) {
        await clock.sleep(held.ms)
        continue
      }
      const permit = subject.tryTake(GUILDS) ?? (await subject.take(GUILDS, never))
      if (subject.heldFor(GUILDS)) {
        ended(permit, 'giveBack')
        continue
      }
      const [thereMs, backMs] = options.wayMs()
      const sentAt = clock.monotonic()
      await clock.sleep(thereMs)
      const answer = options.server.ask(clock.monotonic())
      await clock.sleep(backMs)
      latency.observe(sentAt, clock.monotonic())
      ended(permit, 'answered', answer, 'hash', clock.monotonic())
      if (answer.ok) break
      refused++
      subject.holdBucket(GUILDS, answer.retryAfterMs)
      latency.distrust()
    }
    buckets.leave('p')
    done.push({ arrived, ended: clock.monotonic() })
  }
  for (const arriveMs of options.calls) void one(arriveMs)
  await clock.advance(options.endMs)
  return {
    refused,
    done,
    sleepers: clock.sleepers,
    longest: Math.max(0, ...done.map(({ arrived, ended }) => ended - arrived)),
  }
}

describe('against a Discord that counts', () => {
  const world = fc.record({
    kind: fc.constantFrom(fixedWindow, leakyBucket),
    limit: fc.integer({ min: 1, max: 6 }),
    windowMs: fc.integer({ min: 200, max: 3000 }),
    arrivals: fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 1, maxLength: 24 }),
  })

  test('with a constant round trip there is never a 429, every call ends, and none waits much longer than the limit makes it', async () => {
    await fc.assert(
      fc.asyncProperty(
        world,
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 0, max: 300 }),
        async ({ kind, limit, windowMs, arrivals }, thereMs, backMs) => {
          const roundTripMs = thereMs + backMs
          const endMs = 4000 + (arrivals.length + 2) * (windowMs + roundTripMs + 10)
          const played = await play({
            server: kind(limit, windowMs),
            calls: arrivals,
            wayMs: () => [thereMs, backMs],
            endMs,
          })
          expect(played.refused).toBe(0)
          expect(played.done).toHaveLength(arrivals.length)
          expect(played.sleepers).toBe(0)
          expect(played.longest).toBeLessThanOrEqual(
            (Math.ceil(arrivals.length / limit) + 2) * (windowMs + roundTripMs + 10),
          )
        },
      ),
      { numRuns: 60 },
    )
  }, 60_000)

  test('a leaky bucket whose first answer makes its window look short is not overrun while answers are under way', async () => {
    const played = await play({
      server: leakyBucket(3, 200),
      calls: Array(6).fill(0),
      wayMs: () => [0, 68],
      endMs: 8_000,
    })
    expect(played.refused).toBe(0)
    expect(played.done).toHaveLength(6)
  })

  test('with round trips that vary and answers out of order every call still ends, nobody starves, and 429s are few', async () => {
    await fc.assert(
      fc.asyncProperty(
        world,
        fc.infiniteStream(fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 400 }))),
        async ({ kind, limit, windowMs, arrivals }, ways) => {
          const wayMs = () => ways.next().value as [number, number]
          const perTurnMs = windowMs + 810
          const endMs = 4000 + 2 * (arrivals.length + 2) * perTurnMs
          const played = await play({ server: kind(limit, windowMs), calls: arrivals, wayMs, endMs })
          expect(played.done).toHaveLength(arrivals.length)
          expect(played.sleepers).toBe(0)
          expect(played.longest).toBeLessThanOrEqual(2 * (arrivals.length + 2) * perTurnMs)
          expect(played.refused).toBeLessThanOrEqual(arrivals.length)
        },
      ),
      { numRuns: 60 },
    )
  }, 60_000)

  test('a fixed window is used to the full: 40 calls against 5 a second take 8 windows', async () => {
    const played = await play({
      server: fixedWindow(5, 1000),
      calls: Array(40).fill(0),
      wayMs: () => [20, 20],
      endMs: 60_000,
    })
    expect(played.refused).toBe(0)
    expect(Math.max(...played.done.map(({ ended }) => ended))).toBeLessThanOrEqual(8 * 1080)
  })
})

describe('what is learned of one does not unsettle another', () => {
  const principals = () => {
    const clock = createVirtualClock()
    const known = { clock, hashes: new Map<string, string>(), latency: new Latency() }
    return { clock, known, one: new Principal(known), other: new Principal(known) }
  }

  test('a bucket whose places were counted elsewhere is not stuck', async () => {
    const { subject, clock } = principal()
    const [one, two] = [callOf('/users/@me/guilds'), callOf('/users/@me/connections')]
    ended(subject.tryTake(one), 'answered', report(1, 0, 1000), 'hash')
    await clock.advance(1001)
    ended(subject.tryTake(two), 'answered', report(1, 0, 1000), 'hash', clock.monotonic())
    await clock.advance(1001)
    const first = subject.tryTake(one)
    const waiting = queued(subject, two)
    ended(first, 'answered', report(1, 0, 1000), 'another', clock.monotonic())
    await clock.advance(2002)
    expect(waiting.permit).toBeDefined()
  })

  test('a place that was counted elsewhere is free at once, also while others are under way', async () => {
    const { subject, clock } = principal()
    const [one, two] = [callOf('/users/@me/guilds'), callOf('/users/@me/connections')]
    ended(subject.tryTake(one), 'answered', report(2, 1, 1000), 'hash')
    await clock.advance(1001)
    ended(subject.tryTake(two), 'answered', report(2, 1, 1000), 'hash', clock.monotonic())
    await clock.advance(1001)
    const [first, second] = [subject.tryTake(one), subject.tryTake(two)]
    expect(subject.tryTake(two)).toBeUndefined()
    ended(first, 'answered', report(2, 1, 1000), 'another', clock.monotonic())
    expect(subject.tryTake(two)).toBeDefined()
    expect(second).toBeDefined()
  })

  test('a spent limit and a 429’s hold stay when another user’s answer names another hash for the route', async () => {
    const { clock, one, other } = principals()
    ended(one.tryTake(GUILDS), 'answered', report(1, 0, 60_000), 'h1')
    ended(other.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'h2', clock.monotonic())
    expect(one.tryTake(GUILDS)).toBeUndefined()
    one.holdBucket(GUILDS, 90_000)
    await clock.advance(1001)
    ended(other.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'h3', clock.monotonic())
    expect(one.heldFor(GUILDS)?.ms).toBeGreaterThan(80_000)
  })

  test('a hold of a route whose hash is not known yet stays when another user teaches the hash', () => {
    const { clock, one, other } = principals()
    one.holdBucket(GUILDS, 90_000)
    ended(other.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash', clock.monotonic())
    expect(one.heldFor(GUILDS)?.ms).toBe(90_000)
    expect(one.tryTake(GUILDS)).toBeUndefined()
  })

  test('what others were told is the first guess: routes that they share a bucket on are counted together at once', () => {
    const { one, other } = principals()
    const connections = callOf('/users/@me/connections')
    ended(other.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash')
    ended(other.tryTake(connections), 'answered', report(1, 0, 1000), 'hash')
    expect(one.tryTake(GUILDS)).toBeDefined()
    expect(one.tryTake(connections)).toBeUndefined()
  })

  test('two hashes in use for one route, by user: nobody is sent too early', async () => {
    const { clock, known } = principals()
    const users = Array.from({ length: 8 }, () => ({ subject: new Principal(known), server: fixedWindow(1, 1000) }))
    let refused = 0
    await Promise.all(
      users
        .map(async ({ subject, server }, index) => {
          for (let call = 0; call < 8; call++) {
            const permit = await subject.take(GUILDS, never)
            const answer = server.ask(clock.monotonic())
            if (!answer.ok) refused++
            ended(permit, 'answered', answer, index % 2 ? 'odd' : 'even', clock.monotonic())
          }
        })
        .concat(clock.advance(20_000)),
    )
    expect(refused).toBe(0)
  })

  test('a later, shorter 429 does not shorten a longer hold: of a bucket, a route or everything', async () => {
    for (const hold of ['holdBucket', 'holdRoute'] as const) {
      const { subject } = principal()
      subject[hold](GUILDS, 90_000)
      subject[hold](GUILDS, 1000)
      expect(subject.heldFor(GUILDS)?.ms).toBe(90_000)
    }
    const { subject } = principal()
    subject.holdAll(90_000)
    subject.holdAll(1000)
    expect(subject.heldFor(GUILDS)?.ms).toBe(90_000)
  })

  test('a sub-limit of one channel leaves other channels alone', () => {
    const { subject } = principal()
    const [one, other] = [1n, 2n].map((id) => callOf(`/channels/${10n ** 17n + id}`))
    subject.holdRoute(one!, 90_000)
    expect(subject.heldFor(one!)?.ms).toBe(90_000)
    expect(subject.heldFor(other!)).toBeUndefined()
  })

  test('a held bucket is remembered past a sweep of a thousand channels', async () => {
    const { subject, clock } = principal()
    const channel = (id: number) => callOf(`/channels/${10n ** 17n + BigInt(id)}`)
    subject.holdBucket(channel(0), 90_000)
    for (let id = 1; id <= 1000; id++) {
      ended(subject.tryTake(channel(id)), 'answered', report(5, 4, 1), undefined, clock.monotonic())
      if (id % 40 === 0) await clock.advance(1100)
    }
    expect(subject.heldFor(channel(0))?.ms).toBeGreaterThan(50_000)
  })

  test('two hundred failures in a row leave the principal free', async () => {
    const { subject, clock } = principal()
    for (let count = 0; count < 200; count++) {
      const permit = queued(subject, GUILDS)
      await clock.advance(2000)
      ended(permit.permit, 'failed')
    }
    expect(subject.tryTake(callOf('/users/@me'))).toBeDefined()
    await clock.advance(2000)
    for (let count = 1; count < 50; count++)
      expect(subject.tryTake(callOf(`/guilds/${10n ** 17n + BigInt(count)}`))).toBeDefined()
  })

  test('deleted messages are counted by their age: young, ordinary, and older than two weeks', () => {
    const now = Date.UTC(2026, 0, 20)
    const aged = (ms: number) => String(BigInt(now - ms - 1_420_070_400_000) << 22n)
    const counted = (ms: number) => routeOf('DELETE', `/channels/123456789012345678/messages/${aged(ms)}`, now)
    const [young, ordinary, old] = [5_000, 60_000, 15 * 86_400_000].map(counted)
    expect(new Set([young, ordinary, old].map((route) => route!.key)).size).toBe(3)
    expect(new Set([young, ordinary, old].map((route) => route!.name))).toEqual(
      new Set(['DELETE /channels/:id/messages/:id']),
    )
    expect(counted(11_000).key).toBe(ordinary!.key)
    expect(counted(13 * 86_400_000).key).toBe(ordinary!.key)
  })
})

describe('at the global limit', () => {
  /** So many calls of distinct buckets wait, of one priority. */
  const waiting = (subject: Principal, count: number, priority: Priority, served: string[], first = 0) => {
    for (let index = 0; index < count; index++)
      void subject.take(callOf(`/guilds/${10n ** 17n + BigInt(first + index)}`, priority), never).then((permit) => {
        served.push(priority)
        ended(permit, 'answered', undefined, undefined, clockOf(permit))
      })
  }
  const clockOf = (permit: Permit) => permit.at

  test('a login that comes behind 400 background calls goes with the next places', async () => {
    const { subject, clock } = principal()
    const served: string[] = []
    waiting(subject, 450, 'background', served)
    await clock.advance(500)
    waiting(subject, 1, 'login', served, 1000)
    await clock.advance(501)
    expect(served.indexOf('login')).toBeGreaterThanOrEqual(50)
    expect(served.indexOf('login')).toBeLessThan(60)
  })

  test('background work is not starved by an endless line of pages', async () => {
    const { subject, clock } = principal()
    const served: string[] = []
    waiting(subject, 50, 'background', served)
    waiting(subject, 20, 'background', served, 100)
    waiting(subject, 1000, 'page', served, 1000)
    await clock.advance(5000)
    expect(served.filter((priority) => priority === 'background').length).toBe(70)
    expect(served.filter((priority) => priority === 'page').length).toBeGreaterThan(150)
  })

  test('nor within one bucket', async () => {
    const { subject, clock } = principal()
    ended(subject.tryTake(GUILDS), 'answered', report(1, 0, 100), 'hash')
    const served: string[] = []
    for (const priority of [...Array<Priority>(100).fill('page'), ...Array<Priority>(3).fill('background')])
      void subject.take(callOf('/users/@me/guilds', priority), never).then((permit) => {
        served.push(priority)
        ended(permit, 'answered', report(1, 0, 100), 'hash', clock.monotonic())
      })
    await clock.advance(5000)
    expect(served.slice(0, 30).filter((priority) => priority === 'background').length).toBe(3)
  })

  test('a bot that was given more sends more', async () => {
    const clock = createVirtualClock()
    const subject = new Principal({ clock, hashes: new Map(), latency: new Latency() }, 200)
    const served: string[] = []
    waiting(subject, 500, 'page', served)
    await clock.advance(900)
    expect(served.length).toBe(200)
  })
})

describe('two names that turn out to be one principal', () => {
  test('spend one limit from then on, whatever was under way, waited or was held under either', async () => {
    const buckets = new BucketMap(createVirtualClock())
    const byToken = buckets.enter('token:abc')
    const byUser = buckets.enter('7')
    const first = byToken.tryTake(GUILDS)
    byToken.holdRoute(callOf('/users/@me'), 5000)
    const waited = queued(byToken, GUILDS)
    buckets.same('7', 'token:abc')
    expect(buckets.find('token:abc')).toBe(byUser)
    expect(byUser.tryTake(GUILDS)).toBeUndefined()
    expect(byUser.heldFor(callOf('/users/@me'))?.ms).toBe(5000)
    ended(first, 'answered', report(5, 4, 1000), 'hash')
    await new Promise((resolve) => setImmediate(resolve))
    expect(waited.permit?.principal).toBe(byUser)
    ended(waited.permit, 'answered', report(5, 3, 1000), 'hash')
    buckets.leave('token:abc')
    buckets.leave('7')
    expect(buckets.find('7')).toBe(byUser)
  })

  test('one that waits under the old name can leave', async () => {
    const clock = createVirtualClock()
    const buckets = new BucketMap(clock)
    const byToken = buckets.enter('token:abc')
    buckets.enter('7')
    ended(byToken.tryTake(GUILDS), 'answered', report(1, 0, 1000), 'hash')
    const controller = new AbortController()
    const waited = queued(byToken, GUILDS, controller.signal)
    buckets.same('7', 'token:abc')
    controller.abort('gone')
    await clock.advance(0)
    expect([waited.error, clock.sleepers]).toEqual(['gone', 0])
  })
})
