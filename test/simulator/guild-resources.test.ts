import { describe, expect, it } from 'vitest'
import { createVirtualClock, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, bot, send, visit } from './visitor.ts'

async function open() {
  const clock = createVirtualClock()
  const simulator = await startSimulator({ clock, users: 3, botGlobalPerSecond: Infinity })
  const as = bot(simulator)
  const user = simulator.users[0]!
  const guild = user.guilds.find(({ owner }) => !owner)!
  const path = `/guilds/${guild.id}`
  const call = (method: string, rest: string) => visit(simulator, path + rest, { as, method })
  const write = (method: string, rest: string, body: unknown) => send(simulator, method, path + rest, body)
  return { clock, simulator, as, user, guild, path, call, write, [Symbol.asyncDispose]: () => simulator.close() }
}

describe('roles', () => {
  it('are made, changed, given and taken, and a user’s own list shows what they give', async () => {
    await using world = await open()
    const { user, guild, call, write, simulator } = world
    const { json: role } = await write('POST', '/roles', { name: 'Helpers', permissions: '32', color: 255 })
    expect(role).toMatchObject({ name: 'Helpers', permissions: '32', color: 255, colors: { primary_color: 255 } })
    expect((await write('PATCH', `/roles/${role.id}`, { permissions: String(1n << 40n) })).json.permissions).toBe(
      String(1n << 40n),
    )
    const held = () => BigInt(user.guilds.find(({ id }) => id === guild.id)!.permissions) & (1n << 40n)
    expect(held()).toBe(0n)
    expect((await call('PUT', `/members/${user.id}/roles/${role.id}`)).status).toBe(204)
    expect(held()).toBe(1n << 40n)
    await write('PATCH', `/roles/${role.id}`, { permissions: '0' })
    expect(held()).toBe(0n)
    const listed = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect(listed.json.find(({ id }: { id: string }) => id === guild.id).permissions).toBe(
      user.guilds.find(({ id }) => id === guild.id)!.permissions,
    )
    expect((await call('DELETE', `/roles/${role.id}`)).status).toBe(204)
    expect((await call('GET', `/members/${user.id}`)).json.roles).not.toContain(role.id)
    expect((await call('PUT', `/members/${user.id}/roles/1`)).json).toEqual({ message: 'Unknown Role', code: 10011 })
    expect((await call('DELETE', `/roles/${guild.id}`)).json.code).toBe(50028)
  })
})

describe('members', () => {
  it('are listed by id, found by name, renamed, silenced, kicked and banned', async () => {
    await using world = await open()
    const { simulator, user, guild, call, write, clock } = world
    const { json: all } = await call('GET', '/members?limit=1000')
    const ids = all.map((member: { user: { id: string } }) => member.user.id)
    expect(ids).toContain(user.id)
    expect(ids).toContain(simulator.botId)
    expect(ids).toEqual([...ids].sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1)))
    expect((await call('GET', `/members?limit=1&after=${ids[0]}`)).json[0].user.id).toBe(ids[1])
    const found = await call('GET', `/members/search?query=${user.username.slice(0, 4).toUpperCase()}&limit=10`)
    expect(found.json.map((member: { user: { id: string } }) => member.user.id)).toContain(user.id)
    expect((await write('PATCH', `/members/${user.id}`, { nick: 'Nick' })).json.nick).toBe('Nick')
    const until = new Date(clock.now() + 60_000).toISOString()
    const silenced = await write('PATCH', `/members/${user.id}`, { communication_disabled_until: until })
    expect(Date.parse(silenced.json.communication_disabled_until)).toBe(clock.now() + 60_000)
    expect((await write('PATCH', `/members/${user.id}`, { roles: ['1'] })).json.code).toBe(10011)
    expect((await write('PATCH', `/members/${user.id}`, { roles: 5 })).json.code).toBe(50035)
    await clock.advance(10_000)
    expect((await call('DELETE', `/members/${user.id}`)).status).toBe(204)
    expect(user.guilds.some(({ id }) => id === guild.id)).toBe(false)
    const reason = { as: bot(simulator), method: 'PUT', headers: { 'x-audit-log-reason': encodeURIComponent('böse') } }
    expect((await visit(simulator, `/guilds/${guild.id}/bans/${user.id}`, reason)).status).toBe(204)
    expect((await call('GET', `/bans/${user.id}`)).json).toMatchObject({ reason: 'böse', user: { id: user.id } })
    expect((await call('DELETE', `/bans/${user.id}`)).status).toBe(204)
    expect((await call('GET', `/bans/${user.id}`)).json.code).toBe(10026)
  })

  it('join with their own token and the scope guilds.join', async () => {
    await using world = await open()
    const { simulator, user, guild, write } = world
    simulator.leaveGuild(user.id, guild.id)
    const plain = await write('PUT', `/members/${user.id}`, { access_token: user.accessToken })
    expect([plain.status, plain.json.code]).toEqual([403, 50025])
    const access_token = simulator.issueToken(user.id, { scopes: ['guilds.join'] })
    expect((await write('PUT', `/members/${user.id}`, { access_token })).status).toBe(201)
    expect((await write('PUT', `/members/${user.id}`, { access_token })).status).toBe(204)
    expect(JSON.stringify(simulator.calls)).not.toContain(access_token)
  })
})

