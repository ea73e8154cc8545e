import { AuthError } from '../auth/auth-error.ts'
import type { AuthFor, Consistent, RequireAuthOptions } from '../auth/require-auth-options.ts'
import type { HoldfastOptions } from '../config/holdfast-options.ts'
import { optionsOf } from '../config/options.ts'
import { defaultHoldfast, knownDefaultHoldfast, setDefaultHoldfast } from '../instance/default-instance.ts'
import { createHoldfast, type Holdfast } from '../instance/holdfast.ts'
import { processWideSymbol } from '../instance/process-wide.ts'
import { AUTH_DOOR_TABLE } from './authenticate.ts'
import { answerLogin, LOGIN_DOOR_TABLE, type LoginDoorOptions } from './login-options.ts'

/** As `requireAuth`, with an instance of one's own. */
export type PageAuthOptions = RequireAuthOptions & {
  /** Default: the default instance. */
  holdfast?: Holdfast
}

export const NEXT_PAGE_AUTH_OPTIONS = optionsOf('next.pageAuth', AUTH_DOOR_TABLE)
export const NEXT_LOGIN_OPTIONS = optionsOf('next.login', LOGIN_DOOR_TABLE)

/**
 * For server components: who the request is from, as `requireAuth` for a GET; null for who is signed out, so that a page
 * can show or redirect to its sign-in. Throws AuthError for every other refusal (403, 429, 503), for `error.tsx`.
 */
export async function pageAuth<Options extends PageAuthOptions>(
  options?: Consistent<Options>,
): Promise<AuthFor<Options> | null> {
  return authOf(options, 'GET')
}

/**
 * For server actions: as `pageAuth`, judged as a change. Memberships may be 5 minutes old at most, and the login's
 * session counts only where the action was called from this site (its Origin).
 */
export async function actionAuth<Options extends PageAuthOptions>(
  options?: Consistent<Options>,
): Promise<AuthFor<Options> | null> {
  return authOf(options, 'POST')
}

async function authOf<Options extends PageAuthOptions>(
  options: Consistent<Options> | undefined,
  method: 'GET' | 'POST',
): Promise<AuthFor<Options> | null> {
  NEXT_PAGE_AUTH_OPTIONS.check(options)
  const { holdfast = defaultHoldfast(), ...asked }: PageAuthOptions = options ?? {}
  const { headers } = await import('next/headers.js')
  // A copy: Next's own are of a class that other code does not know.
  const request = { headers: new Headers(await headers()), method }
  try {
    return (await holdfast.requireAuth(request, asked)) as AuthFor<Options>
  } catch (error) {
    if (error instanceof AuthError && error.code === 'UNAUTHENTICATED') return null
    throw error
  }
}

/** A route handler for each method that the login has. */
export interface LoginHandlers {
  GET(request: Request): Promise<Response>
  POST(request: Request): Promise<Response>
}

/**
 * The login's routes, for `app/auth/[...holdfast]/route.ts`: `export const { GET, POST } = login()`. Under another folder
 * give its path as `basePath`. A path that is none of the login's is a 404.
 */
export function login(options: LoginDoorOptions = {}): LoginHandlers {
  NEXT_LOGIN_OPTIONS.check(options)
  const answer = async (request: Request) =>
    (await answerLogin(options, request)) ?? new Response('Not found', { status: 404 })
  return { GET: answer, POST: answer }
}

const SHARED = processWideSymbol('shared')
const processWide = globalThis as { [key: symbol]: Holdfast | undefined }

/**
 * The one instance of the process, made with these options by whoever comes first, and the default one from then on:
 * `export const holdfast = oneHoldfast({ session })` in `lib/holdfast.ts`. Next evaluates such a file once for each bundle
 * and again after each edit, and every instance of its own would spend Discord's limits alone. Without options it is the
 * default instance where something made that first. Options that change while the process runs are not read again: start
 * it anew. After `close()` the next call makes another. Throws ConfigError as `createHoldfast`.
 */
export function oneHoldfast(options: HoldfastOptions = {}): Holdfast {
  const shared = processWide[SHARED]
  if (shared) return shared
  const made = (Object.keys(options).length === 0 && knownDefaultHoldfast()) || createHoldfast(options)
  const close = made.close
  made.close = (closing) => {
    if (processWide[SHARED] === made) processWide[SHARED] = undefined
    if (knownDefaultHoldfast() === made) setDefaultHoldfast(undefined)
    return close(closing)
  }
  made[Symbol.asyncDispose] = () => made.close()
  processWide[SHARED] = made
  setDefaultHoldfast(made)
  return made
}
