import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { SharedKey, Ticket } from '../../src/cache/shared-tier.ts'
import type { FleetNews, InvalidRequests } from '../../src/discord/fleet.ts'
import { routeOf } from '../../src/discord/route.ts'
import { BYTES } from '../../src/redis/entry-header.ts'
import { KeyRing } from '../../src/secrets/key-ring.ts'
import { attentive } from '../contracts/shared-tier.ts'
import {
  beside,
  freshNamespace,
  OTHER_SECRET,
  openFleet,
  openRoom,
  REDIS_URL,
  type Room,
  SECRET,
  until,
} from './room.ts'

const FRESH = 60_000
const STALE = 600_000

const guildsOf = (user: string, version = 'json'): SharedKey => ({
  id: `\0u${user.length}:${user}guilds`,
  user,
  label: 'guilds',
  version,
})
const ownKey = (id: string): SharedKey => ({ id, user: undefined, label: 'own', version: 'json' })

const ticketOf = async ({ entries }: Room, key: SharedKey): Promise<Ticket> => {
  const begun = await entries.begin(key, FRESH, STALE)
  if (begun?.kind !== 'load') throw new Error(`got ${JSON.stringify(begun)} instead of leave to load`)
  return begun.ticket
}
const store = async (room: Room, key: SharedKey, text: string) => {
  expect(await room.entries.write(key, await ticketOf(room, key), text, STALE)).toBe(true)
}
const textOf = async ({ entries }: Room, key: SharedKey) => (await entries.read(key))?.value?.text
const close = (rooms: Room[]) => {
  for (const { connection } of rooms) connection.close()
}

/** Where a key is, for somebody who looks at Redis. */
const placeOf = ({ connection, naming: { names } }: Room, key: SharedKey) => {
  const slot = key.user === undefined ? names.of('key', key.id) : names.of('user', key.user)
  const at = `${connection.prefix}{${slot}}`
  const name = `${key.label}:${names.of('entry', key.id)}`
  return { epoch: `${at}:epoch`, entry: `${at}:entry:${name}`, lease: `${at}:lease:${name}` }
}

/** Reads and writes the bytes of Redis as they are. */
async function tamperer() {
  const client = await beside()
  return {
    bytes: (key: string) => client.withTypeMapping({ 36: Buffer }).get(key) as unknown as Promise<Buffer | null>,
    set: (key: string, value: Buffer | string) => client.set(key, value),
    client,
    [Symbol.dispose]: () => client.destroy(),
  }
}