describe('channels', () => {
  it('are made, changed, listed and deleted', async () => {
    await using world = await open()
    const { simulator, guild, call, write, as } = world
    const made = await write('POST', '/channels', { name: 'news', type: 5, topic: 'What is new' })
    expect([made.status, made.json]).toEqual([
      201,
      expect.objectContaining({
        name: 'news',
        type: 5,
        topic: 'What is new',
        guild_id: guild.id,
        permission_overwrites: [],
      }),
    ])
    expect(
      (await send(simulator, 'PATCH', `/channels/${made.json.id}`, { name: 'old', nsfw: true })).json,
    ).toMatchObject({
      name: 'old',
      nsfw: true,
    })
    const listed = (await call('GET', '/channels')).json
    expect(listed.map(({ name }: { name: string }) => name)).toEqual(['general', 'random', 'Lounge', 'old'])
    expect((await visit(simulator, `/channels/${made.json.id}`, { as, method: 'DELETE' })).status).toBe(200)
    expect((await visit(simulator, `/channels/${made.json.id}`, { as })).json.code).toBe(10003)
    expect((await write('POST', '/channels', {})).json.errors.name._errors[0].code).toBe('BASE_TYPE_REQUIRED')
    expect((await write('POST', '/channels', { name: 'x', type: 3 })).json.errors.type._errors[0].code).toBe(
      'BASE_TYPE_CHOICES',
    )
  })

  it('can be a conversation with one user', async () => {
    await using world = await open()
    const { simulator, user } = world
    const opened = await send(simulator, 'POST', '/users/@me/channels', { recipient_id: user.id })
    expect(opened.json).toMatchObject({ type: 1, recipients: [{ id: user.id }] })
    const again = await send(simulator, 'POST', '/users/@me/channels', { recipient_id: user.id })
    expect(again.json.id).toBe(opened.json.id)
    expect((await send(simulator, 'POST', `/channels/${opened.json.id}/messages`, { content: 'psst' })).status).toBe(
      200,
    )
    expect((await send(simulator, 'POST', '/users/@me/channels', { recipient_id: '1' })).json.code).toBe(50033)
  })
})

describe('a guild', () => {
  it('has every field of Discord’s, counts where asked for, and shows its new name everywhere', async () => {
    await using world = await open()
    const { user, guild, call, write } = world
    const { json } = await call('GET', '?with_counts=TRUE')
    for (const field of [
      'roles',
      'emojis',
      'stickers',
      'verification_level',
      'preferred_locale',
      'nsfw_level',
      'premium_tier',
    ])
      expect(json).toHaveProperty(field)
    expect(json.approximate_member_count).toBeGreaterThan(0)
    expect((await call('GET', '')).json).not.toHaveProperty('approximate_member_count')
    expect((await write('PATCH', '', { name: 'Renamed' })).json.name).toBe('Renamed')
    expect(user.guilds.find(({ id }) => id === guild.id)!.name).toBe('Renamed')
    expect((await write('PATCH', '', { name: 'x' })).json.errors.name._errors[0].code).toBe('BASE_TYPE_BAD_LENGTH')
  })

  it('is out of bounds for a bot without the permission: 50013', async () => {
    await using world = await open()
    const { simulator, guild, write, call, user } = world
    simulator.joinGuild(simulator.botId, { id: guild.id, name: guild.name, permissions: '1024' })
    for (const answer of [
      await write('PATCH', '', { name: 'Mine' }),
      await write('POST', '/roles', {}),
      await write('POST', '/channels', { name: 'x' }),
      await call('DELETE', `/members/${user.id}`),
      await call('GET', '/bans'),
    ])
      expect([answer.status, answer.json]).toEqual([403, { message: 'Missing Permissions', code: 50013 }])
  })
})

describe('application commands', () => {
  it('are registered one by one and all at once, and keep their ids by name', async () => {
    await using world = await open()
    const { simulator, as } = world
    const path = `/applications/${simulator.clientId}/commands`
    const made = await send(simulator, 'POST', path, { name: 'ping', description: 'Pongs' })
    expect([made.status, made.json]).toMatchObject([201, { name: 'ping', type: 1, application_id: simulator.clientId }])
    const again = await send(simulator, 'POST', path, { name: 'ping', description: 'Pongs twice' })
    expect([again.status, again.json.id]).toEqual([200, made.json.id])
    const all = await send(simulator, 'PUT', path, [
      { name: 'ping', description: 'x' },
      { name: 'User', type: 2 },
    ])
    expect(all.json.map(({ name }: { name: string }) => name)).toEqual(['ping', 'User'])
    expect(all.json[0].id).toBe(made.json.id)
    expect((await visit(simulator, path, { as })).json).toEqual(all.json)
    expect((await send(simulator, 'POST', path, { name: 'Has Spaces', description: 'x' })).json.code).toBe(50035)
    expect((await send(simulator, 'PUT', path, { name: 'x' })).json.code).toBe(50035)
    expect((await visit(simulator, path, { as })).json).toEqual(all.json)
    expect((await visit(simulator, `${path}/1`, { as })).json.code).toBe(10063)
    expect((await visit(simulator, '/applications/1/commands', { as })).json.code).toBe(50001)
  })
})
