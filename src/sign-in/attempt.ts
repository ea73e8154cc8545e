import { fingerprint, type KeyRing } from '../secrets/key-ring.ts'
import type { Milliseconds } from '../time/clock.ts'

/** One try to sign in: what Discord's answer must match. It travels sealed, in a cookie of the browser that began it. */
export interface Attempt {
  readonly state: string
  /** PKCE's (RFC 7636). */
  readonly verifier: string
  readonly returnTo: string
  readonly redirectUri: string
  /** Wall clock. */
  readonly begunAt: Milliseconds
}

/** Who has not come back from Discord by then begins again. */
export const ATTEMPT_MS: Milliseconds = 10 * 60 * 1000

/** The end of the attempt's cookie name: the state is in URLs, so its cookie must not repeat it. */
export function attemptName(state: string): string {
  return fingerprint(state).slice(0, 16)
}

/** Sealed for one cookie: under another name it cannot be opened. */
export function sealAttempt(attempt: Attempt, cookieName: string, ring: KeyRing): string {
  return ring.seal(JSON.stringify(attempt), contextOf(cookieName)).toString('base64url')
}

/** The attempt; undefined where the cookie is not ours, was edited or renamed, or is too old. */
export function openAttempt(
  sealed: string | undefined,
  cookieName: string,
  ring: KeyRing,
  now: Milliseconds,
): Attempt | undefined {
  if (sealed === undefined || sealed.length > 4096) return undefined
  const text = ring.open(Buffer.from(sealed, 'base64url'), contextOf(cookieName))
  if (text === undefined) return undefined
  // Sealed by us, so it is what was put in.
  const attempt = JSON.parse(text) as Attempt
  return now - attempt.begunAt < ATTEMPT_MS ? attempt : undefined
}

const contextOf = (cookieName: string) => `sign-in attempt ${cookieName}`
