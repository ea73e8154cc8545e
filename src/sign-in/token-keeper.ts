import { RecentlyUsed } from '../collections/recently-used.ts'
import { SingleFlight } from '../concurrency/single-flight.ts'
import { codeOf } from '../errors/code-of.ts'
import { closedError, DiscordUnavailableError, HoldfastError } from '../errors/errors.ts'
import type { Events, Logger } from '../events/events.ts'
import { fingerprint, randomId } from '../secrets/key-ring.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import { abandonable, withDeadline } from '../time/deadline.ts'
import type { DiscordOAuth, Granted, Refused } from './discord-oauth.ts'
import { RefreshHold } from './refresh-hold.ts'
import type { KeptTokens, SignInStore } from './sign-in-store.ts'
import type { TokenBox, Tokens } from './token-box.ts'

/** A request does not wait longer for a refresh: it goes on with what is held, and the refresh goes on too. */
const PATIENCE_MS: Milliseconds = 2_000
/** One question to the token endpoint. */
const ASK_MS: Milliseconds = 5_000
/** A process that dies while it refreshes is waited for so long. */
const LEASE_MS: Milliseconds = 5_000
const RENEW_EVERY_MS: Milliseconds = 1_500
/** How often who waits for another process's refresh looks whether it is there. */
const LOOK_EVERY_MS: Milliseconds = 50
/** Longer than any lease lasts without being renewed, and any question. */
const FLIGHT_MS: Milliseconds = 25_000
/** Between what Discord gave and a store that did not take it. */
const SAVE_AGAIN_MS: Milliseconds = 200
const SAVES = 5
/** Tokens that expired while they could not be refreshed. */
const OVERDUE = 10_000

export interface TokenKeeperNeeds {
  readonly store: SignInStore
  readonly box: TokenBox
  readonly oauth: Pick<DiscordOAuth, 'refresh'>
  readonly clock: Clock
  readonly random: () => number
  readonly events: Events
  readonly logger: Logger | undefined
}

/** Keeps users' tokens alive: refreshed early, once for all processes, and saved before anybody uses them. */
export class TokenKeeper {
  readonly #needs: TokenKeeperNeeds
  readonly #holder = randomId()
  readonly #flights = new SingleFlight<Tokens | null>('continue')
  readonly #hold: RefreshHold
  readonly #overdue = new RecentlyUsed<string, HoldfastError>(OVERDUE)
  readonly #closing = new AbortController()

  constructor(needs: TokenKeeperNeeds) {
    this.#needs = needs
    this.#hold = new RefreshHold(needs.clock)
  }

