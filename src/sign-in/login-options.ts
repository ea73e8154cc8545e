import { checkedLater, text } from '../config/accepted.ts'
import { BASE_PATH, SCOPES } from '../config/login.ts'
import { optionsOf } from '../config/options.ts'

export const BEGIN_OPTIONS = optionsOf('login.begin', {
  scopes: { means: 'what is asked of the user', accepts: SCOPES, preset: 'login.scopes' },
  returnTo: {
    means: 'where the user goes afterwards',
    accepts: checkedLater('a place on this site; anything else counts as /'),
    preset: "the query's returnTo, else /",
  },
  redirectUri: { means: 'where Discord sends the user back to', accepts: text('a URL', /^https?:\/\//) },
})
export const HANDLE_OPTIONS = optionsOf('login.handle', {
  basePath: { means: "what the login's paths begin with", accepts: BASE_PATH, preset: 'login.basePath' },
})
