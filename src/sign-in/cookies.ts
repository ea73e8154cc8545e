import { parseCookie, stringifySetCookie } from 'cookie'
import type { Milliseconds } from '../time/clock.ts'

/** A longer header is not read: nothing of ours is in it, and whoever sends it has time to waste. */
const LONGEST_COOKIE_HEADER = 64 * 1024

/** The value of one cookie; undefined where there is none, and where the header is malformed or far too long. */
export function readCookies(headers: Headers): Readonly<Record<string, string | undefined>> {
  const header = headers.get('cookie')
  if (header === null || header.length > LONGEST_COOKIE_HEADER) return {}
  return parseCookie(header, { decode: (text) => text })
}

/**
 * The names and attributes of the login's cookies: HttpOnly, SameSite=Lax, for the whole site. Over https they are Secure
 * and begin with `__Host-`, so that no subdomain can plant one (RFC 6265bis, section 4.1.3.2); on http://localhost, where
 * browsers would refuse that, they have plain names.
 */
export class LoginCookies {
  readonly session: string
  readonly #attemptPrefix: string
  readonly #secure: boolean

  constructor(secure: boolean) {
    const prefix = secure ? '__Host-' : ''
    this.#secure = secure
    this.session = `${prefix}holdfast-session`
    this.#attemptPrefix = `${prefix}holdfast-sign-in-`
  }

  /** One for each attempt, so that several tabs can sign in at once. */
  attempt(name: string): string {
    return this.#attemptPrefix + name
  }

  /** The names of all attempts that a browser holds. */
  attemptsIn(cookies: Readonly<Record<string, string | undefined>>): string[] {
    return Object.keys(cookies).filter((name) => name.startsWith(this.#attemptPrefix))
  }

  set(name: string, value: string, forMs: Milliseconds): string {
    return this.#write(name, value, Math.floor(forMs / 1000))
  }

  clear(name: string): string {
    return this.#write(name, '', 0)
  }

  #write(name: string, value: string, maxAge: number): string {
    return stringifySetCookie(
      { name, value, maxAge, path: '/', httpOnly: true, secure: this.#secure, sameSite: 'lax' },
      { encode: (text) => text },
    )
  }
}