describe.skipIf(!REDIS_URL)('a value that was tampered with is not there', () => {
  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['emptied', () => Buffer.alloc(0)],
    ['cut to its header', (bytes) => bytes.subarray(0, BYTES)],
    ['cut by a byte', (bytes) => bytes.subarray(0, -1)],
    ['a byte longer', (bytes) => Buffer.concat([bytes, Buffer.of(0)])],
    ['made a second younger', (bytes) => edited(bytes, 2, String(Number(bytes.toString('latin1', 2, 18)) + 1_000_000))],
    ['made a second older', (bytes) => edited(bytes, 2, String(Number(bytes.toString('latin1', 2, 18)) - 1_000_000))],
    ['of a time to come', (bytes) => edited(bytes, 2, '9999999999999999')],
    ['of another layout', (bytes) => edited(bytes, 0, '1')],
    ['called gone', (bytes) => edited(bytes, 1, 'g')],
    ['under another epoch', (bytes) => edited(bytes, 19, '0000000000000001-00000000')],
    ['nonsense', (bytes) => Buffer.alloc(bytes.length, 'nonsense')],
    ['something else’s', () => Buffer.from('{"value":["a"],"expires":1}')],
  ])('%s', async (_how, change) => {
    using room = await openRoom().up()
    using redis = await tamperer()
    for (const key of [guildsOf('1'), ownKey('k')]) {
      await store(room, key, 'a text that is sealed')
      const { entry } = placeOf(room, key)
      const bytes = (await redis.bytes(entry))!
      await redis.set(entry, change(bytes))
      const found = await room.entries.read(key)
      expect(found).toBeDefined()
      expect(found!.value).toBeUndefined()
      await redis.set(entry, bytes)
      expect(await textOf(room, key)).toBe('a text that is sealed')
    }
  })

  test('any byte of it changed', async () => {
    using room = await openRoom().up()
    using redis = await tamperer()
    const key = guildsOf('1')
    await store(room, key, 'v')
    const { entry } = placeOf(room, key)
    const bytes = (await redis.bytes(entry))!
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1
      await redis.set(entry, changed)
      expect(await textOf(room, key), `byte ${at}`).toBeUndefined()
    }
  })

  test('copied to another user, another key, another namespace; and swapped', async () => {
    using room = await openRoom().up()
    using elsewhere = await openRoom().up()
    using redis = await tamperer()
    const [mine, yours, own] = [guildsOf('1'), guildsOf('2'), ownKey('k')]
    for (const key of [mine, yours, own]) await store(room, key, `of ${key.id}`)
    await store(elsewhere, mine, 'elsewhere')
    const bytes = (await redis.bytes(placeOf(room, mine).entry))!
    const epoch = (await redis.bytes(placeOf(room, mine).epoch))!
    const places = [placeOf(room, yours), placeOf(room, own), placeOf(elsewhere, mine)]
    for (const place of places) {
      await redis.set(place.entry, bytes)
      // With all that stands in clear beside it.
      await redis.set(place.epoch, epoch)
    }
    expect(await textOf(room, yours)).toBeUndefined()
    expect(await textOf(room, own)).toBeUndefined()
    expect(await textOf(elsewhere, mine)).toBeUndefined()
    expect(await textOf(room, mine)).toBe(`of ${mine.id}`)
  })

  test('made by somebody who knows everything but the secret', async () => {
    using room = await openRoom().up()
    using redis = await tamperer()
    const key = guildsOf('1')
    await store(room, key, 'mine')
    const { entry } = placeOf(room, key)
    const head = (await redis.bytes(entry))!.subarray(0, BYTES)
    const forged = new KeyRing([OTHER_SECRET]).seal('forged', `${entry} ${head} ${key.version}`)
    await redis.set(entry, Buffer.concat([head, forged]))
    expect(await textOf(room, key)).toBeUndefined()
  })

  test('of another version of its codec', async () => {
    using room = await openRoom().up()
    await store(room, guildsOf('1', 'm1'), 'old')
    expect(await textOf(room, guildsOf('1', 'm2'))).toBeUndefined()
    expect(await textOf(room, guildsOf('1', 'm1'))).toBe('old')
  })
})

describe.skipIf(!REDIS_URL)('secrets', () => {
  const [OLD, NEW] = [SECRET, OTHER_SECRET]

  test('rotate: [new, old] reads what [old] wrote under the same names, and then [new] alone keeps them', async () => {
    const namespace = freshNamespace()
    const before = await openRoom({ namespace, secrets: [OLD] }).up()
    await store(before, guildsOf('1'), 'written under the old one')
    const during = await openRoom({ namespace, secrets: [NEW, OLD] }).up()
    expect(await textOf(during, guildsOf('1'))).toBe('written under the old one')
    await store(during, guildsOf('2'), 'written under the new one')
    const heard = attentive(during.entries)
    await before.entries.invalidateUser('7')
    await expect.poll(() => heard, { timeout: 1_000 }).toEqual(['user 7 invalidated'])
    // Those who have only the old one cannot read what the new one sealed, and it breaks nothing.
    expect(await textOf(before, guildsOf('2'))).toBeUndefined()
    close([before, during])
    const after = await openRoom({ namespace, secrets: [NEW] }).up()
    expect(after.naming.names.of('user', '1')).toBe(before.naming.names.of('user', '1'))
    expect(await textOf(after, guildsOf('2'))).toBe('written under the new one')
    expect(await textOf(after, guildsOf('1'))).toBeUndefined()
    for (const room of [before, during, after]) expect(room.lines).toEqual([])
    close([after])
  })

  test('that differ share nothing and break nothing, and one line says so', async () => {
    const namespace = freshNamespace()
    const one = await openRoom({ namespace, secrets: [OLD] }).up()
    const two = await openRoom({ namespace, secrets: [NEW] }).up()
    const heard = [attentive(one.entries), attentive(two.entries)]
    await store(one, guildsOf('1'), 'one')
    expect(await textOf(two, guildsOf('1'))).toBeUndefined()
    await store(two, guildsOf('1'), 'two')
    expect(await textOf(one, guildsOf('1'))).toBe('one')
    await one.entries.invalidate(guildsOf('1'))
    await one.entries.invalidateUser('1')
    one.fleet.announce({ about: 'egress' }, 60_000)
    await sleep(100)
    expect(await textOf(two, guildsOf('1'))).toBe('two')
    expect(heard).toEqual([[], []])
    expect(one.lines).toEqual([])
    expect(two.lines).toMatchObject([{ level: 'warn', text: expect.stringContaining('HOLDFAST_SECRET') }])
    expect([...one.states(), ...two.states()]).toEqual([])
    close([one, two])
  })
})

