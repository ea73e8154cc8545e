import { ADMINISTRATOR, createGuild, EVERYONE, type Guild, MANAGER, OWNER, toPartialGuild } from './guilds.ts'
import { createRandom, HEX } from './random.ts'
import { snowflake } from './snowflake.ts'

/** A guild as one user sees it in their list. */
export interface Membership {
  readonly id: string
  readonly name: string
  readonly owner: boolean
  /** Discord's permission bits as a decimal string. */
  readonly permissions: string
}

/** One simulated user. `guilds` is read anew at each access, so it shows joins and leaves; sorted by id. */
export interface SimulatedUser {
  readonly id: string
  readonly username: string
  /** Valid from the start, with the scopes `identify email guilds guilds.members.read`, until it expires or is revoked. */
  readonly accessToken: string
  readonly guilds: readonly Membership[]
}

/** Everybody and every guild: derived from the seed, then changed by joins and leaves. */
export interface People {
  readonly users: readonly SimulatedUser[]
  readonly botId: string
  readonly guilds: ReadonlyMap<string, Guild>
  user(id: string): SimulatedUser | undefined
  membership(userId: string, guildId: string): Membership | undefined
  /** The user's whole list as JSON, without counts; kept, because benches ask for it thousands of times a second. */
  listJson(userId: string): Buffer
  /** A user's guilds, or the bot's, sorted by id. */
  membershipsOf(userId: string): readonly Membership[]
  join(userId: string, guild: { id: string; name: string; permissions?: string; owner?: boolean }): void
  /** False if the user was not in that guild. */
  leave(userId: string, guildId: string): boolean
}

const FIRST = [
  'amber',
  'brisk',
  'coral',
  'dusty',
  'early',
  'faint',
  'gentle',
  'hidden',
  'ivory',
  'jolly',
  'keen',
  'lunar',
]
const SECOND = [
  'otter',
  'falcon',
  'maple',
  'comet',
  'harbor',
  'willow',
  'badger',
  'lantern',
  'pebble',
  'sparrow',
  'tiger',
]
/** Lists past this many bytes in all are serialised again when asked for. */
const MAX_LIST_BYTES = 64 * 1024 * 1024
const LARGEST_POOL = 10_000

