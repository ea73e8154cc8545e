import { DiscordAPIError, DiscordRateLimitError, HoldfastError } from '../errors/errors.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { GuildSource, GuildUser, Sending } from './guild-request.ts'
import type { MembershipOptions, MembershipResult } from './membership-result.ts'

/** What remembers guild lists longer than the cache does. `Asking`, what it knows before a fetch, is its own affair. */
export interface GuildMemory<Asking> {
  look(): Asking
  /** Takes in what Discord answered, or null where it refused to tell; never fails and takes no time. */
  note(userId: string, guilds: readonly unknown[] | null, sentMs: Milliseconds, look: Asking): void
  recall(userId: string, oldestMs: Milliseconds): Promise<MembershipResult | undefined>
}

/** A source whose answers are remembered: lists, and that that a user's list is not to be had any more (401, 404). */
export function rememberedBy<Asking>(source: GuildSource, memory: GuildMemory<Asking>, clock: Clock): GuildSource {
  return {
    async getUserGuildsAnew(accessToken, options, sending: Sending = {}) {
      const look = memory.look()
      const askedMs = clock.monotonic()
      try {
        const guilds = await source.getUserGuildsAnew(accessToken, options, sending)
        memory.note(options.principal, guilds, sending.sentAt ?? askedMs, look)
        return guilds
      } catch (error) {
        if (isRefusal(error)) memory.note(options.principal, null, sending.sentAt ?? askedMs, look)
        throw error
      }
    },
    refusedForMs: (path, principal) => source.refusedForMs(path, principal),
  }
}

/**
 * What is remembered of a user whose list is held nowhere and cannot be fetched. Where nothing is, or the caller takes
 * none of it (`live`, `ledger: false`), or `error` is an answer and no trouble, it is thrown.
 */
export async function recalled(
  memory: Pick<GuildMemory<never>, 'recall'>,
  { userId }: GuildUser,
  { live, ledger, maxAgeMs = Number.POSITIVE_INFINITY, signal }: MembershipOptions,
  error: unknown,
  now: () => Milliseconds,
): Promise<MembershipResult> {
  if (live || ledger === false || signal?.aborted || !isTrouble(error)) throw error
  const found = await memory.recall(userId, maxAgeMs).catch(() => undefined)
  if (signal?.aborted) throw signal.reason
  if (!found) throw error
  const retryAfterMs = error instanceof HoldfastError ? error.retryAfterMs : undefined
  return {
    ...found,
    reason: error instanceof DiscordRateLimitError ? 'throttled' : 'unavailable',
    ...(retryAfterMs !== undefined && { retryAt: new Date(now() + retryAfterMs) }),
  }
}

/** An answer of Discord's own that takes a list away. A token that lacks a scope (403) says nothing about the user's guilds. */
function isRefusal(error: unknown): boolean {
  return error instanceof DiscordAPIError && [401, 404].includes(error.status) && error.attempts > 0
}

/** Whether Discord could not be asked: as in the cache, all but its own 4xx, and what was wrong with the question. */
function isTrouble(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return false
  if (error instanceof DiscordAPIError) return error.status === 429 || error.status >= 500
  return error.code.startsWith('DISCORD_') || error.code === 'LOAD_TIMEOUT' || error.code === 'LOAD_FAILED_ELSEWHERE'
}