describe.skipIf(!REDIS_URL)('whoever looks into Redis', () => {
  test('finds no user’s id, no token, no guild’s id and no value in any key, value, message or command', async () => {
    const USER = '80351110224678912'
    const GUILD = '197038439483310086'
    const TOKEN = 'mfa.VkO_2G4Qv3T--NO--lWetW_tjND--TOKEN'
    using watcher = await beside()
    const commands: string[] = []
    await watcher.monitor((command) => void commands.push(String(command)))
    const [a, b] = (await openFleet(2)) as [Room, Room]
    const told: unknown[] = []
    b.fleet.listen({
      noticed: (notice) => told.push(notice),
      egressFree: () => told.push('free'),
      invalidSent: () => told.push('invalid'),
      invalidTotals: () => {},
    })
    const keys = [guildsOf(USER), ownKey(`bearer:${TOKEN}`), { ...ownKey(`${GUILD}:x`), label: 'key' }]
    for (const key of keys) {
      await store(a, key, JSON.stringify({ guild: GUILD, token: TOKEN, user: USER }))
      expect(await textOf(b, key)).toContain(GUILD)
      await a.entries.invalidate(key)
      const ticket = await ticketOf(a, key)
      await a.entries.renew(key, ticket)
      await a.entries.giveUp(key, ticket, 100)
    }
    await a.entries.invalidateUser(USER)
    const route = routeOf('GET', `/guilds/${GUILD}/members/${USER}`, 0)
    a.fleet.announce({ about: 'bucket', principal: USER, route }, 10_000)
    a.fleet.announce({ about: 'route', principal: USER, route }, 10_000)
    a.fleet.announce({ about: 'principal', principal: USER }, 10_000)
    a.fleet.announce({ about: 'resource', route }, 10_000)
    a.fleet.announce({ about: 'token', tokenId: TOKEN }, 10_000)
    a.fleet.announceEgressFree(0, 'GET /x')
    a.fleet.invalidSent(true)
    await until(() => told.length === 7, 2_000, 'everything to be told')
    expect(JSON.stringify(told)).toContain(USER)
    const seen = commands.join('\n')
    expect(commands.length).toBeGreaterThan(30)
    expect(seen).toContain('guilds')
    const base64 = (text: string) => Buffer.from(text).toString('base64').slice(0, 16)
    for (const secret of [USER, GUILD, TOKEN, SECRET])
      for (const shape of [secret, base64(secret), Buffer.from(secret).toString('hex')])
        expect(seen).not.toContain(shape)
    expect(JSON.stringify([a.lines, a.seen, b.lines, b.seen])).not.toMatch(new RegExp(`${USER}|${GUILD}|${TOKEN}`))
    close([a, b])
  })
})

