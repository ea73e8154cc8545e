import type { FaultKind, FaultOptions } from './fault-options.ts'
import type { Call } from './ledger-of-calls.ts'
import type { SimulatedUser } from './world/people.ts'
import type { SavedWorld } from './world/saved.ts'

/** A guild, as far as tests need to know its ids. Types of channels are Discord's numbers: 0 text, 2 voice. */
export interface SimulatedGuild {
  readonly id: string
  readonly name: string
  readonly ownerId: string
  readonly channels: ReadonlyArray<{ readonly id: string; readonly name: string; readonly type: number }>
  readonly roles: ReadonlyArray<{ readonly id: string; readonly name: string; readonly permissions: string }>
}

/** A running Discord of your own. */
export interface Simulator {
  /** Base URL to give as DISCORD_API_BASE_URL, such as `http://127.0.0.1:40123/api/v10`. */
  readonly url: string
  /** All users, the same for the same seed. Their guild lists show joins and leaves. */
  readonly users: readonly SimulatedUser[]
  /** Every guild with its channels and roles, as they are now. */
  readonly guilds: readonly SimulatedGuild[]
  /** For `Authorization: Bot …`. The bot is in every guild until `leaveGuild(botId, guildId)`. */
  readonly botToken: string
  /** The bot's user id; the same as `clientId`, as for Discord's own applications. */
  readonly botId: string
  readonly clientId: string
  readonly clientSecret: string
  /** The application's Ed25519 public key in hex: DISCORD_PUBLIC_KEY. */
  readonly publicKey: string
  /**
   * Switches trouble on until the returned function is called, or for `forMs`, or for `times` calls. Throws a
   * TypeError or RangeError for a kind, route, user or value that could never have an effect.
   */
  fault(kind: FaultKind, options?: FaultOptions): () => void
  /**
   * Every call that reached the simulator, oldest first, also those it answered with an error. The array is live, and
   * bounded by the option `maxCalls`.
   */
  readonly calls: readonly Call[]
  /** Takes a user (or the bot) out of a guild. Throws a TypeError if there is no such user, or they are not in it. */
  leaveGuild(userId: string, guildId: string): void
  /**
   * Puts a user (or the bot) into a guild, or changes their `permissions` there. A guild with an id that is not known
   * yet is created, with the bot in it; a known one keeps its name. `permissions` defaults to what @everyone may;
   * `owner: true` makes the user its owner.
   */
  joinGuild(userId: string, guild: { id: string; name: string; permissions?: string; owner?: boolean }): void
  /** From now on every token and code of this user is refused. A new login works. */
  revoke(userId: string): void
  /**
   * Revokes, and posts APPLICATION_DEAUTHORIZED to `webhookUrl`, signed as Discord signs. Resolves to the HTTP status of
   * the answer, or 0 when there is no URL or nobody answered within 3 s. An event that was not answered with 2xx is sent
   * again after 10 s, 20 s, 40 s and so on, for ten minutes of the simulator's clock.
   */
  deauthorize(userId: string, webhookUrl?: string): Promise<number>
  /**
   * Posts a PING to a webhook URL, as Discord does before it accepts one; with `forged`, under a signature that does
   * not fit. Resolves to the HTTP status (wanted: 204, and 401 for a forged one), or 0 when nobody answered within 3 s.
   */
  ping(webhookUrl: string, options?: { forged?: boolean }): Promise<number>
  /**
   * Sends an interaction to an app's endpoint, signed, as Discord would: a slash command
   * (`{ data: { name: 'ping', type: 1 } }`), a button (`type: 3`), a modal (`type: 5`). What is not said is added: ids, a
   * token that works for 15 minutes, the user (`user`: an id; default the first), their member in `guild_id`, a channel
   * of it (or `channel_id`). Resolves to the answer, its body parsed where it is JSON, or status 0 when there was none
   * within 3 s. What the app answered counts as its callback. Throws a TypeError for a URL that is none.
   */
  interact(url: string, interaction: object): Promise<{ status: number; body: unknown }>
  /**
   * Sends what this process asks of discord.com here instead, until the returned function is called: by `fetch`,
   * undici's global dispatcher, and `node:https`. For clients that name discord.com themselves.
   */
  intercept(): () => void
  /**
   * Another access token for a user: with fewer `scopes`, a shorter life, or issued to another application. Defaults:
   * the scopes of the user's first token, `tokenLifetimeMs`, and `clientId`.
   */
  issueToken(
    userId: string,
    options?: { scopes?: readonly string[]; lifetimeMs?: number; applicationId?: string },
  ): string
  /**
   * Has a user write a message; bots that are connected to the gateway hear it. Returns its id. Throws a TypeError or
   * RangeError for a user, channel or content that could not be.
   */
  say(userId: string, channelId: string, content: string): string
  /** The world as JSON, for the option `world` of another simulator. */
  save(): SavedWorld
  /**
   * Whoever comes next to `/oauth2/authorize` is this user (id or username), or presses Cancel, at once and without a
   * click, also where a page would have been shown. Said again before that, the last word counts. Throws a TypeError
   * if there is no such user.
   */
  nextLogin(user: string | 'deny'): void
  /** Stops listening and ends every connection, also those that hang. Safe to call twice. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
