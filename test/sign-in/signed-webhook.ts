import { generateKeyPairSync, sign } from 'node:crypto'
import { type House, ORIGIN } from './house.ts'

/** Webhook events as Discord would sign them, by a key of the test's own: the house is told its public half. */
export const KEYS = generateKeyPairSync('ed25519')
const FOREIGN = generateKeyPairSync('ed25519')

export const PUBLIC_KEY = Buffer.from(
  (KEYS.publicKey.export({ format: 'jwk' }) as { x: string }).x,
  'base64url',
).toString('hex')

export function webhook(house: House) {
  return (
    event: { type: number; event?: unknown } | string | null,
    { applicationId = house.discord.clientId, sentAgoMs = 0, foreignKey = false } = {},
  ): Request => {
    const body =
      typeof event === 'string'
        ? event
        : JSON.stringify(event && { version: 1, application_id: applicationId, ...event })
    const timestamp = String(Math.floor((house.clock.now() - sentAgoMs) / 1000))
    const key = foreignKey ? FOREIGN : KEYS
    const signature = sign(null, Buffer.from(timestamp + body), key.privateKey).toString('hex')
    return new Request(`${ORIGIN}/auth/discord/webhook`, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'x-signature-ed25519': signature,
        'x-signature-timestamp': timestamp,
      },
    })
  }
}
