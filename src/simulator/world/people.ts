import type { APIRole } from 'discord-api-types/v10'
import { createGuild, type Guild, type GuildFacts, toPartialGuild } from './guild.ts'
import { ADMINISTRATOR, basePermissions, EVERYONE, MANAGER, OWNER } from './permissions.ts'
import { createRandom } from './random.ts'
import { compareIds, snowflake } from './snowflake.ts'
import type { UserData } from './user-data.ts'
import type { Member, Somebody } from './user-objects.ts'

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

/** A change of membership: which guild, and as what; a guild that is not known yet is made. */
export interface Joining extends GuildFacts {
  readonly permissions?: string
  readonly owner?: boolean
}

/** Everybody and every guild: derived from the seed or given as data, then changed by joins and leaves. */
export interface People {
  readonly users: readonly SimulatedUser[]
  readonly bot: Somebody
  readonly guilds: ReadonlyMap<string, Guild>
  /** A user, or the bot. */
  somebody(id: string): Somebody | undefined
  user(id: string): SimulatedUser | undefined
  /** How a user, or the bot, is kept as a member; undefined: not there. */
  member(userId: string, guildId: string): Member | undefined
  membership(userId: string, guildId: string): Membership | undefined
  /** The user's whole list as JSON, without counts; kept, because benches ask for it thousands of times a second. */
  listJson(userId: string): Buffer
  /** A user's guilds, or the bot's, sorted by id. */
  membershipsOf(userId: string): readonly Membership[]
  /** The ids of a guild's members, sorted, the bot's among them. */
  membersOf(guildId: string): readonly string[]
  join(userId: string, joining: Joining): void
  /** False if the user was not in that guild. */
  leave(userId: string, guildId: string): boolean
  /** A guild as it was saved, with its roles and members; the bot is in it only if it is among them. */
  restore(
    facts: GuildFacts,
    ownerId: string,
    roles: readonly APIRole[],
    members: Readonly<Record<string, Member>>,
  ): void
  /** To be called after roles, names or owners of a guild were changed in place. */
  changed(guildId: string): void
}

const FIRST = 'amber brisk coral dusty early faint gentle hidden ivory jolly keen lunar'.split(' ')
const SECOND = 'otter falcon maple comet harbor willow badger lantern pebble sparrow tiger'.split(' ')
/** Lists past this many bytes in all are serialised again when asked for. */
const MAX_LIST_BYTES = 64 * 1024 * 1024
const LARGEST_POOL = 10_000
const JOINED_AT = '2024-01-01T00:00:00.000000+00:00'

interface Known {
  readonly user: SimulatedUser
  readonly index: number
  readonly data: UserData | undefined
}

