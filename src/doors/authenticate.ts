import type { Auth } from '../auth/auth.ts'
import { AuthError } from '../auth/auth-error.ts'
import { REQUIRE_AUTH_OPTIONS, type RequireAuthOptions } from '../auth/require-auth-options.ts'
import { anObject } from '../config/accepted.ts'
import type { OptionTable } from '../config/options.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import type { AuthRequest } from '../sessions/session.ts'

/** `requireAuth` as a framework's door takes it: `guild`, where it is a function, gets the framework's own request too. */
export interface DoorAuthOptions<Further> extends Omit<RequireAuthOptions, 'guild'> {
  /** Default: the default instance, looked up at each request. */
  holdfast?: Holdfast
  /** A guild the user must be in: its id, or how to find it. Null, undefined and '' never pass. */
  guild?:
    | string
    | ((asked: AuthRequest, further: Further) => string | null | undefined | Promise<string | null | undefined>)
}

/** What every door's `requireAuth` takes. */
export const AUTH_DOOR_TABLE = {
  holdfast: {
    means: 'whose sessions',
    accepts: anObject('what createHoldfast() returned'),
    preset: 'the default instance',
  },
  ...REQUIRE_AUTH_OPTIONS.table,
} satisfies OptionTable

/** Who a request is from, or the answer that turns it away. Other errors are thrown. */
export async function authenticate<Further>(
  options: DoorAuthOptions<Further>,
  asked: AuthRequest,
  further: Further,
): Promise<Auth | Response> {
  const { holdfast = defaultHoldfast(), guild, ...rest } = options
  const wanted: RequireAuthOptions = { ...rest }
  if (typeof guild === 'function') wanted.guild = () => guild(asked, further)
  // Also where it is undefined: a guild that was to be named and was not lets nobody in.
  else if ('guild' in options) Object.assign(wanted, { guild })
  try {
    return await holdfast.requireAuth(asked, wanted)
  } catch (error) {
    if (error instanceof AuthError) return error.toResponse(asked)
    throw error
  }
}
