import { createHoldfast } from 'holdfast'
import { describe, expect, test } from 'vitest'
import { holdfast as command, run } from './command.ts'

/** The environment that `simulate` prints, as a shell would read it. */
const environmentIn = (out: string) =>
  Object.fromEntries([...out.matchAll(/^ {2}([A-Z_]+)=(\S+)$/gm)].map(([, name, value]) => [name!, value!]))

describe.concurrent('holdfast simulate', () => {
  test('prints an environment and tokens that work, and ends well when it is told to', async () => {
    await using simulator = command(['simulate', '--users', '12', '--guilds', '7', '--seed', '5'])
    await simulator.printed(/and 2 more\n/)
    const environment = environmentIn(simulator.out)
    expect(Object.keys(environment)).toEqual([
      'DISCORD_API_BASE_URL',
      'DISCORD_CLIENT_ID',
      'DISCORD_CLIENT_SECRET',
      'DISCORD_PUBLIC_KEY',
      'DISCORD_BOT_TOKEN',
    ])
    const users = [...simulator.out.matchAll(/^(\d{15,20}) +(\d+) +(\S{30})$/gm)]
    expect(users).toHaveLength(10)
    await using holdfast = createHoldfast({
      discord: { baseUrl: environment.DISCORD_API_BASE_URL!, clientId: environment.DISCORD_CLIENT_ID! },
    })
    const [, id, guilds, token] = users[3]!
    const headers = new Headers({ authorization: `Bearer ${token}` })
    const auth = await holdfast.requireAuth({ method: 'GET', headers })
    expect(auth.user.id).toBe(id)
    expect([auth.guilds.size, guilds]).toEqual([7, '7'])
    const bot = await holdfast.getCurrentUser(environment.DISCORD_BOT_TOKEN!, { tokenType: 'Bot' })
    expect(bot.id).toBe(environment.DISCORD_CLIENT_ID)
    // The whole environment is one that the doctor has nothing against.
    expect(await run(['doctor'], environment)).toMatchObject({ code: 0 })
    simulator.kill('SIGTERM')
    expect(await simulator.exit).toBe(0)
    expect(simulator.out).toMatch(/\d+ calls were made\.\n$/)
    expect(simulator.err).toBe('')
  })

  test('prints the same world for the same seed', async () => {
    const world = async (seed: string) => {
      await using simulator = command(['simulate', '--users', '2', '--seed', seed])
      await simulator.printed(/access token\n.*\n.*\n.*\n/)
      return simulator.out.replaceAll(/127\.0\.0\.1:\d+/g, 'here')
    }
    const [one, same, other] = await Promise.all([world('7'), world('7'), world('8')])
    expect(same).toBe(one)
    expect(other).not.toBe(one)
  })

  test('ends at Ctrl+C, also while a client keeps its connection open', async () => {
    await using simulator = command(['simulate'])
    await simulator.printed(/access token\n(.*\n){11}/)
    const { DISCORD_API_BASE_URL } = environmentIn(simulator.out)
    await (await fetch(`${DISCORD_API_BASE_URL}/gateway`)).text()
    simulator.kill('SIGINT')
    expect(await simulator.exit).toBe(0)
  })

  test('says in one sentence that a port is taken', async () => {
    await using simulator = command(['simulate'])
    const [, port] = await simulator.printed(/127\.0\.0\.1:(\d+)/)
    const { code, err } = await run(['simulate', '--port', port!])
    expect(code).toBe(1)
    expect(err).toContain(port!)
    expect(err.trim().split('\n')).toHaveLength(1)
  })

  test('--fault 429:1 throttles every call, and server-error breaks every one, from the start', async () => {
    for (const [words, status] of [
      ['429:1', 429],
      ['server-error', 502],
    ] as const) {
      await using simulator = command(['simulate', '--fault', words])
      await simulator.printed(/access token\n(.*\n){11}/)
      const { DISCORD_API_BASE_URL } = environmentIn(simulator.out)
      const [, , , token] = /^(\d{15,20}) +(\d+) +(\S{30})$/m.exec(simulator.out)!
      const answer = await fetch(`${DISCORD_API_BASE_URL}/users/@me`, { headers: { authorization: `Bearer ${token}` } })
      await answer.text()
      expect(answer.status).toBe(status)
    }
  })

  test.each(['429:2', '429:-1', '429:x', '429:', 'nonsense', 'nonsense:0.1', ''])(
    '--fault %j is exit code 1, with one sentence',
    async (words) => {
      const { code, out, err } = await run(['simulate', '--port', '0', '--fault', words])
      expect([code, out]).toEqual([1, ''])
      expect(err.startsWith('holdfast simulate: ')).toBe(true)
      expect(err.trim().split('\n')).toHaveLength(1)
    },
  )
})
