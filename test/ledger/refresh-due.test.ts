import { createHoldfast, type Holdfast } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { DATABASES } from '../database/databases.ts'

const SECRET = 'a-secret-of-at-least-32-bytes-for-tests'
const HOUR = 3_600_000
const LATENCY_MS = 100
const AT_ONCE = 10

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

describe.each(DATABASES)('refreshDue in %s', (_kind, make) => {
  async function house(users: number, { latencyMs = 0, instances = 1 } = {}) {
    const database = await make()
    cleanUps.push(() => database.drop())
    const clock = createVirtualClock()
    const discord = await startSimulator({ users, guildsPerUser: 2, clock, latencyMs })
    cleanUps.push(() => discord.close())
    const open = (): Holdfast => {
      const holdfast = createHoldfast({
        discord: { baseUrl: discord.url },
        database: database.url,
        secret: SECRET,
        clock,
      })
      cleanUps.push(() => holdfast.close())
      return holdfast
    }
    /** Lets virtual time pass while `work` is under way. */
    const timed = async <T>(work: Promise<T>): Promise<{ result: T }> => {
      let done = false
      const watched = work.finally(() => {
        done = true
      })
      watched.catch(() => {})
      while (!done) await clock.advance(10)
      return { result: await watched }
    }
    const tokens = new Map(discord.users.map(({ id, accessToken }) => [id, accessToken]))
    const token = async (userId: string) => tokens.get(userId) ?? null
    const first = open()
    for (const { id: userId, accessToken } of discord.users) {
      await timed(first.memberships({ userId, accessToken }))
      await clock.advance(1)
    }
    await first.close()
    await clock.advance(2 * HOUR)
    const from = discord.calls.length
    const asked = () => discord.calls.slice(from)
    return { clock, discord, database, timed, token, asked, holdfasts: Array.from({ length: instances }, open) }
  }

  test('fetches each due user once, the oldest first, and then nobody', async () => {
    const { discord, timed, token, asked, holdfasts } = await house(12)
    const [holdfast] = holdfasts as [Holdfast]
    const progress: number[][] = []
    const first = await timed(
      holdfast.ledger.refreshDue({
        olderThanMs: HOUR,
        limit: 5,
        token,
        atOnce: 1,
        onProgress: (...words) => progress.push(words),
      }),
    )
    expect(first.result).toEqual({ refreshed: 5, skipped: 0, failed: 0 })
    expect(progress).toEqual([0, 1, 2, 3, 4, 5].map((done) => [done, 5]))
    expect(asked().map(({ userId }) => userId)).toEqual(discord.users.slice(0, 5).map(({ id }) => id))
    const rest = await timed(holdfast.ledger.refreshDue({ olderThanMs: HOUR, limit: 100, token }))
    expect(rest.result).toEqual({ refreshed: 7, skipped: 0, failed: 0 })
    expect((await timed(holdfast.ledger.refreshDue({ olderThanMs: HOUR, limit: 100, token }))).result.refreshed).toBe(0)
    expect(new Set(asked().map(({ userId }) => userId)).size).toBe(asked().length)
    expect((await holdfast.ledger.summary()).ages).toEqual([{ days: 0, users: 12 }])
  })

  test('four instances share the work: no user twice, no 429, and each does some of it', async () => {
    const users = 240
    const { timed, token, asked, holdfasts } = await house(users, { latencyMs: LATENCY_MS, instances: 4 })
    const { result } = await timed(
      Promise.all(
        holdfasts.map(({ ledger }) => ledger.refreshDue({ olderThanMs: HOUR, limit: users, token, atOnce: AT_ONCE })),
      ),
    )
    expect(result.reduce((sum, { refreshed }) => sum + refreshed, 0)).toBe(users)
    expect(asked()).toHaveLength(users)
    expect(new Set(asked().map(({ userId }) => userId)).size).toBe(users)
    expect(asked().filter(({ status }) => status !== 200)).toEqual([])
    for (const { refreshed } of result) expect(refreshed).toBeGreaterThan(0)
  })

  test('a user without a token, or whose token throws or hangs, is skipped; one that Discord refuses is failed', async () => {
    const { discord, clock, timed, token, asked, holdfasts } = await house(6)
    const [holdfast] = holdfasts as [Holdfast]
    const ids = discord.users.map(({ id }) => id)
    discord.revoke(ids[3]!)
    const odd = async (userId: string) => {
      if (userId === ids[0]) return null
      if (userId === ids[1]) throw new Error('the app has no token either')
      if (userId === ids[2]) return new Promise<string>(() => {})
      return token(userId)
    }
    const all = { olderThanMs: HOUR, limit: 100 }
    expect((await timed(holdfast.ledger.refreshDue({ ...all, token: odd }))).result).toEqual({
      refreshed: 2,
      skipped: 3,
      failed: 1,
    })
    // Left alone for a while, so that they do not stand before the others again; the revoked one is forgotten.
    const again = vi.fn(token)
    await timed(holdfast.ledger.refreshDue({ ...all, token: again }))
    expect(again).not.toHaveBeenCalled()
    expect(await holdfast.ledger.recall(ids[3]!)).toBeUndefined()
    await clock.advance(61 * 60_000)
    expect((await timed(holdfast.ledger.refreshDue({ ...all, token }))).result.refreshed).toBe(5)
    expect(asked().filter(({ userId }) => userId === ids[3])).toHaveLength(1)
  })

  test('ends early where Discord takes no calls of ours, and the rest is due at once', async () => {
    const { discord, timed, token, asked, holdfasts } = await house(60)
    const [holdfast] = holdfasts as [Holdfast]
    const end = discord.fault('ban')
    const { result } = await timed(holdfast.ledger.refreshDue({ olderThanMs: HOUR, limit: 100, token, atOnce: 2 }))
    expect(result.refreshed).toBe(0)
    expect(asked().length).toBeLessThan(10)
    end()
    const other = createHoldfast({ discord: { baseUrl: discord.url } })
    await other.close()
  })

  test('can be aborted, and gone on with by another process', async () => {
    const { timed, token, asked, holdfasts } = await house(30, { latencyMs: LATENCY_MS, instances: 2 })
    const [one, other] = holdfasts as [Holdfast, Holdfast]
    const abort = new AbortController()
    const aborted = timed(
      one.ledger.refreshDue({
        olderThanMs: HOUR,
        limit: 30,
        token,
        atOnce: 2,
        signal: abort.signal,
        onProgress: (done) => done === 4 && abort.abort(new Error('enough')),
      }),
    )
    await expect(aborted).rejects.toThrow('enough')
    const { result } = await timed(other.ledger.refreshDue({ olderThanMs: HOUR, limit: 30, token }))
    expect(result.refreshed).toBeGreaterThanOrEqual(25)
    // One that was under way when it ended may have been asked for.
    expect(asked().length).toBeLessThanOrEqual(32)
    expect((await other.ledger.summary()).ages).toEqual([{ days: 0, users: 30 }])
  })

  test('what a page held older is not shown any more', async () => {
    const { discord, clock, timed, token, holdfasts } = await house(1, { instances: 1 })
    const [holdfast] = holdfasts as [Holdfast]
    const [{ id: userId, accessToken, guilds }] = discord.users as [(typeof discord.users)[number]]
    await timed(holdfast.memberships({ userId, accessToken }))
    await clock.advance(20 * 60_000)
    const left = guilds[0]!.id
    discord.leaveGuild(userId, left)
    await timed(holdfast.ledger.refreshDue({ olderThanMs: 10 * 60_000, limit: 1, token }))
    const shown = await holdfast.memberships({ userId, accessToken })
    expect(shown.guilds.has(left)).toBe(false)
  })

  test('senseless options are refused before anything is claimed', async () => {
    const { token, holdfasts } = await house(1)
    const [{ ledger }] = holdfasts as [Holdfast]
    const good = { olderThanMs: HOUR, limit: 1, token }
    for (const bad of [
      { olderThanMs: -1 },
      { olderThanMs: Number.NaN },
      { limit: 1.5 },
      { limit: -1 },
      { token: 'x' },
      { atOnce: 0 },
    ])
      await expect(ledger.refreshDue({ ...good, ...(bad as object) })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    expect(await ledger.refreshDue({ ...good, limit: 0 })).toEqual({ refreshed: 0, skipped: 0, failed: 0 })
  })
})
