import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { HOUR, openWorld } from './world.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a script that imports the built package in a process of its own, until that ends by itself. */
async function run(script: string, environment: Record<string, string> = {}) {
  const began = performance.now()
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      printed += chunk
    })
  const hung = setTimeout(() => child.kill('SIGKILL'), 15_000)
  const [code] = await once(child, 'close')
  clearTimeout(hung)
  // The script says when it had nothing left to do; its start is the machine's affair.
  const doneAt = Number(/done at (\d+)/.exec(printed)?.[1] ?? Number.NaN)
  return { code, printed, lingeredMs: Date.now() - doneAt, tookMs: performance.now() - began }
}

const DONE = "process.stdout.write('done at ' + Date.now() + '\\n')"

describe('a process ends by itself', () => {
  test('when it only imports Holdfast', async () => {
    const { code, printed, lingeredMs } = await run(
      `import 'holdfast'; import { createHoldfast } from 'holdfast'; createHoldfast(); ${DONE}`,
    )
    expect([code, printed]).toEqual([0, expect.stringMatching(/^done at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(1_000)
  })

  const CALL = `
    import { createHoldfast } from 'holdfast'
    const holdfast = createHoldfast()
    const headers = new Headers({ authorization: 'Bearer ' + process.env.TOKEN })
    const auth = await holdfast.requireAuth({ method: 'GET', headers })
    process.stdout.write(auth.guilds.size + ' guilds\\n')
  `
  const CLOSE = 'await holdfast.close(); await holdfast.close();'

  test.each([
    ['after one call and close()', `${CALL}${CLOSE}${DONE}`],
    ['after one call, without close(): nothing that is idle keeps it alive', `${CALL}${DONE}`],
  ])('%s', async (_name, script) => {
    await using discord = await startSimulator()
    const { code, printed, lingeredMs } = await run(script, {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      TOKEN: discord.users[0]!.accessToken,
    })
    expect([code, printed]).toEqual([0, expect.stringMatching(/^20 guilds\ndone at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(2_000)
  })

  test('when close() comes in the middle of calls that hang, wait and queue', async () => {
    await using discord = await startSimulator()
    discord.fault('hang', { route: '/oauth2/@me' })
    discord.fault('rate-limit', { route: '/users/@me', retryAfterMs: 9_000 })
    const { code, printed, lingeredMs } = await run(
      `
      import { createHoldfast } from 'holdfast'
      const holdfast = createHoldfast({ discord: { maxWaitMs: 60_000 } })
      const token = process.env.TOKEN
      const calls = [
        ...Array.from({ length: 5 }, (_, nth) => holdfast.getUserGuilds(token, { principal: 'u', maxRetries: nth })),
        holdfast.getCurrentUser(token),
        holdfast.discordFetch('/oauth2/@me', token),
      ]
      const ends = Promise.allSettled(calls)
      await new Promise((resolve) => setTimeout(resolve, 150))
      await holdfast.close()
      const codes = (await ends).filter((end) => end.status === 'rejected').map((end) => end.reason.code)
      process.stdout.write(codes.join() + '\\n')
      ${DONE}
      `,
      { DISCORD_API_BASE_URL: discord.url, TOKEN: discord.users[0]!.accessToken },
    )
    expect([code, printed]).toEqual([0, expect.stringMatching(/^CLOSED(,CLOSED){5}\ndone at \d+\n$/)])
    expect(lingeredMs).toBeLessThan(2_000)
  })
})

describe('close()', () => {
  test('leaves no sleeper on the clock and no socket, whatever was under way', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
    const before = sockets()
    const world = await openWorld({ simulator: { users: 5 } })
    const { clock, discord, holdfast } = world
    for (const user of discord.users) await world.asked(user)
    expect(sockets()).toBeGreaterThan(before)
    expect(clock.sleepers).toBe(0)
    await clock.advance(2 * HOUR)
    discord.fault('hang', { userId: discord.users[0]!.id })
    discord.fault('rate-limit', { userId: discord.users[1]!.id, retryAfterMs: 5_000 })
    const pages = Promise.allSettled(discord.users.map((user) => world.asked(user)))
    const calls = Promise.allSettled(
      discord.users.map(({ id, accessToken }) => holdfast.getUserGuilds(accessToken, { principal: id })),
    )
    await world.settle()
    expect(clock.sleepers).toBeGreaterThan(0)
    await world.drive(holdfast.close({ deadlineMs: 0 }))
    await Promise.all([pages, calls])
    await discord.close()
    await world.settle()
    expect(clock.sleepers).toBe(0)
    expect(sockets()).toBe(before)
  })

  test('refuses what comes after it', async () => {
    const world = await openWorld()
    await world.asked(world.user)
    await world.holdfast.close()
    await expect(world.holdfast.getCurrentUser(world.user.accessToken)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(world.holdfast.memberships({ userId: '1', accessToken: 'x' })).rejects.toMatchObject({
      code: 'CLOSED',
    })
    await world.discord.close()
  })
})
