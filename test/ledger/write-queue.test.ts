import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { HoldfastError } from '../../src/errors/errors.ts'
import { Events, type HoldfastEvent } from '../../src/events/events.ts'
import type { AnsweredFetch, MembershipStore } from '../../src/ledger/membership-store.ts'
import { WriteQueue } from '../../src/ledger/write-queue.ts'

const LOOK = { turn: 0, offsetsMs: [0] }
const list = (id: string, permissions = '8') => [{ id, name: `guild ${id}`, icon: null, owner: false, permissions }]

function house() {
  const clock = createVirtualClock()
  const events = new Events(clock)
  const seen: HoldfastEvent[] = []
  events.on((event) => seen.push(event))
  const saved: AnsweredFetch[][] = []
  const state = { away: false, slow: undefined as Promise<void> | undefined }
  const store = {
    look: () => LOOK,
    prune: async () => 0,
    save: async (fetches: readonly AnsweredFetch[]) => {
      await state.slow
      if (state.away) throw new HoldfastError('DATABASE_UNAVAILABLE', 'away')
      saved.push([...fetches])
    },
  } as unknown as MembershipStore
  const queue = new WriteQueue({ store: async () => store, clock, events, keepMs: 1 })
  const of = (type: HoldfastEvent['type']) => seen.filter((event) => event.type === type)
  return { clock, queue, saved, state, of, users: () => saved.flat().map(({ userId }) => userId) }
}

describe('what waits to be written', () => {
  test('is written within a second, several users at a time', async () => {
    const { clock, queue, saved } = house()
    for (let index = 1; index <= 100; index++) queue.add(String(index), list('5'), 0, LOOK)
    expect(queue.find('7')).toMatchObject({ guilds: [{ id: '5', standing: '16' }] })
    await clock.advance(999)
    expect(saved.flat()).toHaveLength(100)
    expect(saved.length).toBeLessThan(5)
    expect(queue.size).toBe(0)
  })

  test('is of each user only the fetch that was sent last', async () => {
    const { clock, queue, saved } = house()
    queue.add('1', list('5'), 10, LOOK)
    queue.add('1', list('6'), 30, LOOK)
    queue.add('1', list('7'), 20, LOOK)
    await clock.advance(1_000)
    expect(saved.flat()).toMatchObject([{ userId: '1', sentMs: 30, guilds: [{ id: '6' }] }])
  })

  test('is tried again while the database is away, and is in it within a minute of its return; a trouble is few events', async () => {
    const { clock, queue, saved, state, of } = house()
    state.away = true
    queue.add('1', list('5'), 0, LOOK)
    for (let minute = 0; minute < 10; minute++) {
      await clock.advance(60_000)
      queue.add(String(minute + 2), list('5'), 0, LOOK)
    }
    expect(of('ledger.failed').length).toBeGreaterThan(5)
    expect(of('ledger.failed').length).toBeLessThanOrEqual(11)
    expect(of('ledger.failed')[0]).toMatchObject({ operation: 'write', code: 'DATABASE_UNAVAILABLE', waiting: 1 })
    state.away = false
    await clock.advance(30_000)
    expect(saved.flat()).toHaveLength(11)
    expect(of('ledger.recovered')).toHaveLength(1)
  })

  test('a newer fetch that comes while an older one is being written is written after it', async () => {
    const { clock, queue, saved, state } = house()
    let release = () => {}
    state.slow = new Promise<void>((resolve) => {
      release = resolve
    })
    queue.add('1', list('5'), 10, LOOK)
    await clock.advance(300)
    queue.add('1', list('6'), 20, LOOK)
    expect(queue.find('1')).toMatchObject({ guilds: [{ id: '6' }] })
    release()
    await clock.advance(1_000)
    expect(saved.flat().map(({ guilds }) => guilds![0]!.id)).toEqual(['5', '6'])
  })

  test('says once a minute that the database is slow', async () => {
    const { clock, queue, saved, state, of } = house()
    for (let second = 1; second <= 62; second++) {
      state.slow = clock.sleep(second === 1 ? 1_900 : 2_500)
      queue.add(String(second), list('5'), second, LOOK)
      await clock.advance(3_000)
      if (second === 1) expect(of('ledger.slow')).toEqual([])
    }
    expect(saved.flat()).toHaveLength(62)
    expect(of('ledger.slow').length).toBe(4)
    expect(of('ledger.slow')[0]).toMatchObject({ waiting: 0, durationMs: expect.toSatisfy((ms) => ms > 2_000) })
    expect(of('ledger.failed')).toEqual([])
  })

  test('an older one whose write failed does not take the place of a newer one', async () => {
    const { clock, queue, saved, state } = house()
    let release = () => {}
    state.slow = new Promise<void>((resolve) => {
      release = resolve
    })
    state.away = true
    queue.add('1', list('5'), 10, LOOK)
    await clock.advance(300)
    queue.add('1', list('6'), 20, LOOK)
    release()
    await clock.advance(0)
    state.away = false
    await clock.advance(5_000)
    expect(saved.flat().map(({ guilds }) => guilds![0]!.id)).toEqual(['6'])
  })

  test('beyond its bound keeps whose rows are not to be trusted, instead of their lists', async () => {
    const { clock, queue, saved, state, of } = house()
    state.away = true
    for (let index = 1; index <= 10_050; index++) queue.add(String(index), list('5'), 0, LOOK)
    expect(of('ledger.skipped')).toHaveLength(50)
    expect(queue.find('10050')).toMatchObject({ guilds: null })
    state.away = false
    await clock.advance(40_000)
    expect(saved.flat().filter(({ guilds }) => guilds === null)).toHaveLength(50)
    expect(saved.flat().filter(({ guilds }) => guilds !== null)).toHaveLength(10_000)
    // There is room again.
    queue.add('1', list('6'), 1, LOOK)
    expect(queue.find('1')).toMatchObject({ guilds: [{ id: '6' }] })
  })

  test('a list that fits no row is said, and forgets the older one', async () => {
    const { clock, queue, saved, of } = house()
    queue.add('1', list('5', String(2n ** 70n)), 0, LOOK)
    queue.add('2', list('99999999999999999999'), 0, LOOK)
    queue.add('anna', list('5'), 0, LOOK)
    await clock.advance(1_000)
    expect(saved.flat()).toMatchObject([{ guilds: null }, { guilds: null }])
    expect(of('ledger.skipped').map((event) => 'reason' in event && event.reason)).toEqual(['id', 'list', 'list'])
  })

  test('is flushed when it is closed, and nothing is taken in after that', async () => {
    const { queue, users } = house()
    queue.add('1', list('5'), 0, LOOK)
    await queue.close()
    expect(queue.add('2', list('5'), 0, LOOK)).toBe(false)
    expect(users()).toEqual(['1'])
  })
})
