import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { containerMemory } from '../../src/guard/container-memory.ts'
import { inFlightLevel, type LoadLevel, nextLevel } from '../../src/guard/load-level.ts'
import { LoadShedding, type SheddingOptions, vitalsOfProcess } from '../../src/guard/load-shedding.ts'
import { createGuard, type GuardDecision, type HoldfastEvent, type PassDecision } from '../../src/index.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'
import { ask, PAGE } from './asking.ts'

describe('nextLevel', () => {
  const at = (value: number) => [{ value, enter: 0.9, leave: 0.8 }]

  test('one up above where it is entered, one down below where it is left, and as it was in between', () => {
    let level: LoadLevel = 0
    const seen = [0.95, 0.85, 0.95, 0.95, 0.95, 0.85, 0.79, 0.85, 0.5, 0.5, 0.5].map((value) => {
      level = nextLevel(level, at(value))
      return level
    })
    expect(seen).toEqual([1, 1, 2, 3, 3, 3, 2, 2, 1, 0, 0])
  })

  test('one signal is enough to enter, and all must be low to leave', () => {
    expect(nextLevel(1, [...at(0.1), ...at(0.95)])).toBe(2)
    expect(nextLevel(1, [...at(0.1), ...at(0.85)])).toBe(1)
    expect(nextLevel(1, [...at(0.1), ...at(0.7)])).toBe(0)
  })

  test('it never moves by more than one, whatever is measured', () => {
    fc.assert(
      fc.property(fc.constantFrom<LoadLevel[]>(0, 1, 2, 3), fc.array(fc.double()), (level, values) => {
        const next = nextLevel(level, values.flatMap(at))
        expect(Math.abs(next - level)).toBeLessThanOrEqual(1)
        expect([0, 1, 2, 3]).toContain(next)
      }),
    )
  })

  test('requests under way: 80, 90 and 100 % of the most', () => {
    expect([0, 79, 80, 89, 90, 99, 100, 500].map((inFlight) => inFlightLevel(inFlight, 100))).toEqual([
      0, 0, 1, 1, 2, 2, 3, 3,
    ])
    expect(inFlightLevel(1, 1)).toBe(3)
  })
})

