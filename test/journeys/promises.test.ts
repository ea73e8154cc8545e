import { createHoldfast } from 'holdfast'
import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'

// The times that README.md promises at its top, to the minute.

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const over: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of over.splice(0)) await close()
})

async function signedIn() {
  const clock = createVirtualClock()
  const discord = await startSimulator({ clock, users: 1, guildsPerUser: 2 })
  const holdfast = createHoldfast({ clock, discord: { baseUrl: discord.url, clientId: discord.clientId } })
  over.push(
    () => holdfast.close(),
    () => discord.close(),
  )
  const [user] = discord.users
  const guild = user!.guilds[0]!.id
  const status = async (method: string, options: { maxAgeMs?: number; live?: true } = {}) => {
    const request = { method, headers: new Headers({ authorization: `Bearer ${user!.accessToken}` }) }
    let answered = false
    const answer = holdfast
      .requireAuth(request, { guild, ...options })
      .then(
        ({ stale }) => (stale ? 'stale' : 200),
        (error) => error.status,
      )
      .finally(() => {
        answered = true
      })
    // Where something is sent, it may be waited for and sent again.
    for (let tenths = 0; tenths < 300; tenths++) {
      await clock.advance(answered ? 0 : 100)
      if (answered) break
    }
    return answer
  }
  expect(await status('GET')).toBe(200)
  const wait = async (ms: number) => clock.advance(ms)
  return { clock, discord, user: user!, guild, status, wait }
}

describe('who was removed from a guild', () => {
  test('changes something for 5 minutes at most, or for the maxAgeMs of the route', async () => {
    const { discord, user, guild, status, wait } = await signedIn()
    discord.leaveGuild(user.id, guild)
    await wait(4 * MINUTE_MS)
    expect(await status('PATCH')).toBe(200)
    expect(await status('GET', { maxAgeMs: 3 * MINUTE_MS })).toBe(403)
  })

  test('is out for changes after 5 minutes', async () => {
    const { discord, user, guild, status, wait } = await signedIn()
    discord.leaveGuild(user.id, guild)
    await wait(5 * MINUTE_MS + 1000)
    expect(await status('PATCH')).toBe(403)
    expect(await status('GET')).toBe(403)
  })

  test('is out for reads after an hour', async () => {
    const { discord, user, guild, status, wait } = await signedIn()
    discord.leaveGuild(user.id, guild)
    await wait(59 * MINUTE_MS)
    expect(await status('GET')).toBe(200)
    await wait(2 * MINUTE_MS)
    expect(await status('GET')).toBe(403)
  })

  test('is out at once for live: true', async () => {
    const { discord, user, guild, status, wait } = await signedIn()
    discord.leaveGuild(user.id, guild)
    await wait(6000)
    expect(await status('GET', { live: true })).toBe(403)
  })

  test('reads in an outage until 24 hours after the last answer, and changes nothing after 5 minutes', async () => {
    const { discord, status, wait } = await signedIn()
    discord.fault('server-error')
    await wait(23 * HOUR_MS + 59 * MINUTE_MS)
    expect(await status('GET')).toBe('stale')
    expect(await status('PATCH')).toBe(503)
    await wait(2 * MINUTE_MS)
    expect(await status('GET')).toBe(503)
  })
})

describe('a token that was revoked', () => {
  test('is 401 after an hour at most while Discord answers', async () => {
    const { discord, user, status, wait } = await signedIn()
    discord.revoke(user.id)
    await wait(59 * MINUTE_MS)
    expect(await status('GET')).toBe(200)
    await wait(2 * MINUTE_MS)
    expect(await status('GET')).toBe(401)
  })

  test('is 401 for everything once Discord has said so to anybody', async () => {
    const { discord, user, status, wait } = await signedIn()
    discord.revoke(user.id)
    await wait(5 * MINUTE_MS + 1000)
    expect(await status('PATCH')).toBe(401)
    expect(await status('GET')).toBe(401)
  })
})
