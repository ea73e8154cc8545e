import { createHoldfast } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { Browser } from '../sign-in/browser.ts'
import { siteOf } from '../sign-in/house.ts'
import { ownServer } from './own-server.ts'
import { SECRET, SERVERS, until } from './room.ts'

const ORIGIN = 'https://dash.example'

/** An app whose sessions are in a Redis of its own, and somebody who is signed in. */
async function signedIn(args: readonly string[]) {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await ownServer(args))
  const discord = await startSimulator({ users: 3 })
  stack.defer(() => discord.close())
  const holdfast = createHoldfast({
    publicUrl: ORIGIN,
    secret: SECRET,
    redis: { url: server.url, readTimeoutMs: 1_000, writeTimeoutMs: 2_000 },
    discord: { baseUrl: discord.url, clientId: discord.clientId, clientSecret: discord.clientSecret },
  })
  stack.defer(() => holdfast.close())
  await holdfast.ready({ deadlineMs: 10_000 })
  const browser = new Browser(siteOf(holdfast), ORIGIN)
  expect((await browser.signIn()).status).toBe(303)
  const me = async () => (await browser.send('/me')).status
  expect(await me()).toBe(200)
  return {
    server,
    browser,
    me,
    back: () => until(() => holdfast.stats().redis === 'up', 15_000, 'Redis to be back'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

describe.skipIf(!SERVERS)('sessions whose Redis is killed and started again', { timeout: 60_000 }, () => {
  test('with a file: refused with 503 meanwhile, and signed in again by themselves', async () => {
    await using app = await signedIn(['--appendonly', 'yes', '--appendfsync', 'always'])
    await app.server.kill()
    expect(await app.me()).toBe(503)
    // Who signs in meanwhile is told to come back, and is not half signed in.
    const stranger = await app.browser.send('/auth/discord', { cookies: false })
    expect(stranger.status).toBe(302)
    await app.server.start()
    await app.back()
    expect(await app.me()).toBe(200)
    expect((await app.browser.send('/auth/logout', { method: 'POST' })).status).toBe(303)
    expect(await app.me()).toBe(401)
  })

  test('without one: everybody is signed out, and signs in again', async () => {
    await using app = await signedIn([])
    const before = [...app.browser.cookies]
    await app.server.kill()
    await app.server.start()
    await app.back()
    expect(await app.me()).toBe(401)
    expect([...app.browser.cookies]).toEqual(before)
    expect((await app.browser.signIn()).status).toBe(303)
    expect(await app.me()).toBe(200)
  })
})