const GARBAGE: ReadonlyArray<readonly [string, (key: string) => string[]]> = [
  ['an empty text', (key) => ['SET', key, '']],
  ['a text', (key) => ['SET', key, 'garbage \u0000\u00ff']],
  ['a long text', (key) => ['SET', key, 'x'.repeat(100_000)]],
  ['digits', (key) => ['SET', key, '1'.repeat(60)]],
  ['a made-up time to come', (key) => ['SET', key, '9999999999999999-zzzzzzzz']],
  ['a made-up header', (key) => ['SET', key, '1vzzzzzzzzzzzzzzzz 9999999999999999-zzzzzzzz....']],
  ['a made-up header of a time to come', (key) => ['SET', key, '1g9999999999999999 9999999999999999-zzzzzzzz']],
  ['a list', (key) => ['RPUSH', key, 'garbage']],
  ['a hash', (key) => ['HSET', key, 'garbage', 'garbage', '1:all', 'x', ':', '-1', '99999999999:all', '5']],
  ['a set', (key) => ['SADD', key, 'garbage']],
  ['a sorted set', (key) => ['ZADD', key, '+inf', 'garbage', '1', 'more', '99999999999999', 'and more']],
  ['a stream', (key) => ['XADD', key, '*', 'garbage', 'garbage']],
]

