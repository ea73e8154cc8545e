import { ConfigError } from '../errors/errors.ts'
import { type Environment, refused } from './settings.ts'

/** Fewer bytes than a key of AES-256 has could be guessed. */
const SECRET_BYTES = 32
const SECRET_ACCEPTED = `at least ${SECRET_BYTES} bytes, for example of \`openssl rand -base64 32\``

/** What a store needs that others can read. */
export function secretNeeded(what: string): ConfigError {
  return new ConfigError(
    'secret',
    `with ${what} a secret is needed, which seals what is kept there: set HOLDFAST_SECRET or option secret; accepted: ${SECRET_ACCEPTED}`,
  )
}

/** Checks option `secret`, or HOLDFAST_SECRET and HOLDFAST_SECRET_PREVIOUS; empty where none is given. Throws ConfigError; never shows one. */
export function readSecrets(
  option: string | readonly string[] | undefined,
  environment: Environment = process.env,
): readonly string[] {
  const { HOLDFAST_SECRET: current, HOLDFAST_SECRET_PREVIOUS: previous } = environment
  if (option === undefined && previous !== undefined && current === undefined)
    throw new ConfigError(
      'HOLDFAST_SECRET',
      'HOLDFAST_SECRET_PREVIOUS is set and HOLDFAST_SECRET is not; the newest secret goes there',
    )
  const named: Array<readonly [name: string, secret: unknown]> =
    option === undefined
      ? [
          ['HOLDFAST_SECRET', current],
          ['HOLDFAST_SECRET_PREVIOUS', previous],
        ]
      : (Array.isArray(option) ? option : [option]).map((secret) => ['secret', secret])
  if (option !== undefined && named.length === 0) throw refused('secret', option, SECRET_ACCEPTED, true)
  const secrets: string[] = []
  for (const [name, secret] of named) {
    if (secret === undefined && option === undefined) continue
    if (typeof secret !== 'string' || Buffer.byteLength(secret.trim()) < SECRET_BYTES)
      throw refused(name, secret, SECRET_ACCEPTED, true)
    secrets.push(secret.trim())
  }
  return secrets
}
