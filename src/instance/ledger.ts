import { OwnKey } from '../cache/cache-key.ts'
import type { GracefulCache } from '../cache/graceful-cache.ts'
import type { Config } from '../config/config.ts'
import type { Database } from '../database/database.ts'
import type { DiscordClient } from '../discord/discord-fetch.ts'
import { codeOf } from '../errors/code-of.ts'
import { ConfigError } from '../errors/errors.ts'
import type { Events } from '../events/events.ts'
import { GuildRequest, type GuildSource } from '../guilds/guild-request.ts'
import { type GuildMemory, recalled, rememberedBy } from '../guilds/remembered-guilds.ts'
import type { UserGuilds } from '../guilds/user-guilds.ts'
import { BOT_PAGE, type BotGuilds, TrackedBotGuilds } from '../ledger/bot-guilds.ts'
import { type Asking, Ledger } from '../ledger/membership-ledger.ts'
import { type Milliseconds, systemClock } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'

export interface InstanceLedgerNeeds {
  readonly config: Config
  readonly events: Events
  readonly discord: DiscordClient
  readonly cache: GracefulCache
  readonly source: GuildSource
  /** Undefined where no database is configured: then there is no ledger. */
  readonly openDatabase: (() => Promise<Database>) | undefined
}

/** A page waits at most so long for the database, once Discord has failed it. */
const RECALL_TIMEOUT_MS: Milliseconds = 3_000
/** A database that let pages wait for nothing is not asked by pages for so long. */
const RECALL_PAUSE_MS: Milliseconds = 5_000
/** What nobody was seen with for so long is deleted, however old the memberships may be that are shown. */
const KEEP_MS: Milliseconds = 90 * 24 * 60 * 60 * 1000

/** The ledger of an instance, joined to what loads guilds. */
export function instanceLedger(needs: InstanceLedgerNeeds) {
  const { config, events, cache, openDatabase } = needs
  const { clock } = config
  const store =
    openDatabase &&
    (async () => {
      opened ??= import('../database/membership-rows.ts').then(
        async ({ MembershipRows }) => new MembershipRows(await openDatabase(), clock),
      )
      return opened
    })
  let opened: Promise<import('../database/membership-rows.ts').MembershipRows> | undefined
  const ledger = new Ledger({
    store: store ?? (async () => Promise.reject(noDatabase())),
    clock,
    events,
    maxAgeMs: config.ledgerMaxAgeMs,
    keepMs: Math.max(KEEP_MS, config.ledgerMaxAgeMs),
    refresh: async (userId, accessToken, signal) => {
      const user = { userId, accessToken }
      // Nothing that is held will do, and what is fetched is for everybody.
      const request = new GuildRequest(inBackground, config, user, { maxAgeMs: 0, signal })
      await cache.get(new OwnKey('guilds', userId), request)
    },
  })
  const memory: GuildMemory<Asking> = {
    look: () => ledger.look(),
    note: (userId, guilds, sentMs, look) => ledger.note(userId, guilds, sentMs, look),
    recall: recallForPage(ledger, needs),
  }
  const source = openDatabase ? rememberedBy(needs.source, memory, clock) : needs.source
  const inBackground: GuildSource = {
    getUserGuildsAnew: (accessToken, options, sending) =>
      source.getUserGuildsAnew(accessToken, { ...options, priority: 'background' }, sending),
    refusedForMs: (path, principal) => source.refusedForMs(path, principal),
  }
  const fallback: ConstructorParameters<typeof UserGuilds>[0]['fallback'] = openDatabase
    ? (user, asked, error) => recalled(memory, user, asked, error, () => clock.now())
    : undefined
  return { ledger, source, fallback, botGuilds: botGuildsOf(needs), isOn: openDatabase !== undefined }
}

/** `recall` for a page that has waited for Discord already. A database that is slow or away is said, and left alone for a while. */
function recallForPage(ledger: Ledger, { config, events }: InstanceLedgerNeeds): GuildMemory<Asking>['recall'] {
  const { clock } = config
  let pausedUntil = Number.NEGATIVE_INFINITY
  return async (userId, oldestMs) => {
    if (clock.monotonic() < pausedUntil) return undefined
    try {
      const found = await ledger.recallWithin(userId, oldestMs, RECALL_TIMEOUT_MS)
      if (found) events.emit({ type: 'ledger.recalled', ageMs: clock.now() - found.fetchedAt.getTime() })
      return found
    } catch (error) {
      pausedUntil = clock.monotonic() + RECALL_PAUSE_MS
      ledger.say('recall', error)
      return undefined
    }
  }
}

/** The cache as users have it: whom they make it forget, the ledger forgets too. */
export function forgettingCache(
  cache: GracefulCache,
  forgetUser: (userId: string) => Promise<void>,
): Pick<GracefulCache, 'get' | 'peek' | 'set' | 'invalidate' | 'invalidateUser' | 'drain'> {
  return {
    get: (key, options) => cache.get(key, options),
    peek: (key) => cache.peek(key),
    set: (key, value, options) => cache.set(key, value, options),
    invalidate: (key) => cache.invalidate(key),
    invalidateUser: forgetUser,
    drain: (deadlineMs) => cache.drain(deadlineMs),
  }
}

/** Opens the database, at most so long. One that is away is no reason not to begin; one that is not to be used is. */
export async function databaseReady(ledger: Ledger, deadlineMs: Milliseconds): Promise<void> {
  const late = new Error('the database takes its time')
  // Real time: a database answers in no other.
  await withDeadline(
    systemClock,
    deadlineMs,
    [],
    () => late,
    (signal) => abandonable(() => ledger.open(), signal),
  ).catch((error: unknown) => {
    if (error !== late && codeOf(error) !== 'DATABASE_UNAVAILABLE' && codeOf(error) !== 'CLOSED') throw error
  })
}

function botGuildsOf({ config, discord, openDatabase }: InstanceLedgerNeeds): BotGuilds {
  const { botToken, clientId = 'bot' } = config
  return new TrackedBotGuilds({
    clock: config.clock,
    store:
      openDatabase &&
      (async () => {
        const { BotGuildRows } = await import('../database/bot-guild-rows.ts')
        return new BotGuildRows(await openDatabase(), clientId)
      }),
    page:
      botToken === undefined
        ? undefined
        : (after, signal) =>
            discord.fetch<unknown>('/users/@me/guilds' as string, botToken, {
              tokenType: 'Bot',
              principal: `bot:${config.clientId ?? ''}`,
              priority: 'background',
              query: { limit: BOT_PAGE, after },
              ...(signal && { signal }),
            }),
  })
}

function noDatabase(): ConfigError {
  return new ConfigError(
    'database',
    'there is no ledger without a database: set DATABASE_URL or option database, for example sqlite:./holdfast.db',
  )
}
