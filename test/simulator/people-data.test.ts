import { describe, expect, it } from 'vitest'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, bot, send, textChannel, visit } from './visitor.ts'

describe('people as data', () => {
  it('are who they were said to be; what was not said is drawn from the seed', async () => {
    const users = [
      {
        username: 'ann',
        email: null,
        avatar: null,
        global_name: 'Ann',
        guilds: ['Book club', { id: '42', name: 'Chess', owner: true }],
      },
      { id: '7', verified: false, email: 'bob@example.org', guilds: [{ name: 'Book club', permissions: '8' }] },
      {},
    ]
    await using simulator = await startSimulator({ users })
    await using again = await startSimulator({ users })
    const [ann, bob, carl] = simulator.users
    expect(JSON.stringify(simulator.users)).toBe(JSON.stringify(again.users))
    expect(ann!.guilds).toHaveLength(2)
    expect(ann!.guilds.find(({ id }) => id === '42')).toMatchObject({ name: 'Chess', owner: true })
    const club = ann!.guilds.find(({ name }) => name === 'Book club')!
    expect(bob).toMatchObject({ id: '7', guilds: [{ id: club.id, name: 'Book club', permissions: '8', owner: false }] })
    expect(carl!.guilds).toHaveLength(20)
    const me = async (nth: number) => (await visit(simulator, '/users/@me', { as: bearer(simulator, nth) })).json
    expect(await me(0)).toMatchObject({
      username: 'ann',
      global_name: 'Ann',
      email: null,
      avatar: null,
      verified: false,
    })
    expect(await me(1)).toMatchObject({ id: '7', email: 'bob@example.org', verified: false })
    expect(await me(2)).toMatchObject({ email: `${carl!.username}@example.com`, verified: true })
  })

  it('may be in no guild at all', async () => {
    await using simulator = await startSimulator({ users: [{ guilds: [] }] })
    expect((await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })).json).toEqual([])
  })
})

describe('a saved world', () => {
  it('is the same when it is loaded, through JSON', async () => {
    await using first = await startSimulator({ seed: 5, users: 3 })
    const guild = first.users[0]!.guilds[0]!
    const channel = first.guilds.find(({ id }) => id === guild.id)!.channels[0]!
    await send(first, 'POST', `/channels/${channel.id}/messages`, { content: 'kept' })
    const { json: role } = await send(first, 'POST', `/guilds/${guild.id}/roles`, { name: 'Kept', permissions: '32' })
    await visit(first, `/guilds/${guild.id}/members/${first.users[0]!.id}/roles/${role.id}`, {
      as: bot(first),
      method: 'PUT',
    })
    const left = first.users[1]!.guilds.find(({ id }) => id !== guild.id)!
    first.leaveGuild(first.botId, left.id)
    first.leaveGuild(first.users[2]!.id, first.users[2]!.guilds[0]!.id)
    const saved = JSON.parse(JSON.stringify(first.save()))
    await send(first, 'POST', `/channels/${channel.id}/messages`, { content: 'later' })

    await using second = await startSimulator({ world: saved })
    expect(second.clientId).toBe(first.clientId)
    expect(JSON.stringify(second.users)).toBe(JSON.stringify(first.users))
    const listed = await visit(second, `/channels/${channel.id}/messages`, { as: bot(second) })
    expect(listed.json.map(({ content }: { content: string }) => content)).toEqual(['kept'])
    const member = await visit(second, `/guilds/${guild.id}/members/${first.users[0]!.id}`, { as: bot(second) })
    expect(member.json.roles).toContain(role.id)
    expect((await visit(second, `/guilds/${left.id}`, { as: bot(second) })).status).toBe(404)
    expect((await visit(second, '/users/@me/guilds', { as: bearer(second) })).text).toBe(
      (await visit(first, '/users/@me/guilds', { as: bearer(first) })).text,
    )
    expect(JSON.parse(JSON.stringify(second.save()))).toEqual(saved)
    await send(second, 'POST', `/channels/${channel.id}/messages`, { content: 'elsewhere' })
    expect(saved.messages).toHaveLength(1)
  })

  it('brings its own seed and people', async () => {
    await using simulator = await startSimulator({ users: 1 })
    await expect(startSimulator({ world: simulator.save(), users: 3 })).rejects.toThrow(/users is what it was/)
    await expect(startSimulator({ world: { ...simulator.save(), users: [] } })).rejects.toThrow(/at least one user/)
  })

  it('shares nothing with another of the same seed', async () => {
    await using one = await startSimulator()
    await using two = await startSimulator()
    const channel = textChannel(one)
    await send(one, 'POST', `/channels/${channel}/messages`, { content: 'here' })
    await send(one, 'PATCH', `/guilds/${one.guilds[0]!.id}`, { name: 'Renamed' })
    expect((await visit(two, `/channels/${channel}/messages`, { as: bot(two) })).json).toEqual([])
    expect(two.guilds[0]!.name).not.toBe('Renamed')
    expect(two.calls).toHaveLength(1)
  })
})
