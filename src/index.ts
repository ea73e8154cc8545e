import './config/runtime.ts'

import type { RequireAuthOptions } from './auth/require-auth-options.ts'
import type { DiscordFetchOptions } from './discord/call-options.ts'
import { defaultHoldfast } from './instance/default-instance.ts'
import type { Holdfast } from './instance/holdfast.ts'
import type { AuthRequest } from './sessions/session.ts'

export type { Auth, AuthUser } from './auth/auth.ts'
export { AuthError, isAuthError } from './auth/auth-error.ts'
export type { RefusalReason } from './auth/refusal-reasons.ts'
export type { AuthFor, RequireAuthOptions } from './auth/require-auth-options.ts'
export type { CacheKey } from './cache/cache-key.ts'
export type { CacheOptions, LoadContext } from './cache/cache-options.ts'
export type { Cached } from './cache/cached.ts'
export type { GracefulCache } from './cache/graceful-cache.ts'
export type { HoldfastOptions } from './config/holdfast-options.ts'
export type { RedisOptions } from './config/redis.ts'
export type { Priority } from './discord/call.ts'
export type { DiscordFetchOptions } from './discord/call-options.ts'
export type { DiscordHold } from './discord/holds.ts'
export type { KnownGet } from './discord/known-routes.ts'
export {
  ConfigError,
  DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  HoldfastError,
  type RateLimitScope,
} from './errors/errors.ts'
export type { HoldfastEvent, Logger } from './events/events.ts'
export { classify } from './guard/classify.ts'
export type { GuardDecision, PassDecision, RefuseDecision } from './guard/decision.ts'
export type { Guard, GuardStats } from './guard/guard.ts'
export type { GuardRequest, Identity } from './guard/guard-request.ts'
export type { Identify, OwnKey, Skip } from './guard/identification.ts'
export type { Limit } from './guard/limit.ts'
export type { LimitState } from './guard/limit-headers.ts'
export type { SheddingOptions } from './guard/load-shedding.ts'
export type { OwnRefusal } from './guard/refused.ts'
export type { RuleOption } from './guard/rules.ts'
export type { TrustProxy } from './guard/trusted-proxies.ts'
export type { MembershipOptions, MembershipResult } from './guilds/membership-result.ts'
export type { GuildMembership, GuildMemberships } from './guilds/memberships.ts'
export type { PermissionName } from './guilds/permissions.ts'
export type { RequestClass } from './http/request-class.ts'
export { defaultHoldfast, setDefaultHoldfast } from './instance/default-instance.ts'
export { createGuard } from './instance/guard.ts'
export { type ExplainedPath, type ExplainedRule, explainGuard } from './instance/guard-explained.ts'
export type { GuardOptions } from './instance/guard-options.ts'
export { createHoldfast, type Holdfast, type HoldfastStats } from './instance/holdfast.ts'
export { createKeyVault, type KeyVaultOptions } from './instance/key-vault.ts'
export { createOwnerQuota, type OwnerQuotaOptions, type OwnerQuotaWindow } from './instance/quota.ts'
export type { BotGuilds } from './ledger/bot-guilds.ts'
export type { MembershipLedger, UserExport } from './ledger/membership-ledger.ts'
export type { AgeOfUsers, LedgerSummary } from './ledger/membership-store.ts'
export type { RefreshCounts, RefreshOptions } from './ledger/refresh-due.ts'
export { batch } from './quota/batch.ts'
export type { BatchKey, BatchOptions, BatchProgress, BatchResult, SendContext } from './quota/batch-options.ts'
export { batchStream, type StreamResult } from './quota/batch-stream.ts'
export type { KeyVault, VaultKey } from './quota/key-vault.ts'
export type { OwnerQuota, RunContext, RunOptions, TakeAnswer } from './quota/owner-quota.ts'
export type { QuotaAnswer } from './quota/quota-answer.ts'
export { readQuotaHeaders } from './quota/quota-headers.ts'
export type { AuthRequest, Session, SessionContext, SessionResolver } from './sessions/session.ts'
export type { DiscordLogin } from './sign-in/discord-login.ts'
export { type Clock, type Milliseconds, systemClock } from './time/clock.ts'

// Async functions, so that a configuration that cannot be used is a rejection like every other error.

/** `Holdfast.discordFetch` of the default instance. */
export const discordFetch = (async (path: string, accessToken: string, options?: DiscordFetchOptions) =>
  defaultHoldfast().discordFetch(path, accessToken, options)) as Holdfast['discordFetch']

/** `Holdfast.getCurrentUser` of the default instance. */
export const getCurrentUser: Holdfast['getCurrentUser'] = async (accessToken, options) =>
  defaultHoldfast().getCurrentUser(accessToken, options)

/** `Holdfast.getUserGuilds` of the default instance. */
export const getUserGuilds: Holdfast['getUserGuilds'] = async (accessToken, options) =>
  defaultHoldfast().getUserGuilds(accessToken, options)

/** `Holdfast.cacheUserScopedGraceful` of the default instance. */
export const cacheUserScopedGraceful: Holdfast['cacheUserScopedGraceful'] = async (
  userId,
  key,
  freshTtlMs,
  staleTtlMs,
  fetchFn,
) => defaultHoldfast().cacheUserScopedGraceful(userId, key, freshTtlMs, staleTtlMs, fetchFn)

/** `Holdfast.requireAuth` of the default instance. */
export const requireAuth = (async (request: AuthRequest, options?: RequireAuthOptions) =>
  defaultHoldfast().requireAuth(request, options)) as Holdfast['requireAuth']

/** `Holdfast.withAuth` of the default instance. It is looked up at each request, so wrapping a handler builds nothing. */
export const withAuth: Holdfast['withAuth'] =
  (handler, options) =>
  async (request, ...rest) =>
    defaultHoldfast().withAuth(handler, options)(request, ...rest)
