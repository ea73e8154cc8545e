import type { HoldfastError } from '../errors/errors.ts'
import type { GuildSource } from '../guilds/guild-request.ts'

/**
 * A source of guild lists that does not send tokens which have expired and cannot be refreshed now: Discord would answer
 * 401, and what is held would be forgotten. Why they cannot is trouble, so the held list is shown meanwhile.
 */
export function withoutOverdueTokens(
  source: GuildSource,
  login: { overdue(accessToken: string): HoldfastError | undefined },
): GuildSource {
  return {
    getUserGuildsAnew: async (accessToken, options, sending) => {
      const overdue = login.overdue(accessToken)
      if (overdue) throw overdue
      return source.getUserGuildsAnew(accessToken, options, sending)
    },
    refusedForMs: (path, principal) => source.refusedForMs(path, principal),
  }
}