describe('containerMemory', () => {
  const GB = 2 ** 30
  const from = (files: Record<string, string>) => containerMemory((path) => files[path])

  test('v2: what is used, without the page cache that would go first', () => {
    expect(
      from({
        '/proc/self/cgroup': '0::/\n',
        '/sys/fs/cgroup/memory.max': `${GB}\n`,
        '/sys/fs/cgroup/memory.current': `${GB - 5}\n`,
        '/sys/fs/cgroup/memory.stat': `anon ${GB / 2}\nfile 1\ninactive_file ${GB / 4}\nactive_file 3\n`,
      }),
    ).toEqual({ used: GB - 5 - GB / 4, limit: GB })
  })

  test('v2: the tightest limit on the way up', () => {
    const files = {
      '/proc/self/cgroup': '0::/pod/app\n',
      '/sys/fs/cgroup/pod/app/memory.max': 'max\n',
      '/sys/fs/cgroup/pod/app/memory.current': '100\n',
      '/sys/fs/cgroup/pod/memory.max': '1000\n',
      '/sys/fs/cgroup/pod/memory.current': '900\n',
      '/sys/fs/cgroup/pod/memory.stat': 'inactive_file 100\n',
      '/sys/fs/cgroup/memory.max': '100000\n',
      '/sys/fs/cgroup/memory.current': '1000\n',
    }
    expect(from(files)).toEqual({ used: 800, limit: 1000 })
  })

  test('v1', () => {
    expect(
      from({
        '/proc/self/cgroup': '12:cpu,cpuacct:/x\n7:memory:/docker/abc\n0::/\n',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': '1000\n',
        '/sys/fs/cgroup/memory/memory.usage_in_bytes': '700\n',
        '/sys/fs/cgroup/memory/memory.stat': 'inactive_file 5\ntotal_inactive_file 200\n',
      }),
    ).toEqual({ used: 500, limit: 1000 })
  })

  test.each<[string, Record<string, string>]>([
    ['no cgroups', {}],
    [
      'v2 without a limit',
      { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n', '/sys/fs/cgroup/memory.current': '5\n' },
    ],
    [
      'v1 without a limit',
      {
        '/proc/self/cgroup': '7:memory:/\n',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
        '/sys/fs/cgroup/memory/memory.usage_in_bytes': '5\n',
      },
    ],
    [
      'files that are empty',
      { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': '', '/sys/fs/cgroup/memory.current': '' },
    ],
    [
      'files that are nonsense',
      { '/proc/self/cgroup': 'x\n0::/\n', '/sys/fs/cgroup/memory.max': 'lots', '/sys/fs/cgroup/memory.current': '5' },
    ],
  ])('%s: nothing to say', (_what, files) => {
    expect(from(files)).toBeUndefined()
  })
})

/** A guard whose process is as loaded as a test says. */
function loaded(shedding: SheddingOptions = {}) {
  const clock = createVirtualClock()
  const vitals = { heap: 0.1, memory: 0.1 as number | undefined, loopMs: 0, samples: 0, stopped: false }
  const shed = new LoadShedding(shedding, clock, () => ({
    heap: () => {
      vitals.samples++
      return vitals.heap
    },
    memory: () => vitals.memory,
    eventLoopP99Ms: () => vitals.loopMs,
    stop: () => {
      vitals.stopped = true
    },
  }))
  return { clock, vitals, shed }
}

describe('LoadShedding', () => {
  test.each([
    ['a heap that is full', 'heap', 0.95],
    ['a container that is full', 'memory', 0.95],
    ['an event loop that is late', 'loopMs', 400],
  ] as const)('%s raises the level, one a sample, twice a second', async (_what, name, value) => {
    const { clock, vitals, shed } = loaded()
    const levels: number[] = []
    vitals[name] = value
    for (let sample = 0; sample < 4; sample++) {
      await clock.advance(500)
      levels.push(shed.level())
    }
    vitals[name] = 0
    for (let sample = 0; sample < 4; sample++) {
      await clock.advance(500)
      levels.push(shed.level())
    }
    // One long pause is no overload: it takes two in a row.
    expect(levels).toEqual(name === 'loopMs' ? [0, 1, 2, 3, 2, 1, 0, 0] : [1, 2, 3, 3, 2, 1, 0, 0])
    shed.close()
    expect(clock.sleepers).toBe(0)
    expect(vitals.stopped).toBe(true)
  })

  test('a container without a limit is never full', async () => {
    const { clock, vitals, shed } = loaded()
    vitals.memory = undefined
    await clock.advance(5_000)
    expect(shed.level()).toBe(0)
    shed.close()
  })

  test('requests never sample', async () => {
    const { clock, vitals, shed } = loaded({ maxInFlight: 10 })
    for (let request = 0; request < 1_000; request++) {
      void shed.level()
      shed.enter()?.leave()
    }
    expect(vitals.samples).toBe(0)
    await clock.advance(1_000)
    expect(vitals.samples).toBe(2)
    shed.close()
  })

  test('a place is left once, however often it is left', () => {
    const { shed } = loaded({ maxInFlight: 2 })
    const place = shed.enter()!
    shed.enter()
    expect(shed.level()).toBe(3)
    place.leave()
    place.leave()
    expect(shed.level()).toBe(0)
    shed.enter()
    expect(shed.level()).toBe(3)
    shed.close()
  })

  test('this process can be measured', () => {
    const vitals = vitalsOfProcess()
    expect(vitals.heap()).toBeGreaterThan(0)
    expect(vitals.heap()).toBeLessThan(1)
    expect(vitals.eventLoopP99Ms()).toBeGreaterThanOrEqual(0)
    vitals.stop()
  })

  test('a process that has only a guard ends by itself', () => {
    const source = new URL('../../src/index.ts', import.meta.url).href
    const code = `import { createGuard } from ${JSON.stringify(source)}; const guard = createGuard(); await guard.check({ method: 'GET', path: '/', header: () => null })`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '--eval', code], {
      timeout: 15_000,
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
  })
})

describe('under load', () => {
  const open: PassDecision[] = []
  /** A guard that has so many of ten requests under way. */
  function busy(inFlight: number) {
    const events: HoldfastEvent[] = []
    const guard = createGuard({
      clock: createVirtualClock(),
      shedding: { maxInFlight: 10 },
      on: (event) => event.type !== 'guard.passed' && events.push(event),
      identify: (request) => (request.header('authorization') === 'good' ? { userId: 'u' } : undefined),
    })
    for (let request = 0; request < inFlight; request++)
      open.push(guard.check(ask('POST', '/work', { userId: `w${request}` })) as PassDecision)
    return { guard, events }
  }
  const outcome = async (decision: GuardDecision | Promise<GuardDecision>) => {
    const decided = await decision
    if (decided.action === 'pass') await decided.settle(200)
    return decided.action === 'pass' ? 200 : decided.status
  }
  const users = { userId: 'u1' }

  test.each([
    [7, { page: 200, api: 200, other: 200, user: 200, health: 200 }],
    [8, { page: 503, api: 200, other: 200, user: 200, health: 200 }],
    [9, { page: 503, api: 503, other: 200, user: 200, health: 200 }],
    [10, { page: 503, api: 503, other: 503, user: 503, health: 200 }],
  ])('with %d of 10 under way, those who matter least are turned away first', async (inFlight, expected) => {
    const { guard } = busy(inFlight)
    const statuses = {
      page: await outcome(guard.check(ask('GET', '/page', { headers: PAGE }))),
      api: await outcome(guard.check(ask('GET', '/api/x'))),
      other: await outcome(guard.check(ask('GET', '/icon.png'))),
      user: await outcome(guard.check(ask('GET', '/page', { headers: PAGE, ...users }))),
      health: await outcome(guard.check(ask('GET', '/health'))),
    }
    expect(statuses).toEqual(expected)
    expect(await outcome(guard.arrive(ask('GET', '/page', { headers: PAGE })))).toBe(expected.page)
    expect(await outcome(guard.arrive(ask('GET', '/api/x')))).toBe(expected.api)
    expect(await outcome(guard.arrive(ask('GET', '/health')))).toBe(200)
    await guard.close()
  })

  test('who brings credentials is turned away only once they turn out to be nobody', async () => {
    const { guard } = busy(8)
    for (const [authorization, status] of [
      ['good', 200],
      ['bad', 503],
    ] as const) {
      const request = ask('GET', '/page', { headers: { ...PAGE, authorization } })
      const arrived = await guard.arrive(request)
      expect(arrived.action).toBe('pass')
      expect(await outcome(guard.check(request))).toBe(status)
    }
    // Neither of them is under way any more.
    expect(await outcome(guard.check(ask('GET', '/api/x')))).toBe(200)
    await guard.close()
  })

  test('a request that arrived and was checked is one request', async () => {
    const { guard } = busy(0)
    const decisions: PassDecision[] = []
    for (let index = 0; index < 7; index++) {
      const request = ask('POST', '/x', { userId: `${index}` })
      guard.arrive(request)
      decisions.push((await guard.check(request)) as PassDecision)
    }
    expect(await outcome(guard.check(ask('GET', '/page', { headers: PAGE })))).toBe(200)
    for (const decision of decisions) await decision.settle(200)
    await guard.close()
  })

  test('the refusal is 503, says when to come back, and is told of', async () => {
    const { guard, events } = busy(10)
    const request = () => ask('GET', '/page/80351110224678912', { headers: PAGE })
    const decision = (await guard.check(request())) as Extract<GuardDecision, { action: 'refuse' }>
    expect(decision).toMatchObject({ action: 'refuse', status: 503, requestClass: 'document', limits: [] })
    expect(decision.retryAfterSeconds).toBeGreaterThanOrEqual(2)
    expect(decision.retryAfterSeconds).toBeLessThanOrEqual(10)
    expect(decision.body).toContain(
      'The server is temporarily under heavy load. Please wait a few minutes and try again.',
    )
    expect(Object.fromEntries(decision.headers)).toEqual({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'retry-after': String(decision.retryAfterSeconds),
    })
    expect(events).toMatchObject([
      {
        type: 'guard.shed',
        path: '/page/:id',
        requestClass: 'document',
        retryAfter: decision.retryAfterSeconds,
        handled: true,
      },
    ])
    // The same address is told the same time, others another.
    expect(((await guard.check(request())) as typeof decision).retryAfterSeconds).toBe(decision.retryAfterSeconds)
    const times = new Set<number>()
    for (let host = 0; host < 50; host++) {
      const other = await guard.check(ask('GET', '/p', { remoteAddress: `198.51.100.${host}` }))
      times.add((other as typeof decision).retryAfterSeconds)
    }
    expect(times.size).toBeGreaterThan(4)
    await guard.close()
  })

  test('the logger hears of load without a listener, once a minute, and of no address', async () => {
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
    const guard = createGuard({ shedding: { maxInFlight: 1 }, rules: { '*': '100000/minute' }, logger })
    for (let request = 0; request < 20; request++)
      await guard.check(ask('GET', '/p', { remoteAddress: '198.51.100.7' }))
    const shed = logger.warn.mock.calls.filter(([, message]) => String(message).includes('turns requests away'))
    expect(shed).toEqual([[{ status: 503, count: 1 }, expect.any(String)]])
    expect(JSON.stringify(logger.warn.mock.calls)).not.toContain('198.51.100')
    await guard.close()
  })
})

describe('maxInFlight is a cap, whatever is waited for', () => {
  const late = { identify: async () => new Promise<undefined>((resolve) => void setTimeout(resolve, 5)) }
  test.each<[string, object, boolean]>([
    ['nothing', {}, false],
    ['identify', late, false],
    ['identify, with arrive in front', late, true],
    ['skip', { skip: async () => false }, false],
  ])('of 300 at once at most 10 are under way: %s', async (_what, options, arrives) => {
    const guard = createGuard({ shedding: { maxInFlight: 10 }, rules: { '*': '100000/minute' }, ...options })
    const decisions = await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        const request = ask('POST', '/api/x', { remoteAddress: `10.0.0.${index % 250}` })
        if (arrives && (await guard.arrive(request)).action === 'refuse') return undefined
        return guard.check(request)
      }),
    )
    const passed = decisions.filter((decision) => decision?.action === 'pass') as PassDecision[]
    expect(passed.length).toBeLessThanOrEqual(10)
    expect(passed.length).toBeGreaterThanOrEqual(9)
    for (const decision of passed) await decision.settle(200)
    // Refused or settled, every place is free again.
    const again = await guard.check(ask('POST', '/api/x', { userId: 'u' }))
    expect(again.action).toBe('pass')
    await guard.close()
  })

  test('a request that is refused by a limit, denied, or fails leaves no place behind', async () => {
    const guard = createGuard({
      shedding: { maxInFlight: 2 },
      rules: { '/api/*': '1/hour', '/broken': { limit: 5, windowMs: 1_000, cost: () => -1 } },
      deny: { users: ['foe'] },
    })
    for (let time = 0; time < 20; time++) {
      const decision = await guard.check(ask('POST', '/api/x', { userId: 'u' }))
      if (decision.action === 'pass') await decision.settle(200)
      expect((await guard.check(ask('POST', '/x', { userId: 'foe' }))).action).toBe('refuse')
      expect(() => guard.check(ask('POST', '/broken', { userId: 'u' }))).toThrow()
    }
    expect((await guard.check(ask('POST', '/x', { userId: 'u' }))).action).toBe('pass')
    await guard.close()
  })

  test('… nor where skip answers later and a cost is a bug then', async () => {
    const guard = createGuard({
      shedding: { maxInFlight: 2 },
      skip: async () => false,
      rules: { '/broken': { limit: 5, windowMs: 1_000, cost: () => -1 } },
    })
    for (let time = 0; time < 4; time++)
      await expect(guard.check(ask('POST', '/broken', { userId: 'u' }))).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      })
    expect((await guard.check(ask('POST', '/x', { userId: 'u' }))).action).toBe('pass')
    await guard.close()
  })

  test('health paths arrive whatever is under way', async () => {
    const guard = createGuard({ shedding: { maxInFlight: 1 }, rules: { '*': '100/minute' } })
    const decision = await guard.check(ask('POST', '/api/x'))
    expect((await guard.arrive(ask('GET', '/api/x'))).action).toBe('refuse')
    expect((await guard.arrive(ask('GET', '/health'))).action).toBe('pass')
    if (decision.action === 'pass') await decision.settle(200)
    await guard.close()
  })

  test('what is given back frees its place, by its status and by the handler, once', async () => {
    const guard = createGuard({ shedding: { maxInFlight: 1 }, rules: { '*': '100/minute' } })
    const enter = async () => guard.check(ask('POST', '/api/x', { userId: 'u' }))
    const ends: ReadonlyArray<(decision: PassDecision) => Promise<void>> = [
      async (decision) => decision.settle(409),
      async (decision) => {
        await decision.refund()
        await decision.settle(200)
      },
    ]
    for (const end of ends) {
      const decision = (await enter()) as PassDecision
      expect([decision.action, (await enter()).action]).toEqual(['pass', 'refuse'])
      await end(decision)
      const next = (await enter()) as PassDecision
      expect(next.action).toBe('pass')
      // A second time it frees nobody else's place.
      await end(decision)
      expect((await enter()).action).toBe('refuse')
      await next.settle(200)
    }
    await guard.close()
  })
})

describe('the vitals of this process', () => {
  test('the first event-loop sample is 0, however long loading blocked', async () => {
    const vitals = vitalsOfProcess()
    await new Promise((resolve) => setTimeout(resolve, 30))
    const until = performance.now() + 120
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(vitals.eventLoopP99Ms()).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 30))
    const again = performance.now() + 120
    while (performance.now() < again);
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(vitals.eventLoopP99Ms()).toBeGreaterThan(50)
    vitals.stop()
  })
})