describe.skipIf(!REDIS_URL)('whoever can write to Redis', () => {
  test.each(GARBAGE)(
    'and puts %s under every key breaks nothing, and what is said next heals it',
    async (_what, put) => {
      const [a, b] = (await openFleet(2)) as [Room, Room]
      using redis = await tamperer()
      const keys = [guildsOf('1'), ownKey('k')]
      for (const key of keys) await store(a, key, 'v')
      const everywhere = [
        ...keys.flatMap((key) => Object.values(placeOf(a, key))),
        ...['{discord}:notices', '{discord}:invalid-requests', '{purged}:at', '{names}:key', '{probe}'].map(
          (key) => `${a.connection.prefix}${key}`,
        ),
      ]
      for (const key of everywhere) {
        await redis.client.del(key)
        await redis.client.sendCommand(put(key))
      }
      for (const key of keys) {
        for (const room of [a, b]) {
          expect((await room.entries.read(key))?.value).toBeUndefined()
          const begun = await room.entries.begin(key, FRESH, STALE)
          expect(['load', 'wait', 'newer', undefined]).toContain(begun?.kind)
          await room.entries.giveUp(key, { begunAt: 1, epoch: 'e', token: 't' }, 10)
        }
      }
      a.fleet.announce({ about: 'egress' }, 1_000)
      a.fleet.invalidSent(true)
      // What is of the wrong type is a programming error, and loud.
      for (const room of [a, b]) for (const failure of room.failures()) expect(failure).toMatch(/ REDIS_MISUSE$/)
      if (put('')[0] !== 'SET') expect(a.failures()).toContain('begin REDIS_MISUSE')
      // They come back, and so do newcomers, although nothing is what it should be.
      for (const room of [a, b]) {
        room.connection.renew()
        await room.away()
        await room.up()
      }
      const late = await openRoom({ namespace: a.namespace }).up()
      await Promise.all([a.up(), b.up()])
      for (const key of keys) {
        await a.entries.invalidate(key)
        if (key.user !== undefined) await a.entries.invalidateUser(key.user)
      }
      // The lease is nobody's, but may be of a type that nobody can write over: it was deleted with its entry.
      await until(async () => late.naming.names.of('user', '1') === a.naming.names.of('user', '1'), 5_000, 'one name')
      for (const key of keys) {
        const ticket = await b.entries.take(key, STALE)
        if (!ticket) continue
        expect(await b.entries.write(key, ticket, 'healed', STALE)).toBe(true)
        expect(await textOf(late, key)).toBe('healed')
      }
      expect(await b.entries.take(guildsOf('1'), STALE)).toBeDefined()
      close([a, b, late])
    },
  )

  test('makes nobody believe anything over the channel', async () => {
    const [a, b] = (await openFleet(2)) as [Room, Room]
    using elsewhere = await openRoom().up()
    using redis = await tamperer()
    const channel = `${a.connection.prefix}backplane`
    const heard = attentive(b.entries)
    const told: unknown[] = []
    const news: FleetNews = {
      noticed: (notice) => told.push(notice),
      egressFree: () => told.push('free'),
      invalidSent: () => told.push('invalid'),
      invalidTotals: () => {},
    }
    b.fleet.listen(news)
    const elsewheres: string[] = []
    using listener = await beside()
    await listener.subscribe(`${elsewhere.connection.prefix}backplane`, (message) => void elsewheres.push(message))
    await elsewhere.entries.invalidateUser('1')
    await until(() => elsewheres.length > 0, 2_000, 'a message')
    await store(a, guildsOf('1'), 'v')
    const value = (await redis.bytes(placeOf(a, guildsOf('1')).entry))!.subarray(BYTES)
    const forged = new KeyRing([OTHER_SECRET]).seal(JSON.stringify(['x', 'user', '1']), channel).toString('base64')
    const messages = [
      '',
      'garbage',
      '\u0000\u00ff',
      'x'.repeat(1_000_000),
      '["x","user","1"]',
      `0000000000000000${JSON.stringify(['x', 'user', '1'])}`,
      `9999999999999999${forged}`,
      `0000000000000000${value.toString('base64')}`,
      ...elsewheres,
    ]
    heard.length = 0
    for (const message of messages) await redis.client.publish(channel, message)
    await a.entries.invalidateUser('last')
    await expect.poll(() => heard.at(-1), { timeout: 2_000 }).toBe('user last invalidated')
    expect(heard.filter((what) => !what.startsWith('superseded'))).toEqual(['user last invalidated'])
    expect(told).toEqual([])
    expect([...a.states(), ...b.states()]).toEqual([])
    close([a, b])
  })

  test('cannot prolong what stands on the board, nor make holds of nonsense', async () => {
    const [a] = (await openFleet(1)) as [Room]
    using redis = await tamperer()
    a.fleet.announce({ about: 'principal', principal: '1' }, 5_000)
    const board = `${a.connection.prefix}{discord}:notices`
    await until(async () => (await redis.client.zCard(board)) === 1, 2_000, 'the notice to be there')
    const [member] = (await redis.client.zRange(board, 0, -1)) as [string]
    for (const score of ['+inf', '9'.repeat(15), '9'.repeat(300)]) {
      await redis.client.sendCommand(['ZADD', board, score, member])
      await redis.client.sendCommand(['ZADD', board, score, 'garbage'])
      const told: number[] = []
      const late = openRoom({ namespace: a.namespace })
      late.fleet.listen({
        noticed: (_notice, forMs) => told.push(forMs),
        egressFree: () => {},
        invalidSent: () => {},
        invalidTotals: () => {},
      })
      await late.up()
      for (const forMs of told) expect(forMs).toBeLessThanOrEqual(5_000)
      late.fleet.announce({ about: 'principal', principal: '2' }, 5_000)
      await until(async () => (await redis.client.zCard(board)) > 2, 2_000, 'the second notice')
      close([late])
      await redis.client.zRemRangeByRank(board, 0, -1)
    }
    close([a])
  })

  test('cannot make a process count what nobody can have sent', async () => {
    const [a] = (await openFleet(1)) as [Room]
    using redis = await tamperer()
    const counts = `${a.connection.prefix}{discord}:invalid-requests`
    const slot = Math.floor(Date.now() / 10_000)
    await redis.client.hSet(counts, {
      [`${slot}:all`]: '7',
      [`${slot}:strangers`]: '3',
      [`${slot - 1}:all`]: 'many',
      [`${slot - 2}:all`]: '-500000',
      [`${slot - 3}:all`]: '1e300',
      [`${slot - 4}:all`]: 'NaN',
      [`${slot + 1_000}:all`]: '9000',
      [`${slot - 1_000}:all`]: '9000',
      'garbage:all': '9000',
      ':': '9000',
    })
    const late = openRoom({ namespace: a.namespace })
    let totals: readonly InvalidRequests[] = []
    const news: FleetNews = {
      noticed: () => {},
      egressFree: () => {},
      invalidSent: () => {},
      invalidTotals: (requests) => {
        totals = requests
      },
    }
    late.fleet.listen(news)
    await late.up()
    expect(totals.reduce((sum, { count }) => sum + count, 0)).toBe(7)
    expect(totals.reduce((sum, { strangers }) => sum + strangers, 0)).toBe(3)
    for (const { agoMs } of totals) {
      expect(agoMs).toBeGreaterThanOrEqual(0)
      expect(agoMs).toBeLessThanOrEqual(600_000)
    }
    close([a, late])
  })
})

function edited(bytes: Buffer, at: number, text: string): Buffer {
  const copy = Buffer.from(bytes)
  copy.write(text, at, 'latin1')
  return copy
}
