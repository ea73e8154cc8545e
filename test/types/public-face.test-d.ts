// Compiled with the project, never run: each line that must not compile says so.

import type { APIUser, RESTAPIPartialCurrentUserGuild } from 'discord-api-types/v10'
import {
  type Auth,
  AuthError,
  type AuthRequest,
  type BatchResult,
  batch,
  type Cached,
  type CacheKey,
  type Clock,
  ConfigError,
  cacheUserScopedGraceful,
  classify,
  createGuard,
  createHoldfast,
  createKeyVault,
  createOwnerQuota,
  type DiscordAPIError,
  DiscordRateLimitError,
  DiscordUnavailableError,
  defaultHoldfast,
  discordFetch,
  type Guard,
  type GuardDecision,
  type GuardRequest,
  type GuildMembership,
  type GuildMemberships,
  getCurrentUser,
  getUserGuilds,
  type Holdfast,
  HoldfastError,
  type HoldfastEvent,
  type HoldfastOptions,
  type RequestClass,
  type RequireAuthOptions,
  requireAuth,
  type Session,
  type SessionResolver,
  setDefaultHoldfast,
  withAuth,
} from 'holdfast'
import { expectTypeOf } from 'vitest'

declare const holdfast: Holdfast
declare const request: Request

export async function discord() {
  // A literal path of the route table infers its result; any other takes T, and is unknown without it.
  expectTypeOf(await discordFetch('/users/@me', 'token')).toEqualTypeOf<APIUser>()
  expectTypeOf(await discordFetch('/users/@me/guilds', 'token')).toEqualTypeOf<RESTAPIPartialCurrentUserGuild[]>()
  expectTypeOf(await holdfast.discordFetch('/gateway/bot', 'token', { tokenType: 'Bot' })).not.toBeAny()
  const path: string = '/something'
  expectTypeOf(await discordFetch(path, 'token')).toEqualTypeOf<unknown>()
  expectTypeOf(await discordFetch<{ a: 1 }>(path, 'token')).toEqualTypeOf<{ a: 1 }>()
  expectTypeOf(await discordFetch<null>('/users/@me', 'token', { method: 'PATCH', body: {} })).toEqualTypeOf<null>()
  expectTypeOf(await getCurrentUser('token')).toEqualTypeOf<APIUser>()
  expectTypeOf(await getUserGuilds('token')).toEqualTypeOf<RESTAPIPartialCurrentUserGuild[]>()
  // @ts-expect-error a token is needed
  await discordFetch('/users/@me')
  // @ts-expect-error no such method
  await discordFetch('/users/@me', 'token', { method: 'HEAD' })
  // @ts-expect-error no such token type
  await discordFetch('/users/@me', 'token', { tokenType: 'bot' })
}

export async function cache() {
  expectTypeOf(await cacheUserScopedGraceful('u', 'k', 1, 2, async () => ({ a: 1 }))).toEqualTypeOf<{ a: number }>()
  // @ts-expect-error the function returns a promise
  await cacheUserScopedGraceful('u', 'k', 1, 2, () => 1)
  const cached = await holdfast.cache.get('k', { load: async () => 'v' })
  expectTypeOf(cached).toEqualTypeOf<Cached<string>>()
  expectTypeOf(cached.state).toEqualTypeOf<'fresh' | 'stale' | 'loaded'>()
  expectTypeOf(cached.source).toEqualTypeOf<'memory' | 'redis' | 'store' | 'ledger' | 'load'>()
  expectTypeOf(cached.reason).toEqualTypeOf<'throttled' | 'unavailable' | 'slow' | undefined>()
  expectTypeOf(cached.retryAt).toEqualTypeOf<Date | undefined>()
  // @ts-expect-error what is cached is shared: nobody assigns to it
  cached.value = 'other'
  expectTypeOf(holdfast.cache.peek<number>('k')).toEqualTypeOf<Cached<number> | undefined>()
  const keys: CacheKey[] = ['k', { user: 'u', key: 'k' }]
  // @ts-expect-error a user alone is no key
  keys.push({ user: 'u' })
  await holdfast.cache.get<number>('k', {
    load: async ({ signal, stale }) => {
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(stale).toEqualTypeOf<number | undefined>()
      return 1
    },
    codec: { version: '1', encode: (value) => String(value), decode: Number },
    shouldMask: (error) => error instanceof Error,
  })
  // @ts-expect-error a load is needed
  await holdfast.cache.get('k', {})
}

