import type { APIMessage, APIRole, APIWebhook } from 'discord-api-types/v10'
import type { GuildChannel } from './channels.ts'
import { checkUsers, type UserData } from './user-data.ts'
import type { Member } from './user-objects.ts'
import type { World } from './world.ts'

/**
 * A world as JSON: everybody, every guild with its roles, channels, members and bans, and what was written. Limits,
 * faults, the ledger of calls, files of messages, conversations with the bot, and tokens other than the users' first ones are not in it.
 */
export interface SavedWorld {
  readonly version: 1
  readonly seed: number
  readonly users: readonly UserData[]
  readonly guilds: ReadonlyArray<{
    readonly id: string
    readonly name: string
    readonly icon: string | null
    readonly banner: string | null
    readonly description: string | null
    readonly features: readonly string[]
    readonly owner_id: string
    readonly roles: readonly APIRole[]
    readonly channels: readonly GuildChannel[]
    /** By user id. */
    readonly members: Readonly<Record<string, Member>>
    /** By user id: the reason. */
    readonly bans: Readonly<Record<string, string | null>>
  }>
  /** Oldest first. */
  readonly messages: readonly APIMessage[]
  readonly webhooks: readonly APIWebhook[]
}

export function saveWorld(seed: number, { people, channels, messages, webhooks }: World): SavedWorld {
  // A copy, so that what happens next does not change what was saved.
  return structuredClone({
    version: 1,
    seed,
    users: people.users.map(({ id, username, accessToken }) => ({
      ...people.somebody(id)?.data,
      id,
      username,
      accessToken,
      guilds: [],
    })),
    guilds: [...people.guilds.values()].map((guild) => ({
      id: guild.id,
      name: guild.name,
      icon: guild.icon,
      banner: guild.banner,
      description: guild.description,
      features: guild.features,
      owner_id: guild.ownerId,
      roles: guild.roles,
      channels: channels.of(guild.id),
      members: Object.fromEntries(people.membersOf(guild.id).map((id) => [id, people.member(id, guild.id)!])),
      bans: Object.fromEntries(guild.bans),
    })),
    messages: [...messages.channels()].flatMap((id) => (channels.get(id)?.type === 1 ? [] : messages.all(id))),
    webhooks: [...webhooks.values()],
  } satisfies SavedWorld)
}

/** Puts what was saved into a new world that has its users, and nothing else. */
export function fillWorld({ people, channels, messages, webhooks }: World, saved: SavedWorld): void {
  for (const { members, roles, channels: list, bans, owner_id, ...facts } of saved.guilds) {
    people.restore(facts, owner_id, roles, members)
    channels.replace(facts.id, list)
    for (const [id, reason] of Object.entries(bans)) people.guilds.get(facts.id)?.bans.set(id, reason)
  }
  for (const message of saved.messages) messages.add(message)
  for (const webhook of saved.webhooks) webhooks.set(webhook.id, webhook)
}

/** Throws a TypeError for what `save()` did not make. */
export function checkWorld(value: unknown): asserts value is SavedWorld {
  const world = value as Partial<SavedWorld> | null
  const isOne =
    world !== null &&
    typeof world === 'object' &&
    world.version === 1 &&
    Number.isInteger(world.seed) &&
    [world.users, world.guilds, world.messages, world.webhooks].every(Array.isArray)
  if (!isOne) throw new TypeError('world must be what simulator.save() gave, or the same read back from JSON')
  checkUsers(world.users!)
  if (world.users!.length === 0) throw new TypeError('world must have at least one user')
  for (const [nth, guild] of world.guilds!.entries()) {
    const ok = guild && typeof guild.id === 'string' && Array.isArray(guild.roles) && Array.isArray(guild.channels)
    if (!ok || guild.members === null || typeof guild.members !== 'object')
      throw new TypeError(`world.guilds[${nth}] is not a guild that simulator.save() wrote`)
  }
}
