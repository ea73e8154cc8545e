import { ConfigError } from 'holdfast'
import { describe, expect, it } from 'vitest'
import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { bearer, bot, visit } from './visitor.ts'

const quick: SimulatorOptions = { userGuildsLimit: { limit: 1000, windowMs: 1000, kind: 'fixed' } }
const ADMINISTRATOR = 1n << 3n
const MANAGE_GUILD = 1n << 5n

describe('the simulated world', () => {
  it('is the same for the same seed, and another for another', async () => {
    await using first = await startSimulator({ seed: 7, users: 3 })
    await using second = await startSimulator({ seed: 7, users: 3 })
    await using other = await startSimulator({ seed: 8, users: 3 })
    const facts = ({ users, botToken, clientId, clientSecret, publicKey }: typeof first) =>
      JSON.stringify({ users, botToken, clientId, clientSecret, publicKey })
    expect(facts(first)).toBe(facts(second))
    expect(facts(first)).not.toBe(facts(other))
    expect((await visit(first, '/users/@me/guilds', { as: bearer(first) })).text).toBe(
      (await visit(second, '/users/@me/guilds', { as: bearer(second) })).text,
    )
  })

  it('gives a user the same guilds whatever the others ask', async () => {
    await using one = await startSimulator()
    await using two = await startSimulator()
    two.users.map((user) => user.guilds)
    expect(one.users[5]!.guilds).toEqual(two.users[5]!.guilds)
  })

  it('has ten users in twenty guilds each, owners, administrators and managers among them, and shared guilds', async () => {
    await using simulator = await startSimulator()
    const { users } = simulator
    expect(users).toHaveLength(10)
    expect(new Set(users.map(({ id }) => id)).size).toBe(10)
    for (const { guilds, accessToken } of users) {
      expect(new Set(guilds.map(({ id }) => id)).size).toBe(20)
      expect(accessToken).toMatch(/^[A-Za-z0-9]{30}$/)
      expect(guilds.some(({ owner, permissions }) => !owner && BigInt(permissions) & ADMINISTRATOR)).toBe(true)
      expect(guilds.some(({ owner, permissions }) => !owner && BigInt(permissions) & MANAGE_GUILD)).toBe(true)
      expect(guilds.some(({ permissions }) => !(BigInt(permissions) & (ADMINISTRATOR | MANAGE_GUILD)))).toBe(true)
    }
    expect(users[0]!.guilds.some(({ owner }) => owner)).toBe(true)
    expect(users[1]!.guilds.some(({ owner }) => owner)).toBe(false)
    const ids = users.flatMap(({ guilds }) => guilds.map(({ id }) => id))
    expect(new Set(ids).size).toBeLessThan(ids.length)
  })

  it('serves a hundred guilds in 18 to 28 KB', async () => {
    await using simulator = await startSimulator({ users: 1, guildsPerUser: 100 })
    const { text, json } = await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })
    expect(json).toHaveLength(100)
    expect(text.length).toBeGreaterThan(18_000)
    expect(text.length).toBeLessThan(28_000)
  })

  it.each([
    [{ users: [] }, RangeError, /users must be a list of at least one/],
    [{ users: [{ name: 'ann' }] }, TypeError, /users\[0\] has no field name; there are id, username/],
    [{ users: [{ email: 5 }] }, TypeError, /users\[0\]\.email must be a text or null, not 5/],
    [{ users: [{ guilds: [{ id: '1' }] }] }, TypeError, /users\[0\]\.guilds\[0\] must be a name/],
    [{ users: [{ guilds: [{ name: 'x', permissions: 8 }] }] }, TypeError, /guilds\[0\]\.permissions must be/],
    [{ users: [{ username: 'a' }, { username: 'a' }] }, TypeError, /users\[1\]\.username is the same as/],
    [{ users: '10' }, RangeError, /users must be a whole number/],
    [{ world: {} }, TypeError, /world must be what simulator\.save\(\) gave/],
    [{ host: 5 }, TypeError, /host/],
    [{ users: 0 }, RangeError, /users must be a whole number, 1 to 1000000, not 0/],
    [{ users: -1 }, RangeError, /users/],
    [{ guildsPerUser: 201 }, RangeError, /guildsPerUser/],
    [{ seed: 1.5 }, RangeError, /seed/],
    [{ port: 65_536 }, RangeError, /port/],
    [{ latencyMs: -1 }, RangeError, /latencyMs/],
    [{ latencyMs: [5, 1] }, RangeError, /latencyMs/],
    [{ userGuildsLimit: { limit: 0, windowMs: 1000, kind: 'leaky' } }, RangeError, /userGuildsLimit\.limit/],
    [{ userGuildsLimit: { limit: 1, windowMs: 0, kind: 'leaky' } }, RangeError, /userGuildsLimit\.windowMs/],
    [{ userGuildsLimit: { limit: 1, windowMs: 1, kind: 'sliding' } }, TypeError, /userGuildsLimit\.kind/],
    [{ botGlobalPerSecond: 0 }, RangeError, /botGlobalPerSecond/],
    [{ invalidLimit: { count: 0, windowMs: 1 } }, RangeError, /invalidLimit\.count/],
    [{ maxCalls: Number.NaN }, RangeError, /maxCalls/],
    [{ clock: {} }, TypeError, /clock/],
    [{ requireUserAgent: 'no' }, TypeError, /requireUserAgent/],
    [{ user: 3 }, ConfigError, /there is no option user; did you mean users/],
  ])('refuses %j and names the option', async (options, kind, message) => {
    const starting = startSimulator(options as SimulatorOptions)
    await expect(starting).rejects.toBeInstanceOf(kind)
    await expect(starting).rejects.toThrow(message)
  })

  it('rejects with the system’s error when the port is taken', async () => {
    await using simulator = await startSimulator()
    const port = Number(new URL(simulator.url).port)
    await expect(startSimulator({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})

describe('guild lists', () => {
  it('have the shape of Discord’s partial guilds, sorted by id, with counts only when asked for', async () => {
    await using simulator = await startSimulator(quick)
    const as = bearer(simulator)
    const { json } = await visit(simulator, '/users/@me/guilds', { as })
    expect(Object.keys(json[0])).toEqual(['id', 'name', 'icon', 'banner', 'owner', 'permissions', 'features'])
    expect(
      json.map(({ id, name, owner, permissions }: (typeof json)[0]) => ({ id, name, owner, permissions })),
    ).toEqual(simulator.users[0]!.guilds)
    const ids = json.map(({ id }: { id: string }) => BigInt(id))
    expect(ids).toEqual([...ids].sort((a, b) => (a < b ? -1 : 1)))
    const counted = await visit(simulator, '/users/@me/guilds?with_counts=True', { as })
    expect(counted.json[0].approximate_member_count).toBeGreaterThan(0)
    expect(counted.json[0].approximate_presence_count).toBeGreaterThan(0)
    const uncounted = await visit(simulator, '/users/@me/guilds?with_counts=false', { as })
    expect(uncounted.json).toEqual(json)
  })

  it('can be read page by page, forwards and backwards', async () => {
    await using simulator = await startSimulator(quick)
    const as = bearer(simulator)
    const all = simulator.users[0]!.guilds.map(({ id }) => id)
    const page = async (query: string) =>
      (await visit(simulator, `/users/@me/guilds?${query}`, { as })).json.map(({ id }: { id: string }) => id)
    expect(await page('limit=5')).toEqual(all.slice(0, 5))
    expect(await page(`limit=5&after=${all[4]}`)).toEqual(all.slice(5, 10))
    expect(await page(`limit=5&before=${all[10]}`)).toEqual(all.slice(5, 10))
    expect(await page(`after=${all.at(-1)}`)).toEqual([])
    expect(await page('after=0')).toEqual(all)
  })

  it.each(['limit=0', 'limit=201', 'limit=ten', 'limit=-1', 'before=x', 'after=1.5'])(
    'refuse %s with code 50035',
    async (query) => {
      await using simulator = await startSimulator(quick)
      const { status, json } = await visit(simulator, `/users/@me/guilds?${query}`, { as: bearer(simulator) })
      expect([status, json.code]).toEqual([400, 50035])
    },
  )

  it('show at most 200 of the bot’s guilds per page, so that a bot must go on until a page is empty', async () => {
    await using simulator = await startSimulator({ users: 20, guildsPerUser: 150 })
    const as = bot(simulator)
    const seen = new Set<string>()
    for (let after = '0', pages = 0; ; pages++) {
      const { json } = await visit(simulator, `/users/@me/guilds?after=${after}`, { as })
      if (json.length === 0) {
        expect(pages).toBeGreaterThan(1)
        break
      }
      expect(json.length).toBeLessThanOrEqual(200)
      for (const { id } of json) seen.add(id)
      after = json.at(-1).id
    }
    for (const { guilds } of simulator.users) for (const { id } of guilds) expect(seen.has(id)).toBe(true)
  })
})

describe('the bot’s view', () => {
  it('computes to the same permissions and owner as the user’s own list, for every membership', async () => {
    await using simulator = await startSimulator({ users: 3, botGlobalPerSecond: Infinity })
    const as = bot(simulator)
    const user = simulator.users[0]!
    simulator.joinGuild(user.id, { id: '4242', name: 'Odd one', permissions: '32' })
    simulator.joinGuild(simulator.users[1]!.id, { id: '4242', name: 'Odd one' })
    const memberships = [...user.guilds.map((guild) => ({ user, guild }))]
    const second = simulator.users[1]!
    memberships.push({ user: second, guild: second.guilds.find(({ id }) => id === '4242')! })
    for (const { user, guild } of memberships) {
      const { json: full } = await visit(simulator, `/guilds/${guild.id}`, { as })
      const { json: member } = await visit(simulator, `/guilds/${guild.id}/members/${user.id}`, { as })
      const wanted = new Set([guild.id, ...member.roles])
      const roles = full.roles.filter(({ id }: { id: string }) => wanted.has(id))
      expect(roles).toHaveLength(wanted.size)
      const sum = roles.reduce((bits: bigint, role: { permissions: string }) => bits | BigInt(role.permissions), 0n)
      expect(String(sum)).toBe(guild.permissions)
      expect(full.owner_id === user.id).toBe(guild.owner)
      expect(member.user.id).toBe(user.id)
    }
  })

  it('says Unknown Member of who is not there, and Unknown Guild of where the bot is not', async () => {
    await using simulator = await startSimulator({ users: 2 })
    const as = bot(simulator)
    const [user] = simulator.users
    const guild = user!.guilds[0]!.id
    const member = (id: string) => visit(simulator, `/guilds/${guild}/members/${id}`, { as })
    expect(await member(user!.id)).toMatchObject({ status: 200 })
    simulator.leaveGuild(user!.id, guild)
    expect(await member(user!.id)).toMatchObject({ status: 404, json: { code: 10007, message: 'Unknown Member' } })
    expect(await member('1')).toMatchObject({ status: 404, json: { code: 10007 } })
    simulator.leaveGuild(simulator.botId, guild)
    expect(await member(user!.id)).toMatchObject({ status: 404, json: { code: 10004, message: 'Unknown Guild' } })
    expect(await visit(simulator, `/guilds/${guild}`, { as })).toMatchObject({ status: 404, json: { code: 10004 } })
    const { json } = await visit(simulator, '/users/@me/guilds', { as })
    expect(json.some(({ id }: { id: string }) => id === guild)).toBe(false)
    simulator.joinGuild(simulator.botId, { id: guild, name: 'again' })
    expect(await visit(simulator, `/guilds/${guild}`, { as })).toMatchObject({ status: 200 })
  })

  it('is about the bot itself at /users/@me and /applications/@me', async () => {
    await using simulator = await startSimulator()
    const as = bot(simulator)
    expect((await visit(simulator, '/users/@me', { as })).json).toMatchObject({ id: simulator.botId, bot: true })
    expect((await visit(simulator, '/applications/@me', { as })).json).toMatchObject({
      id: simulator.clientId,
      verify_key: simulator.publicKey,
    })
  })

  it('gives a role with 204 and no body', async () => {
    await using simulator = await startSimulator()
    const user = simulator.users[0]!
    const guild = simulator.guilds.find(({ id }) => id === user.guilds[0]!.id)!
    const path = `/guilds/${guild.id}/members/${user.id}/roles/${guild.roles[1]!.id}`
    const { status, text, headers } = await visit(simulator, path, { as: bot(simulator), method: 'PUT' })
    expect([status, text, headers.get('x-ratelimit-limit')]).toEqual([204, '', '10'])
  })
})

describe('joining and leaving', () => {
  it('shows in the next answer and in simulator.users', async () => {
    await using simulator = await startSimulator(quick)
    const user = simulator.users[0]!
    const before = user.guilds
    const list = async () => (await visit(simulator, '/users/@me/guilds', { as: bearer(simulator) })).json
    await list()
    simulator.joinGuild(user.id, { id: '99', name: 'New "place"', permissions: '8' })
    expect((await list())[0]).toMatchObject({ id: '99', name: 'New "place"', owner: false, permissions: '8' })
    expect(user.guilds).toHaveLength(21)
    simulator.joinGuild(user.id, { id: '99', name: 'New "place"', permissions: '0' })
    expect((await list())[0]).toMatchObject({ id: '99', permissions: '0' })
    simulator.leaveGuild(user.id, '99')
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual(before.map(({ id }) => id))
    expect(before).toHaveLength(20)
  })

  it('hands the ownership over', async () => {
    await using simulator = await startSimulator()
    const [first, second] = simulator.users
    const owned = first!.guilds.find(({ owner }) => owner)!
    simulator.joinGuild(second!.id, { id: owned.id, name: owned.name, owner: true })
    expect(first!.guilds.find(({ id }) => id === owned.id)!.owner).toBe(false)
    expect(second!.guilds.find(({ id }) => id === owned.id)!.owner).toBe(true)
  })

  it('refuses ids that do not exist and says what to do', async () => {
    await using simulator = await startSimulator()
    const { id } = simulator.users[0]!
    expect(() => simulator.joinGuild('12', { id: '1', name: 'x' })).toThrow(/no user "12"; take an id from/)
    expect(() => simulator.joinGuild(id, { id: 'one', name: 'x' })).toThrow(/guild\.id must be/)
    expect(() => simulator.joinGuild(id, { id: '1', name: '' })).toThrow(/guild\.name/)
    expect(() => simulator.joinGuild(id, { id: '1', name: 'x', permissions: '0x8' })).toThrow(/guild\.permissions/)
    expect(() => simulator.leaveGuild(id, '12')).toThrow(/is not in guild "12"/)
    expect(() => simulator.revoke('12')).toThrow(TypeError)
    expect(() => simulator.issueToken('12')).toThrow(TypeError)
    await expect(simulator.deauthorize('12')).rejects.toThrow(TypeError)
  })
})
