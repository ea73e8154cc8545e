import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { createRandom } from './random.ts'
import { snowflake } from './snowflake.ts'

/** The registered application: its id, secrets and signing key, all derived from the seed. */
export interface Application {
  /** Client id, application id and the bot's user id: Discord uses one number for all three. */
  readonly id: string
  readonly name: string
  readonly secret: string
  readonly botToken: string
  /** Raw Ed25519 public key in hex, as the Developer Portal shows it. */
  readonly publicKey: string
  /** An Ed25519 signature in hex (RFC 8032). */
  sign(message: string): string
}

/** A PKCS #8 wrapper for a raw Ed25519 seed (RFC 8410, section 7). */
const PKCS8_HEADER = Buffer.from('302e020100300506032b657004220420', 'hex')

export function createApplication(seed: number): Application {
  const random = createRandom(seed, 'application')
  const id = snowflake(random, 0x3fffff)
  const rawKey = Buffer.from(Array.from({ length: 32 }, () => random.below(256)))
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_HEADER, rawKey]), format: 'der', type: 'pkcs8' })
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  return {
    id,
    name: 'Simulated application',
    secret: random.letters(32),
    botToken: `${Buffer.from(id).toString('base64url')}.${random.letters(6)}.${random.letters(38)}`,
    publicKey: Buffer.from(x, 'base64url').toString('hex'),
    sign: (message) => sign(null, Buffer.from(message), privateKey).toString('hex'),
  }
}
