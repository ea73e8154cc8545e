import { SingleFlight } from '../concurrency/single-flight.ts'
import { DiscordAPIError, DiscordRateLimitError, DiscordUnavailableError, HoldfastError } from '../errors/errors.ts'
import { fingerprint, type KeyRing, randomId } from '../secrets/key-ring.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import type { LoginRefusal } from './answers.ts'
import { ATTEMPT_MS, type Attempt } from './attempt.ts'
import type { DiscordOAuth, Granted } from './discord-oauth.ts'
import type { SignInStore } from './sign-in-store.ts'
import type { Profile, TokenBox } from './token-box.ts'
import { tokensOf } from './token-keeper.ts'

/** Who a new token belongs to: `GET /users/@me`. */
export type Identify = (accessToken: string, signal: AbortSignal) => Promise<{ readonly id: string } & Profile>

export interface CallbackNeeds {
  readonly store: SignInStore
  readonly box: TokenBox
  readonly ring: KeyRing
  readonly oauth: DiscordOAuth
  readonly identify: Identify
  readonly clock: Clock
  readonly random: () => number
}

/** What came of an answer: a session's id, or why there is none. `opened` is false for who brings the same answer again. */
export type Received =
  | { readonly sessionId: string; readonly opened: boolean }
  | { readonly refused: LoginRefusal; readonly error?: unknown }

/** Exchange, question and save together; a process that dies meanwhile is waited for so long. */
const EXCHANGE_MS: Milliseconds = 20_000
const LOOK_EVERY_MS: Milliseconds = 50

/**
 * Turns Discord's answer into a session. An answer that comes twice (a double click, a reload) is exchanged once, in all
 * processes together, and both times leads to the same session; another code for the same attempt leads to none.
 */
export class Callback {
  readonly #needs: CallbackNeeds
  readonly #flights = new SingleFlight<Received>('continue')

  constructor(needs: CallbackNeeds) {
    this.#needs = needs
  }

  async receive(attempt: Attempt, parameters: URLSearchParams): Promise<Received> {
    const answer = this.#needs.oauth.readAnswer(parameters, attempt.state)
    if (!answer) return { refused: 'state' }
    if ('error' in answer) return { refused: answer.error === 'access_denied' ? 'denied' : 'answer' }
    // RFC 6749, 3.1: no parameter comes more than once. Which of two codes were ours?
    const [code, another] = answer.parameters.getAll('code')
    if (!code || another !== undefined) return { refused: 'state' }
    const names = { attempt: fingerprint(attempt.state), code: fingerprint(code) }
    const key = `${names.attempt} ${names.code}`
    const underWay = this.#flights.get(key)
    if (underWay) {
      const came = await underWay.wait()
      return 'sessionId' in came ? { ...came, opened: false } : came
    }
    return this.#flights.start(key, () => this.#once(attempt, answer.parameters, names)).wait()
  }

  async #once(
    attempt: Attempt,
    checked: URLSearchParams,
    names: { readonly attempt: string; readonly code: string },
  ): Promise<Received> {
    const { store, ring, clock } = this.#needs
    try {
      const giveUpAt = clock.monotonic() + EXCHANGE_MS
      for (;;) {
        const claim = await store.claim(names.attempt, names.code, EXCHANGE_MS)
        if (claim.kind === 'mine') break
        if (claim.kind === 'spent') return { refused: 'state' }
        if (claim.kind === 'done') {
          const sessionId = ring.open(Buffer.from(claim.sealed), contextOf(names))
          return sessionId === undefined ? { refused: 'state' } : { sessionId, opened: false }
        }
        if (clock.monotonic() > giveUpAt) return { refused: 'unavailable' }
        await clock.sleep(LOOK_EVERY_MS)
      }
      const received = await this.#exchange(attempt, checked)
      const outcome = 'sessionId' in received ? ring.seal(received.sessionId, contextOf(names)) : null
      // Without it a second answer waits, and then begins again.
      await store.settle(names.attempt, names.code, outcome, ATTEMPT_MS).catch(() => {})
      return received
    } catch (error) {
      if (error instanceof HoldfastError) return { refused: 'store', error }
      throw error
    }
  }

  async #exchange(attempt: Attempt, checked: URLSearchParams): Promise<Received> {
    const { clock, oauth, identify } = this.#needs
    const late = () =>
      new DiscordUnavailableError('DISCORD_TIMEOUT', `the sign-in took longer than ${EXCHANGE_MS} ms`, {
        route: 'POST /oauth2/token',
        attempts: 1,
      })
    try {
      const answer = await withDeadline(clock, EXCHANGE_MS, [], late, async (signal) => {
        const granted = await oauth.exchange(checked, attempt.redirectUri, attempt.verifier, signal)
        return 'refused' in granted ? granted : { granted, user: await identify(granted.accessToken, signal) }
      })
      if ('refused' in answer)
        return {
          refused:
            answer.refused === 'invalid_grant' ? 'code' : answer.refused === 'invalid_client' ? 'client' : 'answer',
        }
      return { sessionId: await this.#open(answer.granted, answer.user), opened: true }
    } catch (error) {
      if (error instanceof DiscordRateLimitError) return { refused: 'throttled', error }
      if (error instanceof DiscordAPIError && error.status < 500) return { refused: 'answer', error }
      if (error instanceof DiscordAPIError || error instanceof DiscordUnavailableError)
        return { refused: 'unavailable', error }
      throw error
    }
  }

  async #open(granted: Granted, { id: userId, ...profile }: { readonly id: string } & Profile): Promise<string> {
    const { store, box, clock, random } = this.#needs
    const now = clock.now()
    const sessionId = randomId(32)
    const tokens = tokensOf(granted, { profile }, now, random())
    await store.open(
      { idHash: fingerprint(sessionId), userId, createdAt: now, seenAt: now },
      box.seal(tokens, { userId, rowId: randomId(), version: 1, signedInAt: now }),
    )
    return sessionId
  }
}

const contextOf = ({ attempt, code }: { readonly attempt: string; readonly code: string }) =>
  `sign-in outcome ${attempt} ${code}`
