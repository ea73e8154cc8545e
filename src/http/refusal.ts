import type { Milliseconds } from '../time/clock.ts'
import { retryAfterSeconds } from './retry-after.ts'

/** Why a request was turned away; the `code` that clients match on. */
export type RefusalCode = 'UNAUTHENTICATED' | 'FORBIDDEN' | 'RATE_LIMITED' | 'SERVICE_UNAVAILABLE'

export const REFUSAL_STATUS = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  RATE_LIMITED: 429,
  SERVICE_UNAVAILABLE: 503,
} as const satisfies Record<RefusalCode, number>

/** What users read. */
export const REFUSAL_MESSAGES: Readonly<Record<RefusalCode, string>> = {
  UNAUTHENTICATED: 'Please sign in and try again.',
  FORBIDDEN: 'You do not have access to this.',
  RATE_LIMITED: "You've reached a rate limit. Please wait a few minutes and try again.",
  SERVICE_UNAVAILABLE: 'The server is temporarily under heavy load. Please wait a few minutes and try again.',
}

const TITLES: Readonly<Record<RefusalCode, string>> = {
  UNAUTHENTICATED: 'Signed out',
  FORBIDDEN: 'No access',
  RATE_LIMITED: 'Too many requests',
  SERVICE_UNAVAILABLE: 'Back in a moment',
}

/** A page reloads itself only when the wait is this short. */
const LONGEST_RELOAD_SECONDS = 60

/** A refusal as it goes over the wire. */
export interface Refusal {
  readonly status: 401 | 403 | 429 | 503
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly body: string
}

/**
 * The one way a refusal is written: status, headers and body agree. JSON, or a small page where a browser navigates.
 * `now` is the wall clock; `retryAfterMs` is left out where waiting does not help.
 */
export function writeRefusal(
  code: RefusalCode,
  details: {
    readonly retryAfterMs?: Milliseconds | undefined
    /** The same, where it is whole seconds already, and however long: a month's limit may say 31 days. */
    readonly retryAfterSeconds?: number
    readonly now: Milliseconds
    readonly asPage: boolean
    /** What users read, where the code's own words would not be true. */
    readonly words?: { readonly title: string; readonly message: string }
  },
): Refusal {
  const status = REFUSAL_STATUS[code]
  const { title, message } = details.words ?? { title: TITLES[code], message: REFUSAL_MESSAGES[code] }
  const seconds =
    details.retryAfterSeconds ??
    (details.retryAfterMs === undefined ? undefined : retryAfterSeconds(details.retryAfterMs))
  const retryAt = seconds === undefined ? undefined : new Date(details.now + seconds * 1000)
  const headers: Array<[string, string]> = [
    ['content-type', details.asPage ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8'],
    ['cache-control', 'no-store'],
  ]
  if (seconds !== undefined) headers.push(['retry-after', String(seconds)])
  // RFC 9110, section 15.5.2: a 401 names the scheme that would be accepted.
  if (status === 401) headers.push(['www-authenticate', 'Bearer'])
  const body = details.asPage
    ? page(title, message, seconds, retryAt, status)
    : JSON.stringify({
        code,
        message,
        ...(retryAt && { retryAfterSeconds: seconds, retryAfterAt: retryAt.toISOString() }),
        status,
      })
  return { status, headers, body }
}

/** Whether the client wants a page: a navigation, as far as its headers tell. */
export function wantsPage(method: string, header: (name: string) => string | null): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const destination = header('sec-fetch-dest')
  if (destination !== null && destination !== 'document') return false
  return /\btext\/html\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(header('accept') ?? '')
}

const DAY_SECONDS = 24 * 60 * 60

/** Colours come from the browser, so that light and dark are the reader's; the page needs nothing else and no script. */
const STYLE =
  'body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}h1{font-size:1.6rem;line-height:1.2}a{color:LinkText}'

function page(
  title: string,
  message: string,
  seconds: number | undefined,
  retryAt: Date | undefined,
  status: number,
): string {
  const reload =
    seconds !== undefined && seconds <= LONGEST_RELOAD_SECONDS ? `<meta http-equiv="refresh" content="${seconds}">` : ''
  const when =
    retryAt && seconds !== undefined
      ? `<p>Try again after <time datetime="${retryAt.toISOString()}">${timeInWords(retryAt, seconds)}</time>${reload && '; this page then reloads by itself'}.</p><p><a href="">Try again</a></p>`
      : ''
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">${reload}<title>${title} (${status})</title><style>${STYLE}</style></head><body><main><h1>${title}</h1><p>${message}</p>${when}<p><small>${status}</small></p></main></body></html>`
}

/** `17:05:09 UTC`, with the day before it where that is not clear. */
function timeInWords(at: Date, seconds: number): string {
  const time = `${at.toISOString().slice(11, 19)} UTC`
  if (seconds < DAY_SECONDS) return time
  const days = Math.round(seconds / DAY_SECONDS)
  return `${at.toUTCString().slice(0, 16)}, ${time} (in ${days === 1 ? 'a day' : `${days} days`})`
}