  /**
   * The tokens to use for a user now. From `refreshAt` on a refresh begins in the background; tokens that have expired,
   * or that Discord refused (`diedToken`), are waited for, at most 2 s. Null where the authorization has ended.
   *
   * Where a refresh is not to be had (429, 5xx, no answer, a wrong client secret), expired tokens are handed on all the
   * same, so that what is held can still be shown, and `overdue` knows them. Rejects for a `diedToken` in that case.
   */
  async live(kept: KeptTokens, tokens: Tokens, diedToken?: string, signal?: AbortSignal): Promise<Tokens | null> {
    const now = this.#needs.clock.now()
    const died = diedToken !== undefined && diedToken === tokens.accessToken
    if (!died && now < tokens.refreshAt) return tokens
    if (!died && now < tokens.expiresAt) {
      if (!this.#hold.error()) this.#refresh(kept)
      return tokens
    }
    try {
      const held = this.#hold.error()
      if (held) throw held
      const flight = this.#refresh(kept)
      return await withDeadline(this.#needs.clock, PATIENCE_MS, [signal], tooSlow, (until) => flight.wait(until))
    } catch (error) {
      if (died || signal?.aborted || !(error instanceof HoldfastError)) throw error
      this.#overdue.set(fingerprint(tokens.accessToken), error)
      return tokens
    }
  }

  /** Why a token that has expired could not be refreshed; undefined for every other token. It is not worth sending. */
  overdue(accessToken: string): HoldfastError | undefined {
    return this.#overdue.size === 0 ? undefined : this.#overdue.get(fingerprint(accessToken))
  }

  /** Lets refreshes under way come to their end, which spent a token to begin; after the deadline they are given up. */
  async close(deadlineMs: Milliseconds): Promise<void> {
    const landing = () => Promise.allSettled([...this.#flights.values()].map((flight) => flight.promise))
    await withDeadline(this.#needs.clock, deadlineMs, [], tooSlow, (late) => abandonable(landing, late)).catch(() => {})
    this.#closing.abort(closedError())
  }

  #refresh(kept: KeptTokens) {
    const { clock } = this.#needs
    return (
      this.#flights.get(kept.userId) ??
      this.#flights.start(kept.userId, () =>
        withDeadline(clock, FLIGHT_MS, [this.#closing.signal], tooSlow, (signal) => this.#once(kept, signal)),
      )
    )
  }

  /** One refresh for all processes: by us, or by who has the lease. */
  async #once(known: KeptTokens, signal: AbortSignal): Promise<Tokens | null> {
    const { store, clock } = this.#needs
    const { userId } = known
    for (;;) {
      if (signal.aborted) throw signal.reason
      const newer = await this.#newerThan(known)
      if (newer !== undefined) return newer
      if (await store.lease(userId, this.#holder, LEASE_MS)) break
      await clock.sleep(LOOK_EVERY_MS, signal)
    }
    const working = new AbortController()
    void this.#renew(userId, working.signal)
    try {
      // Between the look and the lease, somebody may have been quicker.
      const newer = await this.#newerThan(known)
      return newer === undefined ? await this.#asUs(known, signal) : newer
    } finally {
      working.abort()
      // Who waits for it would only wait longer.
      await store.release(userId, this.#holder).catch(() => {})
    }
  }

  async #asUs(known: KeptTokens, signal: AbortSignal): Promise<Tokens | null> {
    const { box, events, logger } = this.#needs
    const tokens = box.open(known)
    // Nothing to refresh with: the authorization lasts as long as its token.
    if (!tokens || tokens.refreshToken === undefined) return this.#ended(known)
    let answer: Granted | Refused
    try {
      answer = await this.#ask(known, tokens.refreshToken, signal)
    } catch (error) {
      if (error instanceof Newer) return error.tokens
      if (signal.aborted) throw error
      this.#hold.failed(error)
      events.emit({ type: 'login.refresh', outcome: 'failed', code: codeOf(error) ?? 'UNKNOWN' })
      throw error
    }
    if (!('refused' in answer)) {
      this.#hold.succeeded()
      return this.#save(known, tokens, answer)
    }
    if (answer.refused === 'invalid_grant') {
      this.#hold.succeeded()
      const newer = await this.#newerThan(known)
      if (newer !== undefined) return newer
      return this.#ended(known)
    }
    const error = new DiscordUnavailableError(
      'DISCORD_FOREIGN_ANSWER',
      `POST /oauth2/token: Discord refused a refresh (${answer.error}); see that DISCORD_CLIENT_ID and DISCORD_CLIENT_SECRET are those of one application. Nobody is signed out`,
      { route: 'POST /oauth2/token', attempts: 1 },
    )
    if (this.#hold.refused(error))
      logger?.error({ error: answer.error }, `${error.message}, and no token is refreshed until it is mended`)
    events.emit({ type: 'login.refresh', outcome: 'failed', code: answer.error })
    throw error
  }

  /** Asks once; and where no answer came, so that nobody knows what became of it, once more, unless somebody else knows. */
  async #ask(known: KeptTokens, refreshToken: string, signal: AbortSignal): Promise<Granted | Refused> {
    const { clock, oauth } = this.#needs
    const ask = () => withDeadline(clock, ASK_MS, [signal], noAnswer, (until) => oauth.refresh(refreshToken, until))
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof DiscordUnavailableError) || error.attempts === 0 || signal.aborted) throw error
      const newer = await this.#newerThan(known)
      if (newer !== undefined) throw new Newer(newer)
      return ask()
    }
  }

  /** Before anybody uses them: what is used and lost would sign the user out. */
  async #save(known: KeptTokens, before: Tokens, granted: Granted): Promise<Tokens | null> {
    const { store, box, clock, events, logger } = this.#needs
    const tokens = tokensOf(granted, before, clock.now(), this.#needs.random())
    const { userId, rowId, signedInAt } = known
    const kept = box.seal(tokens, { userId, rowId, signedInAt, version: known.version + 1 })
    for (let time = 1; ; time++) {
      try {
        if (!(await store.replace(kept, known))) {
          // Saved by a try whose answer was lost; or the user signed in anew, or was signed out, meanwhile.
          const newer = await this.#newerThan(known)
          return newer ?? null
        }
        events.emit({ type: 'login.refresh', outcome: 'refreshed' })
        return tokens
      } catch (error) {
        if (time === SAVES) {
          logger?.error(
            { code: codeOf(error) },
            'refreshed tokens could not be saved; their user will have to sign in again',
          )
          throw error
        }
        // On its own clock: closing does not hurry it.
        await clock.sleep(SAVE_AGAIN_MS * time)
      }
    }
  }

  async #ended(known: KeptTokens): Promise<null> {
    await this.#needs.store.endAll(known.userId, known.signedInAt + 1)
    this.#needs.events.emit({ type: 'login.refresh', outcome: 'ended' })
    return null
  }

  /** What is kept now, where that is something else than what is known; null where nothing is. */
  async #newerThan(known: KeptTokens): Promise<Tokens | null | undefined> {
    const kept = await this.#needs.store.tokensOf(known.userId)
    if (!kept) return null
    if (kept.rowId === known.rowId && kept.version === known.version) return undefined
    return this.#needs.box.open(kept) ?? null
  }

  async #renew(userId: string, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#needs
    while (!signal.aborted) {
      await sleepIdly(clock, RENEW_EVERY_MS, signal).catch(() => {})
      if (!signal.aborted) await store.lease(userId, this.#holder, LEASE_MS).catch(() => {})
    }
  }
}

/** Somebody else's tokens came before our second try. */
class Newer extends Error {
  readonly tokens: Tokens | null

  constructor(tokens: Tokens | null) {
    super('somebody else refreshed them')
    this.tokens = tokens
  }
}

/** Refreshed when 15 to 30 % of their life is left: not all at once, and early enough for a day of trouble. */
export function tokensOf(
  { accessToken, refreshToken, scopes, lifetimeMs }: Granted,
  before: Pick<Tokens, 'profile'> & Partial<Tokens>,
  now: Milliseconds,
  random: number,
): Tokens {
  return {
    accessToken,
    refreshToken: refreshToken ?? before.refreshToken,
    scopes: scopes.length > 0 ? scopes : (before.scopes ?? []),
    expiresAt: now + lifetimeMs,
    refreshAt: now + lifetimeMs * (1 - 0.15 * (1 + random)),
    profile: before.profile,
  }
}

const tooSlow = () =>
  new DiscordUnavailableError('DISCORD_TIMEOUT', 'POST /oauth2/token: the refresh has not come through yet', {
    route: 'POST /oauth2/token',
    attempts: 1,
  })
const noAnswer = () =>
  new DiscordUnavailableError('DISCORD_TIMEOUT', `POST /oauth2/token: no answer within ${ASK_MS} ms`, {
    route: 'POST /oauth2/token',
    attempts: 1,
  })
