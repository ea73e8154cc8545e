// What does a user's guild list cost on the heap, is what the cache counts what the heap holds, and what do the questions cost?
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { PermissionFlagsBits } from 'discord-api-types/v10'
import { createHoldfast, type GuildMemberships, type Holdfast } from 'holdfast'
import { type Figure, judge, race, table } from './figures.ts'
import { startGuildServer } from './guild-server.ts'

const USERS = 10_000
const GUILDS = 100
const HOUR = 3_600_000
const idOf = (user: number) => String(175_928_847_299_117_000n + BigInt(user))

/** What is on the heap when connections that nobody uses have closed. */
const settledHeap = async (): Promise<number> => {
  await sleep(6_000)
  return heapUsed()
}

/** The last resort collects what a common collection leaves for the next: old tables of Maps that have grown since. */
const heapUsed = (): number => {
  for (let round = 0; round < 3; round++) globalThis.gc!({ type: 'major', flavor: 'last-resort' } as never)
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

if (process.argv[2] === 'small') {
  await serveManyUsers()
} else {
  const figures: Figure[] = []
  await costOfUsers(figures)
  await costOfQuestions(figures)
  await costOfPlainValues(figures)
  smallProcess(figures)
  judge(figures)
}

/** 10 000 users × 100 guilds drawn Zipf(1) from 50 000. */
async function costOfUsers(figures: Figure[]) {
  await using server = await startGuildServer()
  await using holdfast = createHoldfast({ discord: { baseUrl: server.url }, cache: { maxBytes: 2 ** 32 } })
  // Connections and code are not what is asked: a hundred other users come before.
  await warmUp(holdfast)
  const before = { heap: await settledHeap(), counted: holdfast.stats().cache.bytes }
  const seen: Array<{ name: string; heap: number; counted: number }> = []
  const note = async (name: string) =>
    seen.push({
      name,
      heap: (await settledHeap()) - before.heap,
      counted: holdfast.stats().cache.bytes - before.counted,
    })
  await each(holdfast, () => {})
  await note('untouched')
  await each(holdfast, (guilds) => guilds.can('1', 'ManageGuild'))
  await note('after can()')
  await each(holdfast, (guilds) => guilds.get([...guilds][0]!.id))
  await note('after for…of and get()')
  await each(holdfast, (guilds) => JSON.stringify(guilds))
  await note('after toJSON()')
  // What is left when all lists are gone is the wire's: users' limits and tokens.
  for (let user = 0; user < USERS; user++) await holdfast.cache.invalidateUser(idOf(user))
  const wire = (await settledHeap()) - before.heap
  table(
    ['10 000 users × 100 guilds', 'bytes a user, all in', 'in the cache', 'counted', 'counted ÷ heap'],
    seen.map(({ name, heap, counted }) => [
      name,
      heap / USERS,
      (heap - wire) / USERS,
      counted / USERS,
      counted / (heap - wire),
    ]),
  )
  figures.push({ name: 'a user, all in', value: seen[0]!.heap / USERS, unit: 'bytes', target: 3_000 })
  figures.push({ name: 'a user in the cache', value: (seen[0]!.heap - wire) / USERS, unit: 'bytes', target: 3_000 })
  for (const { name, heap, counted } of seen) {
    const ratio = counted / (heap - wire)
    figures.push({ name: `counted ÷ heap, ${name}`, value: ratio, unit: '', target: 1.3 })
    figures.push({ name: `counted ÷ heap, ${name}`, value: ratio, unit: '', target: 1, atLeast: true })
  }
}

async function warmUp(holdfast: Holdfast) {
  for (let round = 0; round < 20; round++)
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        await look(holdfast, USERS + index, (guilds) => JSON.stringify(guilds))
        await holdfast.cache.invalidateUser(idOf(USERS + index))
      }),
    )
}

async function each(holdfast: Holdfast, ask: (guilds: GuildMemberships) => unknown) {
  for (let user = 0; user < USERS; user += 100)
    await Promise.all(Array.from({ length: 100 }, (_, index) => look(holdfast, user + index, ask)))
}

async function look(holdfast: Holdfast, user: number, ask: (guilds: GuildMemberships) => unknown) {
  const userId = idOf(user)
  const { guilds } = await holdfast.memberships({ userId, accessToken: `token-${userId}` })
  ask(guilds)
}

