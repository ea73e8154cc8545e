import { anObject } from '../config/accepted.ts'
import { BASE_PATH } from '../config/login.ts'
import type { OptionTable } from '../config/options.ts'
import { defaultHoldfast } from '../instance/default-instance.ts'
import type { Holdfast } from '../instance/holdfast.ts'

/** How the login's routes are put into a framework. */
export interface LoginDoorOptions {
  /** Default: the default instance. */
  holdfast?: Holdfast
  /** What the login's paths begin with. Default: the instance's `login.basePath`, `/auth`. */
  basePath?: string
}

/** What every door's `login` takes. */
export const LOGIN_DOOR_TABLE = {
  holdfast: {
    means: 'whose login it is',
    accepts: anObject('what createHoldfast() returned'),
    preset: 'the default instance',
  },
  basePath: { means: "what the login's paths begin with", accepts: BASE_PATH, preset: 'login.basePath' },
} satisfies OptionTable<keyof LoginDoorOptions>

/** Answers a request that is for the login; undefined for every other. The default instance is looked up at each. */
export function answerLogin(options: LoginDoorOptions, request: Request): Promise<Response | undefined> {
  const { holdfast = defaultHoldfast(), basePath } = options
  return holdfast.login.handle(request, basePath === undefined ? {} : { basePath })
}