export async function auth() {
  const full = await requireAuth(request, { guild: '1', permissions: 'ManageGuild' })
  expectTypeOf(full).toEqualTypeOf<Auth & { readonly guild: GuildMembership }>()
  expectTypeOf(await requireAuth(request)).toEqualTypeOf<Auth>()
  const options: RequireAuthOptions = { guild: '1', permissions: 'ManageGuild' }
  expectTypeOf(await requireAuth(request, options)).toEqualTypeOf<Auth>()
  // @ts-expect-error permissions are those in a guild
  await requireAuth(request, { permissions: 'ManageGuild' })
  expectTypeOf(full.guilds).toEqualTypeOf<GuildMemberships>()
  expectTypeOf(full.guild).toEqualTypeOf<GuildMembership>()
  expectTypeOf(full.user.username).toEqualTypeOf<string | undefined>()
  expectTypeOf(full.guildsFetchedAt).toEqualTypeOf<Date>()
  await requireAuth({ headers: new Headers() }, { permissions: ['ManageGuild', 'BanMembers'] as const, guild: '1' })
  const user = await requireAuth(request, { guilds: false })
  expectTypeOf(user).toEqualTypeOf<Pick<Auth, 'user'>>()
  // @ts-expect-error without guilds there are none to read
  user.guilds
  // @ts-expect-error no such permission
  await requireAuth(request, { guild: '1', permissions: 'MANAGE_GUILD' })
  // @ts-expect-error headers are needed
  await requireAuth({})
  expectTypeOf(full.guilds.can('1', 'ManageGuild')).toEqualTypeOf<boolean>()
  // @ts-expect-error no such permission
  full.guilds.can('1', 'Everything')
  // @ts-expect-error memberships are immutable
  full.guilds.get('1')!.owner = true
  for (const guild of full.guilds) expectTypeOf(guild.permissions).toEqualTypeOf<bigint>()
  expectTypeOf(full.guilds.toJSON()[0]!.permissions).toEqualTypeOf<string>()

  const route = withAuth(
    (asked, { user }, context: { params: Promise<{ id: string }> }) => Response.json([asked.url, user.id, context]),
    { guild: async (_request, context: { params: Promise<{ id: string }> }) => (await context.params).id },
  )
  expectTypeOf(route).parameters.toEqualTypeOf<[Request, { params: Promise<{ id: string }> }]>()
  expectTypeOf(route).returns.toEqualTypeOf<Promise<Response>>()
  withAuth((_request, { guild }) => Response.json(guild.name), { guild: '1' })
  // @ts-expect-error with guilds: false only the user is there
  withAuth((_request, { guilds }) => Response.json(guilds), { guilds: false })
  // @ts-expect-error permissions are those in a guild
  withAuth(() => new Response(), { permissions: 'ManageGuild' })
  // @ts-expect-error a handler answers with a Response
  withAuth(() => 'text')
}

export function instances() {
  expectTypeOf(createHoldfast()).toEqualTypeOf<Holdfast>()
  expectTypeOf(defaultHoldfast()).toEqualTypeOf<Holdfast>()
  setDefaultHoldfast(undefined)
  const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: async () => {} }
  const session: SessionResolver = (asked) => {
    expectTypeOf(asked).toEqualTypeOf<AuthRequest>()
    return { userId: '1', accessToken: 't', scopes: ['guilds'] }
  }
  const options: HoldfastOptions = { clock, session, discord: { maxRetries: 1 }, cache: { freshMs: 1, staleMs: 2 } }
  createHoldfast({ ...options, session: async () => null })
  // @ts-expect-error a session has a token
  createHoldfast({ session: () => ({ userId: '1' }) })
  // @ts-expect-error milliseconds are a number
  createHoldfast({ cache: { freshMs: '60' } })
  // @ts-expect-error no such option
  createHoldfast({ cache: { freshMinutes: 60 } })
  expectTypeOf<Session>().toHaveProperty('scopes')
  expectTypeOf(holdfast.close({ deadlineMs: 1 })).toEqualTypeOf<Promise<void>>()
  expectTypeOf(holdfast[Symbol.asyncDispose]()).toEqualTypeOf<Promise<void>>()
}