/** Beside a Map of objects, as people keep guild lists. */
async function costOfQuestions(figures: Figure[]) {
  await using server = await startGuildServer()
  await using holdfast = createHoldfast({ discord: { baseUrl: server.url } })
  const lists: GuildMemberships[] = []
  for (let user = 0; user < 200; user++) await look(holdfast, user, (guilds) => lists.push(guilds))
  const maps = lists.map(
    (list) => new Map(list.toJSON().map((guild) => [guild.id, { ...guild, permissions: BigInt(guild.permissions) }])),
  )
  const ids = maps.map((map) => [...map.keys()])
  const permissions = ['ManageGuild', 'KickMembers', 'ManageRoles', 'ViewChannel'] as const
  const questions = Array.from({ length: 1_000 }, (_, index) => {
    const user = (index * 7) % lists.length
    return { user, id: ids[user]![(index * 13) % GUILDS]!, permission: permissions[index % 4]! }
  })
  let asked = 0
  let yes = 0
  const next = () => questions[asked++ % questions.length]!
  const times = await race(
    {
      'can() of a Map of objects': () => {
        for (let index = 0; index < 100; index++) {
          const { user, id, permission } = next()
          const guild = maps[user]!.get(id)
          const bit = PermissionFlagsBits[permission]
          if (guild && (guild.owner || (guild.permissions & 8n) !== 0n || (guild.permissions & bit) === bit)) yes++
        }
      },
      'guilds.can()': () => {
        for (let index = 0; index < 100; index++) {
          const { user, id, permission } = next()
          if (lists[user]!.can(id, permission)) yes++
        }
      },
      'for…of a page': () => {
        for (const guild of lists[asked++ % 8]!) if (guild.owner) yes++
      },
      'toJSON() of a page': () => lists[asked++ % 8]!.toJSON(),
      'for…of a list not looked at lately': () => {
        for (const guild of lists[asked++ % lists.length]!) if (guild.owner) yes++
      },
      'toJSON() of a list not looked at lately': () => lists[asked++ % lists.length]!.toJSON(),
    },
    { rounds: 9, calls: (name) => (name.includes('can') ? 2_000 : 1_000) },
  )
  if (yes === 0) throw new Error('no question was answered with yes')
  table(
    ['100 guilds', 'ns'],
    Object.entries(times).map(([name, ns]) => [name, name.includes('can') ? ns / 100 : ns]),
  )
  figures.push({
    name: 'can()',
    value: times['guilds.can()']! / times['can() of a Map of objects']!,
    unit: '× a Map of objects',
    target: 1,
  })
}

/** An app's own values, as the cache counts them and as the heap holds them. */
async function costOfPlainValues(figures: Figure[]) {
  const large = 'x'.repeat(100_000)
  const id = (index: number) => String(175_928_847_299_117_063n + BigInt(index) * 977n)
  const shapes: Record<string, (index: number) => unknown> = {
    'a short text': (index) => `text-${index}`,
    'a slice of a long text': (index) => `${index}${large}`.slice(0, 20),
    'a text with an emoji': (index) => `🦊 ${index} ${'a name '.repeat(10)}`,
    'a number': (index) => index + 0.5,
    'a user': (index) => ({ id: id(index), username: `user-${index}`, avatar: null, bot: false, flags: 0 }),
    'a list of 100 numbers': (index) => Array.from({ length: 100 }, (_, at) => index * at + 0.5),
    'a list of 100 ids': (index) => Array.from({ length: 100 }, (_, at) => id(index + at)),
    'an object of 100 ids': (index) =>
      Object.fromEntries(Array.from({ length: 100 }, (_, at) => [id(index * 100 + at), at])),
    'a list of 50 objects': (index) =>
      Array.from({ length: 50 }, (_, at) => ({ id: id(index + at), name: `name ${at}`, position: at })),
    'an empty object': () => ({}),
  }
  const rows: Array<[string, number, number]> = []
  for (const [name, make] of Object.entries(shapes)) {
    await using holdfast = createHoldfast({ cache: { maxBytes: 2 ** 32 } })
    const before = heapUsed()
    for (let index = 0; index < 1_000; index++)
      await holdfast.cache.get(`key-${index}`, { load: async () => make(index), freshMs: HOUR, staleMs: HOUR })
    const heap = heapUsed() - before
    const { bytes } = holdfast.stats().cache
    rows.push([name, heap / 1_000, bytes / heap])
    figures.push({ name: `counted ÷ heap, ${name}`, value: bytes / heap, unit: '', target: 3 })
    figures.push({ name: `counted ÷ heap, ${name}`, value: bytes / heap, unit: '', target: 1, atLeast: true })
  }
  table(['a plain value', 'bytes with its entry', 'counted ÷ heap'], rows)
}

/** A process of 256 MB at its defaults. */
function smallProcess(figures: Figure[]) {
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--max-old-space-size=256', '--expose-gc', import.meta.filename, 'small'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  )
  console.log(stdout)
  figures.push({
    name: '256 MB, 100 000 users one after the other: exit code',
    value: status ?? 1,
    unit: '',
    target: 0,
  })
}

async function serveManyUsers() {
  await using server = await startGuildServer()
  await using holdfast = createHoldfast({ discord: { baseUrl: server.url } })
  for (let user = 0; user < 100_000; user += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => look(holdfast, user + index, (guilds) => [...guilds].length)),
    )
  const { entries, bytes } = holdfast.stats().cache
  console.log(
    `256 MB: 100 000 users served, ${entries} lists held in ${(bytes / 1e6).toFixed(0)} MB, heap ${(heapUsed() / 1e6).toFixed(0)} MB`,
  )
}
