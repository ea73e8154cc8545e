import { ConfigError, DiscordUnavailableError, HoldfastError } from '../errors/errors.ts'
import type { GuildMembership, GuildMemberships } from '../guilds/memberships.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { abandonable } from '../time/deadline.ts'
import type { BotGuild, BotGuildStore } from './bot-guild-store.ts'
import { isSnowflake } from './membership-store.ts'

/**
 * Which guilds our bot is in: from its own list (`sync`, with DISCORD_BOT_TOKEN), or from gateway events fed to `joined`
 * and `left`. Kept in the database where one is configured, and shared there; else in this process's memory.
 *
 * Every method rejects with INVALID_OPTION for an id that is none, and as the database does where it is away; an event
 * fed then holds in this process at once, and is written as soon as the database is back.
 */
export interface BotGuilds {
  /**
   * Fetches the bot's whole list, page after page, and replaces what is known; events fed meanwhile stand. Resolves to
   * the number of guilds. Rejects as `discordFetch` does, with DISCORD_WRONG_SHAPE for a list that is none or repeats
   * itself (nothing is changed then), with ConfigError without a bot token, or with `signal.reason`.
   */
  sync(options?: { signal?: AbortSignal }): Promise<number>
  /** The bot is in this guild from now on: GUILD_CREATE. */
  joined(guild: { id: string; name?: string }): Promise<void>
  /** The bot has left, or was removed: GUILD_DELETE (without `unavailable`). */
  left(guildId: string): Promise<void>
  /** Whether the bot is in a guild, as far as is known. The first question syncs where nothing is known yet; without a bot token it is a ConfigError then. */
  has(guildId: string): Promise<boolean>
  /** Those of a user's guilds that the bot is in too. Asks as `has`. */
  shared(guilds: GuildMemberships): Promise<GuildMembership[]>
}

/** What other processes were told is read after this, behind who asks. */
const READ_EVERY_MS: Milliseconds = 15_000
/** The largest page there is (Discord's docs, "Get Current User Guilds"). */
export const BOT_PAGE = 200
/** Two million guilds; no bot is in half as many. */
const MOST_PAGES = 10_000

export interface BotGuildsNeeds {
  readonly clock: Clock
  readonly store: (() => Promise<BotGuildStore>) | undefined
  /** One page of the bot's guilds, those after an id; undefined without a bot token. */
  readonly page: ((after: string, signal: AbortSignal | undefined) => Promise<unknown>) | undefined
}

interface Change {
  readonly guild: BotGuild
  readonly isIn: boolean
  readonly at: Milliseconds
}

export class TrackedBotGuilds implements BotGuilds {
  readonly #needs: BotGuildsNeeds
  #ids = new Set<string>()
  #isKnown = false
  #readAt: Milliseconds | undefined
  #reading: Promise<void> | undefined
  #syncing: Promise<number> | undefined
  /** What the database could not be told yet. Bounded by the guilds that a bot joins and leaves while it is away. */
  readonly #unsaved = new Map<string, Change>()
  /** What happens while a list is being fetched or read, for each of those. */
  readonly #listening = new Set<Change[]>()

  constructor(needs: BotGuildsNeeds) {
    this.#needs = needs
  }

