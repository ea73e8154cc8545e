import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Browser } from '../../sign-in/browser.ts'
import { hundredAtOnce, LIFETIME_MS, ORIGIN, refreshes, STORES, startFleet } from '../../sign-in/fleet.ts'

describe.each(STORES)('four processes on %s', { timeout: 60_000 }, (_name, store) => {
  test('a hundred requests at once with one expired token: one refresh, and nobody is signed out', async () => {
    await hundredAtOnce(await store())
  })

  test('a refreshing process that is killed signs nobody out', async () => {
    const { discord, workers, ask } = await startFleet(await store())
    for (const worker of workers) expect(await ask(worker)).toBe(200)
    await sleep(LIFETIME_MS + 100)
    const before = refreshes(discord)
    discord.fault('hang', { route: 'POST /oauth2/token', times: 1 })
    const [first, ...others] = workers
    const asked = ask(first!).catch(() => 'cut off')
    await expect.poll(() => refreshes(discord) - before).toBe(1)
    first!.child.kill('SIGKILL')
    await asked
    const killedAt = performance.now()
    const statuses = new Set<number>()
    // Until somebody else has taken over: what is held is shown meanwhile.
    while (refreshes(discord) - before < 2 && performance.now() - killedAt < 20_000)
      for (const status of await Promise.all(others.map(ask))) statuses.add(status)
    expect([...statuses]).toEqual([200])
    await expect
      .poll(() => others.some((worker) => worker.said().includes('refresh refreshed')), { timeout: 5_000 })
      .toBe(true)
    expect(others.some((worker) => worker.said().includes('refresh ended'))).toBe(false)
    expect(await Promise.all(others.map(ask))).toEqual([200, 200, 200])
  })

  test('a callback that comes to two processes is exchanged once, and each answer signs in', async () => {
    const { discord, workers, browser, at } = await startFleet(await store())
    const back = await browser.consent(await browser.send('/auth/discord?returnTo=/here'))
    const cookie = [...browser.cookies].map((pair) => pair.join('=')).join('; ')
    const exchanges = () =>
      discord.calls.filter(
        ({ body }) => (body as { grant_type?: string } | undefined)?.grant_type === 'authorization_code',
      ).length
    const before = exchanges()
    const answers = await Promise.all(workers.map((worker) => at(worker)(new Request(back, { headers: { cookie } }))))
    expect(exchanges() - before).toBe(1)
    for (const [index, answer] of answers.entries()) {
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/here'])
      const alone = new Browser(at(workers[(index + 1) % 4]!), ORIGIN)
      alone.keep(answer)
      expect((await alone.send('/me')).status).toBe(200)
    }
  })
})
