import type { Milliseconds } from '../time/clock.ts'

/** A guild that the bot is in. `name` where it is known. */
export interface BotGuild {
  readonly id: string
  readonly name: string | undefined
}

/** What is known of the bot's guilds. */
export interface KnownBotGuilds {
  readonly ids: readonly string[]
  /** Whether the whole list was ever fetched, or an event fed: else nothing is known. */
  readonly isKnown: boolean
}

/** The bot's guilds in a database. Rejects as `MembershipStore`. */
export interface BotGuildStore {
  read(): Promise<KnownBotGuilds>
  /** An event about one guild, as of a moment. */
  change(guild: BotGuild, isIn: boolean, at: Milliseconds): Promise<void>
  /** The whole list, asked for from `began` on: what events said since then stands. */
  replace(guilds: readonly BotGuild[], began: Milliseconds): Promise<void>
}
