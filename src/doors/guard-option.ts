import { anObjectWith } from '../config/accepted.ts'
import type { Option } from '../config/options.ts'
import type { Guard } from '../guard/guard.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import { createGuard } from '../instance/guard.ts'
import type { GuardOptions } from '../instance/guard-options.ts'

/** Option `guard` of every door. */
export const GUARD_OPTION = {
  means: 'a guard that is there already; then the options of `createGuard` are not read',
  accepts: anObjectWith('what createGuard() returned', 'arrive', 'check', 'close'),
} satisfies Option

/** The guard of a door: the one that is there, or one made of the door's options, beside the default instance. */
export function guardOfDoor(given: Guard | undefined, options: GuardOptions): Guard {
  if (given) return given
  // One that is switched off needs no instance, whose configuration might be missing.
  return createGuard(
    options.enabled === false ? options : { ...options, holdfast: options.holdfast ?? defaultHoldfast() },
  )
}
