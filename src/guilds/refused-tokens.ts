import { RecentlyUsed } from '../collections/recently-used.ts'
import type { DiscordAPIError } from '../errors/errors.ts'
import { fingerprint } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'

/** How many are remembered; forgetting one costs a call. */
const TOKENS = 10_000
/** A scope that is missing does not come by itself, but a refusal may have another cause that passes. */
const REMEMBERED_MS: Milliseconds = 5 * 60 * 1000

/**
 * Tokens that Discord answered 403 when they asked for the guilds: the scope `guilds` is missing. Asking again at every
 * page view would spend the budget of invalid requests that bans this address.
 */
export class RefusedTokens {
  readonly #clock: Clock
  readonly #byToken = new RecentlyUsed<string, { readonly error: DiscordAPIError; readonly until: Milliseconds }>(
    TOKENS,
  )

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** What Discord answered, while it is not worth asking again. */
  find(accessToken: string): DiscordAPIError | undefined {
    // No hash of a token where there is nothing to find.
    if (this.#byToken.size === 0) return undefined
    const refused = this.#byToken.get(fingerprint(accessToken))
    return refused && this.#clock.monotonic() < refused.until ? refused.error : undefined
  }

  note(token: string, error: DiscordAPIError): void {
    this.#byToken.set(token, { error, until: this.#clock.monotonic() + REMEMBERED_MS })
  }
}
