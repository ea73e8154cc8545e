import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { holdfast as command, run } from './command.ts'

/** The processes that a process has started and that still run. */
const childrenOf = (pid: number) =>
  spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
    .stdout.split('\n')
    .flatMap((line) => (line.trim() === '' ? [] : [Number(line)]))

/** Whether a process runs; one that ended and that nobody has asked for its exit code yet does not. */
const isAlive = (pid: number) =>
  /^[^Z\s]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout)

/** The numbers of one row of the table: plain fetch, and Holdfast. */
const row = (out: string, name: string) => {
  const [, plain, held] = new RegExp(`^${name} +(\\S+(?: m?s)?) {2,}(\\S+(?: m?s)?)$`, 'm').exec(out) ?? []
  return [plain, held].map((text) => Number(text?.replace(',', '').replace(/ m?s$/, '')))
}

describe.concurrent('holdfast start', { timeout: 60_000 }, () => {
  test('--once plays the story twice, prints what came of it, and leaves nothing behind', async () => {
    await using story = command(['start', '--once', '--seconds', '10', '--users', '30'])
    const children = new Set<number>()
    let ended = false
    const exit = story.exit.finally(() => {
      ended = true
    })
    while (!ended) {
      for (const pid of childrenOf(story.pid)) children.add(pid)
      await Promise.race([exit, delay(250)])
    }
    expect(await exit).toBe(0)
    const [plainErrors, heldErrors] = row(story.out, 'errors shown to users')
    expect(plainErrors).toBeGreaterThan(0)
    expect(heldErrors).toBe(0)
    const [plainCalls, heldCalls] = row(story.out, 'calls sent to Discord')
    expect(heldCalls).toBeGreaterThan(30)
    expect(heldCalls).toBeLessThan(plainCalls!)
    const [plainLimited, heldLimited] = row(story.out, '429s received')
    expect(heldLimited).toBeLessThan(plainLimited!)
    const [plainStale, heldStale] = row(story.out, 'stale answers served')
    expect(plainStale).toBe(0)
    expect(heldStale).toBeGreaterThan(0)
    expect(story.out).toMatch(
      /^\d+ page views by 30 users in 10 s \(an hour is 5 s\), twice\. Seed 1, no token needed\./,
    )
    // Without a terminal the progress is a line for each stage, and no control characters.
    expect(story.err).toMatch(/plain fetch\s+calm\n/)
    expect(story.err).toMatch(/Holdfast\s+recovery\n/)
    expect(story.err).not.toContain('\u001b')
    expect(children.size).toBe(2)
    expect([...children].filter(isAlive)).toEqual([])
  })

  test('without --once opens the dashboard at once, tells the story beside it, and SIGTERM ends all of it', async () => {
    await using both = command(['start', '--seconds', '10', '--users', '5'], { PORT: '0' })
    const [, page] = await both.printed(/open (http:\/\/localhost:\d+\/)\n/)
    expect(await (await fetch(`${page}api/site`)).json()).toEqual({
      canSignIn: true,
      signedIn: false,
      laboratory: true,
    })
    const html = await fetch(page!)
    expect([html.status, html.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(html.headers.get('content-security-policy')).toContain("default-src 'self'")
    expect((await fetch(`${page}healthz`)).status).toBe(200)
    expect((await fetch(`${page}nothing-here`)).status).toBe(404)
    expect((await fetch(`${page}api/guilds`)).status).toBe(401)
    expect((await fetch(`${page}api/guilds`, { headers: { authorization: 'Bearer made-up' } })).status).toBe(401)
    // Nobody but the page makes trouble.
    const trouble = { method: 'POST', body: '{"trouble":"ban"}' }
    expect((await fetch(`${page}laboratory/trouble`, trouble)).status).toBe(403)
    await both.printed(/errors shown to users/)
    await both.printed(/The dashboard is still at/)
    const children = childrenOf(both.pid)
    expect(children).toHaveLength(1)
    both.kill('SIGTERM')
    expect(await both.exit).toBe(0)
    expect(children.filter(isAlive)).toEqual([])
    await expect(fetch(page!)).rejects.toThrow()
  })

  test('--once with DISCORD_API_BASE_URL starts the dashboard, plays nothing, and ends', async () => {
    await using discord = await startSimulator()
    const { code, out, err } = await run(['start', '--once'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
    })
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain(discord.url)
    expect(out).not.toContain('errors shown to users')
    expect(discord.calls).toEqual([])
  })

  test('with DISCORD_API_BASE_URL serves that Discord until it is ended', async () => {
    await using discord = await startSimulator()
    await using dashboard = command(['start'], {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
    })
    const [, url] = await dashboard.printed(/curl -H "Authorization: Bearer \$TOKEN" (\S+)\n/)
    const { accessToken, id } = discord.users[4]!
    const list = await fetch(url!, { headers: { authorization: `Bearer ${accessToken}` } })
    expect(await list.json()).toMatchObject({ stale: false, user: { id }, guilds: discord.users[4]!.guilds })
    expect((await fetch(url!)).status).toBe(401)
    const children = childrenOf(dashboard.pid)
    expect(children).toHaveLength(1)
    dashboard.kill('SIGINT')
    expect(await dashboard.exit).toBe(0)
    expect(children.filter(isAlive)).toEqual([])
  })

  test('ended in the middle of the story leaves no dashboard behind', async () => {
    await using story = command(['start', '--once', '--seconds', '10', '--users', '5'])
    let children: number[] = []
    while (children.length === 0) {
      await delay(100)
      children = childrenOf(story.pid)
    }
    await delay(1_000)
    story.kill('SIGTERM')
    await story.exit
    for (let tries = 0; tries < 20 && children.some(isAlive); tries++) await delay(100)
    const left = children.filter(isAlive)
    for (const pid of left) process.kill(pid, 'SIGKILL')
    expect(left).toEqual([])
  })

  test('says which variable is wrong when the dashboard cannot begin', async () => {
    const { code, out, err } = await run(['start', '--once'], { DISCORD_API_BASE_URL: 'not a url' })
    expect(code, out).toBe(1)
    expect(err).toContain('DISCORD_API_BASE_URL')
  })
})
