const VISIBLE_ASCII = /^[\x21-\x7e]+$/
/** Discord's tokens are 30 to 100 characters long; room for whatever they become. */
const LONGEST_TOKEN = 2048

/** Why something cannot be sent as a token at all, or undefined where it can. */
export function tokenProblem(token: unknown): string | undefined {
  if (typeof token !== 'string') return 'it is not a string'
  if (token === '') return 'it is empty'
  if (token.length > LONGEST_TOKEN) return `it is longer than ${LONGEST_TOKEN} characters`
  return VISIBLE_ASCII.test(token) ? undefined : 'it holds a space, a control character or text that is not ASCII'
}