export function errors(error: unknown) {
  if (error instanceof AuthError) {
    expectTypeOf(error.status).toEqualTypeOf<401 | 403 | 429 | 503>()
    expectTypeOf(error.toResponse(request)).toEqualTypeOf<Response>()
  } else if (error instanceof DiscordRateLimitError) {
    expectTypeOf(error.retryAfterMs).toEqualTypeOf<number>()
    expectTypeOf(error.scope).toEqualTypeOf<'user' | 'global' | 'shared' | 'egress'>()
    expectTypeOf(error).toExtend<DiscordAPIError>()
  } else if (error instanceof DiscordUnavailableError) expectTypeOf(error.route).toEqualTypeOf<string>()
  else if (error instanceof ConfigError) expectTypeOf(error.option).toEqualTypeOf<string>()
  else if (error instanceof HoldfastError) expectTypeOf(error.retryAfterMs).toEqualTypeOf<number | undefined>()
  // @ts-expect-error the code of an error is stable
  if (error instanceof HoldfastError) error.code = 'other'
}

export function events() {
  holdfast.on((event) => {
    expectTypeOf(event).toEqualTypeOf<HoldfastEvent>()
    expectTypeOf(event.at).toEqualTypeOf<number>()
    if (event.type === 'discord.rate-limited') expectTypeOf(event.retryAfterMs).toEqualTypeOf<number>()
    if (event.type === 'cache.stale') expectTypeOf(event.key).toEqualTypeOf<string>()
    // @ts-expect-error no such event
    if (event.type === 'cache.gone') return
  })
  expectTypeOf(holdfast.stats().discord.breaker).toEqualTypeOf<'closed' | 'open' | 'half-open'>()
}

export async function quotas() {
  const quota = createOwnerQuota({ name: 'a', limit: 1, windowMs: 1, limits: { a: 2 }, holdfast })
  const taken = await quota.take('a', 2)
  if (taken.ok) expectTypeOf(taken.remaining).toEqualTypeOf<number>()
  else expectTypeOf(taken.retryAfterMs).toEqualTypeOf<number>()
  // @ts-expect-error there is nothing to wait for until it was refused
  taken.retryAfterMs
  expectTypeOf((await quota.state('a')).resetAt).toEqualTypeOf<Date>()
  await quota.setLimit('a', undefined)
  await quota.learn('a', { remaining: 1 })
  // @ts-expect-error a window has a length
  createOwnerQuota({ limit: 1 })
  const vault = await createKeyVault({ secret: ['new', 'old'], ownerOf: async (key) => key })
  const keys = await vault.keysOf('a')
  expectTypeOf(keys[0]!.lastUsedAt).toEqualTypeOf<Date | null>()
  const results = await batch(['a', 'b'], {
    keys,
    quota,
    send: async (request, key, { signal, owner, id, learn }) => {
      expectTypeOf(request).toEqualTypeOf<string>()
      expectTypeOf([key, owner]).toEqualTypeOf<string[]>()
      expectTypeOf(id).toEqualTypeOf<string | undefined>()
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(learn({ retryAfterMs: 1 })).toEqualTypeOf<void>()
      return 1
    },
    onProgress: ({ waitingUntil }) => expectTypeOf(waitingUntil).toEqualTypeOf<Date | undefined>(),
  })
  expectTypeOf(results).toEqualTypeOf<Array<BatchResult<number>>>()
  // @ts-expect-error a quota is needed
  await batch([1], { keys: [], send: async () => 1 })
}

export async function guard() {
  const made: Guard = createGuard({
    holdfast,
    instances: 2,
    rules: {
      '/api/*': '60/minute',
      'POST /api/chat': [
        '10/month',
        { name: 'chat', limit: 5, windowMs: 'month', anon: 1, auth: 5, onStoreError: 'closed' },
      ],
    },
    publicPaths: ['/docs'],
    trustProxy: ['10.0.0.0/8'],
    refundOn: [409],
    shedding: { heap: [0.9, 0.8], memory: [0.9, 0.8], eventLoopP99Ms: [200, 100], maxInFlight: 100 },
    identify: async (asked) => (asked.header('x') === null ? undefined : { userId: '1' }),
  })
  const asked: GuardRequest = { method: 'GET', path: '/', header: () => null, remoteAddress: '127.0.0.1' }
  const decision: GuardDecision = await made.check(asked)
  if (decision.action === 'refuse') {
    expectTypeOf(decision.status).toEqualTypeOf<403 | 429 | 503>()
    expectTypeOf(decision.body).toEqualTypeOf<string>()
  } else {
    expectTypeOf(decision.limits[0]?.resetAt).toEqualTypeOf<Date | undefined>()
    await decision.settle(409)
    await decision.refund()
  }
  expectTypeOf(classify(asked)).toEqualTypeOf<RequestClass>()
  // @ts-expect-error no such unit
  createGuard({ rules: { '/': '1/week' } })
  // @ts-expect-error who may be trusted is a list
  createGuard({ trustProxy: true })
}
