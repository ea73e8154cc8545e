import { PermissionFlagsBits, type RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError, DiscordUnavailableError } from '../../src/errors/errors.ts'
import { HeldLists } from '../../src/guilds/held-lists.ts'
import { type GuildMemberships, membershipsCodec, membershipsFromDiscord } from '../../src/guilds/memberships.ts'
import type { PermissionName } from '../../src/guilds/permissions.ts'

const guild = (id: string, more: Partial<RESTAPIPartialCurrentUserGuild> = {}) =>
  ({
    id,
    name: `Guild ${id}`,
    icon: null,
    banner: null,
    owner: false,
    permissions: '0',
    features: [],
    ...more,
  }) as never

describe('membershipsFromDiscord', () => {
  test('keeps id, name, icon, owner and permissions, in Discord’s order, and nothing else', () => {
    const guilds = membershipsFromDiscord([
      guild('20', { icon: 'abc', owner: true, permissions: '9007199254740993' }),
      guild('10'),
    ])
    expect([...guilds]).toEqual([
      { id: '20', name: 'Guild 20', icon: 'abc', owner: true, permissions: 9007199254740993n },
      { id: '10', name: 'Guild 10', icon: null, owner: false, permissions: 0n },
    ])
    expect(guilds.size).toBe(2)
  })

  test('no guilds is a list with nothing in it', () => {
    const guilds = membershipsFromDiscord([])
    expect([guilds.size, guilds.has('1'), [...guilds]]).toEqual([0, false, []])
  })

  test.each([
    ['null', null],
    ['an object', {}],
    ['a string', '[]'],
    ['undefined', undefined],
    ['an entry that is null', [null]],
    ['an entry that is a list', [[]]],
    ['an id that is a number', [{ ...(guild('1') as object), id: 1 }]],
    ['an id that is empty', [guild('')]],
    ['an id with a sign', [guild('-1')]],
    ['no name', [{ ...(guild('1') as object), name: undefined }]],
    ['permissions as a number', [{ ...(guild('1') as object), permissions: 8 }]],
    ['negative permissions', [guild('1', { permissions: '-1' })]],
    ['hexadecimal permissions', [guild('1', { permissions: '0x8' })]],
    ['empty permissions', [guild('1', { permissions: '' })]],
    ['permissions of a hundred thousand digits', [guild('1', { permissions: '9'.repeat(100_000) })]],
    ['one good entry and one bad', [guild('1'), guild('2', { permissions: 'all' })]],
  ])('refuses %s, whole', (_name, list) => {
    expect(() => membershipsFromDiscord(list as never)).toThrow(
      expect.objectContaining({ code: 'DISCORD_WRONG_SHAPE', route: 'GET /users/@me/guilds' }),
    )
    expect(() => membershipsFromDiscord(list as never)).toThrow(DiscordUnavailableError)
  })

  test('an owner that is anything but true is no owner', () => {
    for (const owner of ['true', 1, null, undefined, {}])
      expect(membershipsFromDiscord([guild('1', { owner: owner as never })]).get('1')?.owner).toBe(false)
  })

  test('changing what Discord sent, or an entry, changes no memberships', () => {
    const sent = [guild('1', { permissions: '8' })] as RESTAPIPartialCurrentUserGuild[]
    const guilds = membershipsFromDiscord(sent)
    sent[0]!.owner = true
    sent.push(guild('2'))
    expect([guilds.size, guilds.get('1')?.owner, guilds.has('2')]).toEqual([1, false, false])
    expect(() => Object.assign(guilds.get('1')!, { owner: true })).toThrow(TypeError)
  })
})