export function createPeople(
  seed: number,
  wanted: number | readonly UserData[],
  guildsPerUser: number,
  botId: string,
): People {
  const guilds = new Map<string, Guild>()
  const members = new Map<string, Map<string, Member>>()
  const seen = new Map<string, readonly Membership[]>()
  const lists = new Map<string, Buffer>()
  const byId = new Map<string, Known>()
  const users: SimulatedUser[] = []
  const bot: Somebody = { id: botId, username: 'simulated_bot', bot: true }
  const botMembers = new Map<string, Member | null>()
  let listBytes = 0

  const given = typeof wanted === 'number' ? undefined : wanted
  const userCount = typeof wanted === 'number' ? wanted : wanted.length
  for (let index = 0; index < userCount; index++) {
    const random = createRandom(seed, `user ${index}`)
    const data = given?.[index]
    const drawnId = snowflake(random, index)
    const drawnName = `${random.pick(FIRST)}_${random.pick(SECOND)}_${index}`
    const id = data?.id ?? drawnId
    const user: SimulatedUser = {
      id,
      username: data?.username ?? drawnName,
      accessToken: data?.accessToken ?? random.letters(30),
      get guilds() {
        return membershipsOf(id)
      },
    }
    users.push(user)
    byId.set(id, { user, index, data })
  }

  // One in ten of a user's guilds is their own, for every other user; the others come from a pool that all share.
  const seeded = users.filter(({ id }) => byId.get(id)!.data?.guilds === undefined).length
  const perUser = seeded === 0 ? 0 : guildsPerUser
  const ownedPerUser = Math.min(2, Math.ceil(perUser / 10))
  const ownedIds: string[][] = users.map((user, index) => {
    if (index % 2 === 1 || byId.get(user.id)!.data?.guilds !== undefined) return []
    return Array.from({ length: ownedPerUser }, (_, nth) => add(`owned ${index}.${nth}`, user.id).id)
  })
  const poolSize = perUser === 0 ? 0 : Math.max(perUser * 2, Math.min(LARGEST_POOL, Math.ceil((seeded * perUser) / 8)))
  const pool = Array.from({ length: poolSize }, (_, nth) => add(`pool ${nth}`, undefined))
  for (const { user, data } of byId.values()) for (const guild of data?.guilds ?? []) joinNamed(user.id, guild)

  function add(label: string, ownerId: string | undefined, facts?: GuildFacts): Guild {
    const guild = createGuild(createRandom(seed, `guild ${label}`), guilds.size, ownerId, facts)
    guilds.set(guild.id, guild)
    return guild
  }

  function joinNamed(userId: string, guild: NonNullable<UserData['guilds']>[number]): void {
    const facts = typeof guild === 'string' ? { name: guild } : guild
    const known = [...guilds.values()].find((one) =>
      facts.id === undefined ? one.name === facts.name : one.id === facts.id,
    )
    const id = facts.id ?? known?.id ?? snowflake(createRandom(seed, `guild named ${facts.name}`), guilds.size)
    join(userId, { ...facts, id })
  }

  function firstMembers(known: Known): Map<string, Member> {
    const own = new Map<string, Member>()
    if (known.data?.guilds !== undefined) return own
    const random = createRandom(seed, `memberships ${known.index}`)
    for (const id of ownedIds[known.index]!) own.set(id, newMember(guilds.get(id)!.roleIds(OWNER)))
    const chosen = new Set<Guild>()
    while (own.size + chosen.size < perUser) chosen.add(random.pick(pool))
    let nth = 0
    for (const guild of chosen) {
      // The first two are fixed, so that even small lists have one guild of each sort.
      const chance = nth === 0 ? 0 : nth === 1 ? 0.1 : random.next()
      own.set(guild.id, newMember(guild.roleIds(chance < 0.05 ? ADMINISTRATOR : chance < 0.2 ? MANAGER : EVERYONE)))
      nth++
    }
    return own
  }

  function guildsOf(userId: string): Map<string, Member> {
    let own = members.get(userId)
    if (!own) {
      const known = byId.get(userId)
      own = known ? firstMembers(known) : new Map()
      if (known) members.set(userId, own)
    }
    return own
  }

  /** The bot is in every guild, as an administrator, unless something else was said. */
  function botMember(guildId: string): Member | undefined {
    const guild = guilds.get(guildId)
    let member = botMembers.get(guildId)
    if (member === undefined && guild) {
      member = newMember(guild.roleIds(ADMINISTRATOR))
      botMembers.set(guildId, member)
    }
    return member ?? undefined
  }

  function memberOf(userId: string, guildId: string): Member | undefined {
    return userId === botId ? botMember(guildId) : guildsOf(userId).get(guildId)
  }

  function toMembership(guild: Guild, userId: string, member: Member): Membership {
    const owner = guild.ownerId === userId
    const permissions = owner ? OWNER : String(basePermissions(guild.roles, guild.id, member.roles))
    return { id: guild.id, name: guild.name, owner, permissions }
  }

  function membershipsOf(userId: string): readonly Membership[] {
    let list = seen.get(userId)
    if (list) return list
    const ids = userId === botId ? [...guilds.keys()] : [...guildsOf(userId).keys()]
    list = ids
      .flatMap((id) => {
        const member = memberOf(userId, id)
        return member ? [toMembership(guilds.get(id)!, userId, member)] : []
      })
      .sort((a, b) => compareIds(a.id, b.id))
    if (userId === botId || byId.has(userId)) seen.set(userId, list)
    return list
  }

  function forget(userId: string): void {
    listBytes -= lists.get(userId)?.length ?? 0
    lists.delete(userId)
    seen.delete(userId)
  }

  function changed(guildId: string): void {
    guilds.get(guildId)?.touched()
    for (const [userId, own] of members) if (own.has(guildId)) forget(userId)
    forget(botId)
  }

  /** Makes room for members with fewer permissions than @everyone has: the others keep what they had through a role. */
  function narrow(guild: Guild, permissions: string): void {
    const everyone = guild.roles[0]!
    const narrowed = String(BigInt(everyone.permissions) & BigInt(permissions))
    if (narrowed === everyone.permissions) return
    const before = everyone.permissions
    everyone.permissions = narrowed
    const [kept] = guild.roleIds(before)
    if (kept === undefined) return
    for (const userId of [botId, ...byId.keys()]) {
      const member = memberOf(userId, guild.id)
      if (member && !member.roles.includes(kept)) member.roles.push(kept)
    }
    changed(guild.id)
  }

  function join(userId: string, { permissions, owner, ...facts }: Joining): void {
    const { id } = facts
    const guild = guilds.get(id) ?? add(`joined ${id}`, undefined, facts)
    forget(botId)
    if (userId === botId) {
      if (permissions === undefined) botMembers.delete(id)
      else {
        narrow(guild, permissions)
        botMembers.set(id, newMember(guild.roleIds(permissions)))
      }
      return
    }
    if (owner && guild.ownerId !== userId) {
      guild.ownerId = userId
      changed(id)
    }
    const granted = permissions ?? (guild.ownerId === userId ? OWNER : guild.roles[0]!.permissions)
    narrow(guild, granted)
    const own = guildsOf(userId)
    own.set(id, { ...(own.get(id) ?? newMember([])), roles: guild.roleIds(granted) })
    forget(userId)
  }

  return {
    users,
    bot,
    guilds,
    user: (id) => byId.get(id)?.user,
    somebody(id) {
      if (id === botId) return bot
      const known = byId.get(id)
      return known && { id, username: known.user.username, data: known.data }
    },
    member: memberOf,
    membershipsOf,
    membership(userId, guildId) {
      const member = memberOf(userId, guildId)
      const guild = guilds.get(guildId)
      return member && guild ? toMembership(guild, userId, member) : undefined
    },
    membersOf(guildId) {
      const ids = [...byId.keys()].filter((id) => guildsOf(id).has(guildId))
      if (botMember(guildId)) ids.push(botId)
      return ids.sort(compareIds)
    },
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
    join,
    restore(facts, ownerId, roles, saved) {
      const guild = add(`joined ${facts.id}`, ownerId, facts)
      guild.roles.splice(0, guild.roles.length, ...structuredClone([...roles]))
      botMembers.set(guild.id, null)
      for (const [userId, member] of Object.entries(saved)) {
        if (userId === botId) botMembers.set(guild.id, structuredClone(member))
        else if (byId.has(userId)) guildsOf(userId).set(guild.id, structuredClone(member))
        forget(userId)
      }
      forget(botId)
    },
    leave(userId, guildId) {
      const wasThere = memberOf(userId, guildId) !== undefined
      if (userId === botId && wasThere) botMembers.set(guildId, null)
      else guildsOf(userId).delete(guildId)
      forget(userId)
      return wasThere
    },
    changed,
  }
}

function newMember(roles: string[]): Member {
  return { roles, nick: null, joinedAt: JOINED_AT, timeoutUntil: null }
}
