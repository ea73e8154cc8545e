import { wantsPage } from '../http/refusal.ts'

/** Why the login turned a request away: what `login.refused` says, and what users read. */
export const LOGIN_REFUSALS = {
  state: [
    400,
    'This sign-in link was used already, is too old, or was begun in another browser. Please sign in again.',
  ],
  denied: [403, 'You cancelled the sign-in at Discord. Nothing was changed.'],
  code: [400, 'Discord did not accept this sign-in. Please sign in again.'],
  answer: [400, 'Discord answered the sign-in with an error. Please sign in again.'],
  client: [500, 'This site cannot sign anybody in at the moment. Please tell its operator.'],
  throttled: [503, 'Discord asks this site to wait. Please try again in a moment.'],
  unavailable: [503, 'Discord cannot be reached at the moment. Please try again in a moment.'],
  store: [503, 'Sign-ins cannot be kept at the moment. Please try again in a moment.'],
  origin: [403, 'This request did not come from this site.'],
  session: [401, 'Please sign in and try again.'],
  method: [405, 'This address is used in another way.'],
  signature: [401, 'The signature is missing or wrong.'],
  old: [401, 'The event is too old.'],
  application: [401, 'The event is for another application.'],
  body: [400, 'The event could not be read.'],
  size: [413, 'The event is too large.'],
} as const satisfies Record<string, readonly [status: number, message: string]>

export type LoginRefusal = keyof typeof LOGIN_REFUSALS

/** Nothing of the login is kept by a cache, and no address of it (they hold codes) told to another site. */
const PRIVATE = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } as const

/** Sends the browser on, with cookies. */
export function redirect(status: 302 | 303, location: string, cookies: readonly string[]): Response {
  return withCookies(new Response(null, { status, headers: { ...PRIVATE, location } }), cookies)
}

/** 204, with cookies. */
export function nothing(cookies: readonly string[] = []): Response {
  // Discord wants a type also where there is no body.
  return withCookies(
    new Response(null, { status: 204, headers: { ...PRIVATE, 'content-type': 'application/json' } }),
    cookies,
  )
}

/** A refusal: JSON `{ code, message, status }`, or a small page with a way back where a browser navigates. */
export function refuse(
  reason: LoginRefusal,
  request: Request,
  options: { again?: string; cookies?: readonly string[]; retryAfterSeconds?: number; allow?: string } = {},
): Response {
  const [status, message] = LOGIN_REFUSALS[reason]
  const asPage = wantsPage(request.method, (name) => request.headers.get(name))
  const body = asPage
    ? page(message, options.again)
    : JSON.stringify({
        code: `SIGN_IN_${reason.toUpperCase()}`,
        message,
        status,
        ...(options.retryAfterSeconds !== undefined && { retryAfterSeconds: options.retryAfterSeconds }),
      })
  const headers = new Headers({
    ...PRIVATE,
    'content-type': asPage ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8',
  })
  if (options.retryAfterSeconds !== undefined) headers.set('retry-after', String(options.retryAfterSeconds))
  if (options.allow !== undefined) headers.set('allow', options.allow)
  return withCookies(new Response(body, { status, headers }), options.cookies ?? [])
}

function withCookies(response: Response, cookies: readonly string[]): Response {
  for (const cookie of cookies) response.headers.append('set-cookie', cookie)
  return response
}

/** Colours come from the browser, so that light and dark are the reader's; it needs nothing else, and no script. */
const STYLE =
  'body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}h1{font-size:1.6rem;line-height:1.2}a{color:LinkText}'

function page(message: string, again: string | undefined): string {
  // Only our own path: nothing of the request is ever on the page.
  const link = again === undefined ? '' : `<p><a href="${again}">Sign in</a> · <a href="/">Back to the site</a></p>`
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><meta name="robots" content="noindex"><title>Not signed in</title><style>${STYLE}</style></head><body><main><h1>Not signed in</h1><p>${message}</p>${link}</main></body></html>`
}