describe('GuildMemberships', () => {
  const guilds = membershipsFromDiscord([
    guild('1', { permissions: '32' }),
    guild('2', { permissions: '8' }),
    guild('3', { owner: true }),
  ])

  test('has, get and can know members only', () => {
    expect([guilds.has('1'), guilds.has('4'), guilds.has(''), guilds.has('__proto__')]).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect(guilds.get('4')).toBeUndefined()
    expect(guilds.can('1', 'ManageGuild')).toBe(true)
    expect(guilds.can('1', 'BanMembers')).toBe(false)
    expect(guilds.can('4', 'ManageGuild')).toBe(false)
  })

  test('the first look answers as every later one does', () => {
    const permission = fc.constantFrom('0', '8', '32', '40', '9007199254740993')
    const lists = fc.uniqueArray(
      fc.record({ id: fc.nat(300).map(String), owner: fc.boolean(), permissions: permission }),
      { selector: ({ id }) => id, maxLength: 40 },
    )
    const asked = fc.oneof(fc.nat(300).map(String), fc.constantFrom('', ',', '1:', ':', '1:032,2', '2:0', '1,', '01'))
    fc.assert(
      fc.property(lists, asked, (list, id) => {
        const guilds = membershipsFromDiscord(list.map((one) => guild(one.id, one)))
        const held = list.find((one) => one.id === id)
        const may = held !== undefined && (held.owner || (BigInt(held.permissions) & (8n | 32n)) !== 0n)
        expect([guilds.can(id, 'ManageGuild'), guilds.can(id, 'ManageGuild')]).toEqual([may, may])
        expect([guilds.has(id), guilds.get(id)?.id]).toEqual([held !== undefined, held?.id])
        const fresh = membershipsFromDiscord(list.map((one) => guild(one.id, one)))
        expect([fresh.has(id), fresh.has(id)]).toEqual([held !== undefined, held !== undefined])
      }),
    )
  })

  test('an administrator and the owner can do everything', () => {
    expect([guilds.can('2', 'BanMembers'), guilds.can('3', 'BanMembers')]).toEqual([true, true])
  })

  test('an unknown permission is a ConfigError, also for who is no member', () => {
    expect(() => guilds.can('1', 'Everything' as never)).toThrow(ConfigError)
    expect(() => guilds.can('4', 'Everything' as never)).toThrow(ConfigError)
  })

  test('looked at, each is data: frozen, its five properties its own, and copied by whoever copies data', () => {
    const guilds = membershipsFromDiscord([guild('1', { permissions: '8', name: 'one' })])
    const data = { id: '1', name: 'one', icon: null, owner: false, permissions: 8n }
    for (const looked of [[...guilds][0]!, guilds.get('1')!]) {
      expect(Object.entries(looked)).toEqual(Object.entries(data))
      expect({ ...looked }).toStrictEqual(data)
      expect(structuredClone(looked)).toStrictEqual(data)
      expect(Object.isFrozen(looked)).toBe(true)
      expect(() => Object.assign(looked, { owner: true })).toThrow(TypeError)
      expect(JSON.parse(JSON.stringify(looked))).toStrictEqual({ ...data, permissions: '8' })
    }
  })

  test('as JSON it is plain objects, with permissions as decimal text', () => {
    expect(JSON.parse(JSON.stringify(guilds))[0]).toEqual({
      id: '1',
      name: 'Guild 1',
      icon: null,
      owner: false,
      permissions: '32',
    })
  })
})

describe('permissions of any size', () => {
  const decimals = fc.oneof(
    fc.constantFrom(
      '0',
      '1',
      '8',
      '127',
      '128',
      '255',
      '256',
      '9007199254740991',
      '9007199254740992',
      '9007199254740993',
    ),
    fc.bigInt({ min: 0n, max: 2n ** 130n }).map(String),
    fc.nat({ max: 62 }).map((bit) => String(2n ** BigInt(bit) - 1n)),
  )

  test('come out as they were sent, as bigint and as text, beside whatever other guilds of the list have', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(decimals, fc.boolean()), { maxLength: 6 }), fc.boolean(), (sent, isHeld) => {
        const list = membershipsFromDiscord(
          sent.map(([permissions, owner], at) => guild(`${at + 1}`, { permissions, owner })),
        )
        if (isHeld) new HeldLists().hold(list)
        // Before anybody has looked at objects, and after.
        for (let look = 0; look < 2; look++) {
          expect(list.toJSON().map(({ permissions, owner }) => [permissions, owner])).toEqual(sent)
          expect([...list].map(({ permissions, owner }) => [String(permissions), owner])).toEqual(sent)
        }
      }),
      { numRuns: 200 },
    )
  })

  test('can() says of every permission what the bits say', () => {
    const names = Object.keys(PermissionFlagsBits) as PermissionName[]
    fc.assert(
      fc.property(fc.array(fc.tuple(decimals, fc.boolean()), { minLength: 1, maxLength: 6 }), (sent) => {
        const list = membershipsFromDiscord(
          sent.map(([permissions, owner], at) => guild(`${at + 1}`, { permissions, owner })),
        )
        for (const [at, [permissions, owner]] of sent.entries())
          for (const name of names) {
            const bits = BigInt(permissions)
            const may = owner || (bits & 8n) !== 0n || (bits & PermissionFlagsBits[name]) !== 0n
            expect(list.can(`${at + 1}`, name), `${permissions} ${name}`).toBe(may)
          }
      }),
      { numRuns: 60 },
    )
  })
})

describe('membershipsCodec', () => {
  const lists = fc.array(
    fc.record({
      id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
      name: fc.string({ unit: 'binary' }),
      icon: fc.option(fc.string()),
      owner: fc.boolean(),
      permissions: fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String),
    }),
    { maxLength: 200 },
  )

  test('what it writes it reads back the same, whatever the names are', () => {
    const plain = (guilds: GuildMemberships) => guilds.toJSON()
    fc.assert(
      fc.property(lists, (list) => {
        const guilds = membershipsFromDiscord(list as never)
        const read = membershipsCodec.decode(membershipsCodec.encode(guilds))
        expect(plain(read)).toEqual(plain(guilds))
        expect(plain(read)).toEqual(list)
      }),
    )
  })

  test.each([
    ['nothing', ''],
    ['two lines', ',1:08,\n["a"]'],
    ['four lines', ',1:08,\n["a"]\n[null]\n[]'],
    ['a first line that was cut', ',1:0\n["a"]\n[null]'],
  ])('refuses %s', (_name, text) => {
    expect(() => membershipsCodec.decode(text)).toThrow(TypeError)
  })

  test('entries that were read are as immutable as new ones', () => {
    const read = membershipsCodec.decode(membershipsCodec.encode(membershipsFromDiscord([guild('1')])))
    expect(() => Object.assign(read.get('1')!, { owner: true })).toThrow(TypeError)
  })
})