export function createPeople(seed: number, userCount: number, guildsPerUser: number, botId: string): People {
  const guilds = new Map<string, Guild>()
  const memberships = new Map<string, readonly Membership[]>()
  const byId = new Map<string, { user: SimulatedUser; index: number }>()
  const users: SimulatedUser[] = []
  const leftByBot = new Set<string>()
  const lists = new Map<string, Buffer>()
  let listBytes = 0
  let botList: readonly Membership[] | undefined

  for (let index = 0; index < userCount; index++) {
    const random = createRandom(seed, `user ${index}`)
    const id = snowflake(random, index)
    const user: SimulatedUser = {
      id,
      username: `${random.pick(FIRST)}_${random.pick(SECOND)}_${index}`,
      accessToken: random.letters(30),
      get guilds() {
        return membershipsOf(id)
      },
    }
    users.push(user)
    byId.set(id, { user, index })
  }

  // One in ten of a user's guilds is their own, for every other user; the others come from a pool that all share.
  const ownedPerUser = Math.min(2, Math.ceil(guildsPerUser / 10))
  const ownedIds: string[][] = users.map((user, index) => {
    if (index % 2 === 1) return []
    return Array.from({ length: ownedPerUser }, (_, nth) => add(`owned ${index}.${nth}`, user.id).id)
  })
  const wanted = Math.ceil((userCount * guildsPerUser) / 8)
  const poolSize = guildsPerUser === 0 ? 0 : Math.max(guildsPerUser * 2, Math.min(LARGEST_POOL, wanted))
  const pool = Array.from({ length: poolSize }, (_, nth) => add(`pool ${nth}`, undefined))

  function add(label: string, ownerId: string | undefined): Guild {
    const guild = createGuild(createRandom(seed, `guild ${label}`), guilds.size, ownerId)
    guilds.set(guild.id, guild)
    return guild
  }

  function firstMemberships(index: number): readonly Membership[] {
    const random = createRandom(seed, `memberships ${index}`)
    const list = ownedIds[index]!.map((id) => membershipOf(guilds.get(id)!, true, OWNER))
    const chosen = new Set<Guild>()
    while (list.length + chosen.size < guildsPerUser) chosen.add(random.pick(pool))
    let nth = 0
    for (const guild of chosen) {
      // The first two are fixed, so that even small lists have one guild of each sort.
      const chance = nth === 0 ? 0 : nth === 1 ? 0.1 : random.next()
      list.push(membershipOf(guild, false, chance < 0.05 ? ADMINISTRATOR : chance < 0.2 ? MANAGER : EVERYONE))
      nth++
    }
    return list.sort(byIdAscending)
  }

  function membershipsOf(userId: string): readonly Membership[] {
    if (userId === botId) {
      botList ??= [...guilds.values()]
        .filter((guild) => !leftByBot.has(guild.id))
        .map((guild) => membershipOf(guild, false, ADMINISTRATOR))
        .sort(byIdAscending)
      return botList
    }
    let list = memberships.get(userId)
    if (!list) {
      const known = byId.get(userId)
      if (!known) return []
      list = firstMemberships(known.index)
      memberships.set(userId, list)
    }
    return list
  }

  function forget(userId: string): void {
    listBytes -= lists.get(userId)?.length ?? 0
    lists.delete(userId)
    if (userId === botId) botList = undefined
  }

  function replace(userId: string, list: Membership[]): void {
    memberships.set(userId, list.sort(byIdAscending))
    forget(userId)
  }

  return {
    users,
    botId,
    guilds,
    user: (id) => byId.get(id)?.user,
    membershipsOf,
    membership: (userId, guildId) =>
      userId === botId && leftByBot.has(guildId)
        ? undefined
        : membershipsOf(userId).find((membership) => membership.id === guildId),
    listJson(userId) {
      const kept = lists.get(userId)
      if (kept) return kept
      const list = membershipsOf(userId).slice(0, 200)
      const body = Buffer.from(`[${list.map((one) => toPartialGuild(guilds.get(one.id)!, one, false)).join(',')}]`)
      while (listBytes + body.length > MAX_LIST_BYTES && lists.size > 0) {
        const [oldest, bytes] = lists.entries().next().value!
        lists.delete(oldest)
        listBytes -= bytes.length
      }
      lists.set(userId, body)
      listBytes += body.length
      return body
    },
    join(userId, { id, name, permissions, owner }) {
      let guild = guilds.get(id)
      if (!guild) {
        guild = createGuild(createRandom(seed, `guild joined ${id}`), guilds.size, undefined, { id, name })
        guilds.set(id, guild)
      }
      forget(botId)
      if (userId === botId) {
        leftByBot.delete(id)
        return
      }
      if (owner && guild.ownerId !== userId) {
        const before = guild.ownerId
        guild.ownerId = userId
        if (byId.has(before)) {
          replace(
            before,
            membershipsOf(before).map((one) => (one.id === id ? { ...one, owner: false } : one)),
          )
        }
      }
      const owns = guild.ownerId === userId
      const granted = permissions ?? (owns ? OWNER : EVERYONE)
      guild.allow(granted)
      const others = membershipsOf(userId).filter((one) => one.id !== id)
      replace(userId, [...others, membershipOf(guild, owns, granted)])
    },
    leave(userId, guildId) {
      if (userId === botId) {
        if (!guilds.has(guildId) || leftByBot.has(guildId)) return false
        leftByBot.add(guildId)
        forget(botId)
        return true
      }
      const list = membershipsOf(userId)
      const rest = list.filter((one) => one.id !== guildId)
      if (rest.length === list.length) return false
      replace(userId, rest)
      return true
    },
  }
}

function membershipOf(guild: Guild, owner: boolean, permissions: string): Membership {
  return { id: guild.id, name: guild.name, owner, permissions }
}

function byIdAscending(a: { id: string }, b: { id: string }): number {
  return compareIds(a.id, b.id)
}

/** Snowflakes in order of their number, without turning them into one. */
export function compareIds(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)
}

/** The user object as `GET /users/@me` gives it; `email` only with the scope of that name. */
export function toUser(user: SimulatedUser, scopes: ReadonlySet<string>): Record<string, unknown> {
  return {
    ...toPublicUser(user),
    flags: 0,
    banner: null,
    accent_color: null,
    mfa_enabled: true,
    locale: 'en-US',
    premium_type: 0,
    ...(scopes.has('email') ? { email: `${user.username}@example.com`, verified: true } : {}),
  }
}

/** The user object as others see it. */
export function toPublicUser(user: { id: string; username: string }): Record<string, unknown> {
  return {
    id: user.id,
    username: user.username,
    avatar: createRandom(Number(user.id.slice(-6)), 'avatar').letters(32, HEX),
    discriminator: '0',
    public_flags: 0,
    global_name: user.username.split('_', 2).join(' '),
    avatar_decoration_data: null,
  }
}
