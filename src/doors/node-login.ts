import { optionsOf } from '../config/options.ts'
import { answerLogin, LOGIN_DOOR_TABLE, type LoginDoorOptions } from './login-options.ts'
import { type IncomingRequest, type OutgoingResponse, webRequestOf, writeAnswer } from './node-exchange.ts'

export const EXPRESS_LOGIN_OPTIONS = optionsOf('express.login', LOGIN_DOOR_TABLE)

/**
 * The login's routes as middleware: `app.use(login({ holdfast }))`, in front of body parsers, because Discord signs the
 * bytes of its webhook events. Behind `express.json()` it signs for what the parser kept (`req.rawBody`, a Buffer) or
 * for the same JSON written anew, and a warning says so where that does not fit. Works with node:http, too.
 */
export function login(
  options: LoginDoorOptions = {},
): (request: IncomingRequest, response: OutgoingResponse, next: (error?: unknown) => void) => void {
  EXPRESS_LOGIN_OPTIONS.check(options)
  let warned = false
  return (incoming, outgoing, next) => {
    const made = webRequestOf(incoming)
    if (!made) return next()
    const warn = (status: number) => {
      if (made.body === 'raw' || status !== 401 || warned) return
      warned = true
      process.emitWarning(
        'a signed body was read before login() saw it, and its signature does not fit what is left of it: put app.use(login()) in front of express.json(), or keep the raw body with its option verify as req.rawBody',
        { code: 'HOLDFAST_RAW_BODY' },
      )
    }
    answerLogin(options, made.request)
      .then(async (answer) => {
        if (!answer) return true
        if (made.request.headers.has('x-signature-ed25519')) warn(answer.status)
        await writeAnswer(answer, outgoing)
        return false
      })
      // In a turn of its own: what the next handler throws is not an error of this one.
      .then((goOn) => goOn && next(), next)
  }
}
