import { createPublicKey, type KeyObject, verify } from 'node:crypto'

/** Ed25519 (RFC 8032) by a key of 32 bytes, in hexadecimal as Discord's application page shows it. */
export class Signatures {
  readonly #key: KeyObject

  constructor(publicKey: string) {
    const x = Buffer.from(publicKey, 'hex').toString('base64url')
    this.#key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  }

  /** Whether `signature`, in hexadecimal, is the key owner's for exactly these bytes. */
  fits(message: Uint8Array, signature: string): boolean {
    return /^[0-9a-f]{128}$/i.test(signature) && verify(null, message, this.#key, Buffer.from(signature, 'hex'))
  }
}