  sync({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    // One for all who ask at the same time; who leaves ends only the own wait.
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    const syncing = this.#syncing
    return signal ? abandonable(() => syncing, signal) : syncing
  }

  async joined(guild: { id: string; name?: string }): Promise<void> {
    checkGuild('joined', guild?.id)
    const name = typeof guild.name === 'string' ? guild.name : undefined
    await this.#change({ guild: { id: guild.id, name }, isIn: true, at: this.#needs.clock.now() })
  }

  async left(guildId: string): Promise<void> {
    checkGuild('left', guildId)
    await this.#change({ guild: { id: guildId, name: undefined }, isIn: false, at: this.#needs.clock.now() })
  }

  async has(guildId: string): Promise<boolean> {
    return (await this.#known()).has(guildId)
  }

  async shared(guilds: GuildMemberships): Promise<GuildMembership[]> {
    const known = await this.#known()
    return [...guilds].filter(({ id }) => known.has(id))
  }

  async #known(): Promise<ReadonlySet<string>> {
    const { store, clock, page } = this.#needs
    if (store) {
      const isOld = this.#readAt === undefined || clock.monotonic() - this.#readAt >= READ_EVERY_MS
      if (isOld) this.#reading ??= this.#read(store)
      // Whoever knows something does not wait to know it more exactly.
      if (!this.#isKnown) await this.#reading
      else this.#reading?.catch(() => {})
    }
    if (!this.#isKnown) {
      if (!page)
        throw new ConfigError(
          'discord.botToken',
          'botGuilds: nothing is known of the bot yet; set DISCORD_BOT_TOKEN, or feed joined() and left() with its gateway events',
        )
      await this.sync()
    }
    return this.#ids
  }

  async #read(store: () => Promise<BotGuildStore>): Promise<void> {
    const happened = this.#listen()
    try {
      const opened = await store()
      for (const [id, change] of this.#unsaved) {
        await opened.change(change.guild, change.isIn, change.at)
        if (this.#unsaved.get(id) === change) this.#unsaved.delete(id)
      }
      const { ids, isKnown } = await opened.read()
      this.#ids = new Set(ids)
      this.#isKnown ||= isKnown
      this.#readAt = this.#needs.clock.monotonic()
      for (const change of this.#unsaved.values()) this.#apply(change)
    } finally {
      // What happened while it was read is in it, or not.
      for (const change of happened()) this.#apply(change)
      this.#reading = undefined
    }
  }

  async #sync(): Promise<number> {
    const { clock, page, store } = this.#needs
    if (!page)
      throw new ConfigError(
        'discord.botToken',
        'botGuilds.sync needs the bot: set DISCORD_BOT_TOKEN or discord.botToken',
      )
    const began = clock.now()
    const happened = this.#listen()
    try {
      const guilds = await allGuilds((after) => page(after, undefined))
      if (store) await (await store()).replace(guilds, began)
      this.#ids = new Set(guilds.map(({ id }) => id))
      this.#isKnown = true
      this.#readAt = clock.monotonic()
    } finally {
      for (const change of happened()) this.#apply(change)
    }
    return this.#ids.size
  }

  async #change(change: Change): Promise<void> {
    this.#apply(change)
    this.#isKnown = true
    for (const heard of this.#listening) heard.push(change)
    const { store } = this.#needs
    if (!store) return
    this.#unsaved.set(change.guild.id, change)
    await (await store()).change(change.guild, change.isIn, change.at)
    if (this.#unsaved.get(change.guild.id) === change) this.#unsaved.delete(change.guild.id)
  }

  #apply({ guild, isIn }: Change): void {
    if (isIn) this.#ids.add(guild.id)
    else this.#ids.delete(guild.id)
  }

  /** Notes events from now on; the returned function tells them. */
  #listen(): () => readonly Change[] {
    const heard: Change[] = []
    this.#listening.add(heard)
    return () => {
      this.#listening.delete(heard)
      return heard
    }
  }
}

/** All pages, until an empty one: Discord leaves guilds out of pages, so a page that is not full ends nothing. */
async function allGuilds(page: (after: string) => Promise<unknown>): Promise<BotGuild[]> {
  const byId = new Map<string, BotGuild>()
  let after = '0'
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const list: unknown = await page(after)
    if (!Array.isArray(list)) throw wrongShape('a page is not an array')
    if (list.length === 0) return [...byId.values()]
    for (const guild of list) {
      const { id, name } = (guild ?? {}) as { id?: unknown; name?: unknown }
      if (!isSnowflake(id)) throw wrongShape('a guild has no id')
      if (BigInt(id) <= BigInt(after) && byId.has(id)) throw wrongShape('it repeats itself')
      byId.set(id, { id, name: typeof name === 'string' ? name : undefined })
    }
    const next = [...byId.keys()]
      .slice(-list.length)
      .reduce((last, id) => (BigInt(id) > BigInt(last) ? id : last), after)
    if (next === after) throw wrongShape('it repeats itself')
    after = next
  }
  throw wrongShape('it does not end')
}

function wrongShape(what: string): DiscordUnavailableError {
  return new DiscordUnavailableError(
    'DISCORD_WRONG_SHAPE',
    `Discord's list of the bot's guilds cannot be used: ${what}`,
    {
      route: 'GET /users/@me/guilds',
      attempts: 1,
    },
  )
}

function checkGuild(method: string, id: unknown): void {
  if (!isSnowflake(id))
    throw new HoldfastError(
      'INVALID_OPTION',
      `botGuilds.${method}: the guild must be one of Discord's ids, digits only`,
    )
}
