import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
  randomInt,
  timingSafeEqual,
} from 'node:crypto'
import { RecentlyUsed } from '../collections/recently-used.ts'
import type { Bytes } from './bytes.ts'

/**
 * A name for a token that is not the token: SHA-256, base64url. Tokens are long and random, so the bare hash tells
 * nobody anything. Used for keys in memory; what leaves the process is named under a secret. Of any other text it tells
 * whether it is still the same.
 */
export function fingerprint(token: string): string {
  return hash('sha256', token, 'base64url')
}

/** Eight letters and digits that no other process has: not from `random`, which tests and simulations give the same seed. */
export function uniqueToken(): string {
  return randomInt(2 ** 41)
    .toString(36)
    .padStart(8, '0')
}

/** An id that nobody can guess and no two things share: random bytes (128 bits, or as many as a session's id wants), base64url. */
export function randomId(bytes = 16): string {
  return randomBytes(bytes).toString('base64url')
}

const CIPHER = 'aes-256-gcm'
/** First byte of everything sealed: the layout below. */
const LAYOUT = 1
const ID_BYTES = 4
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SALT_AT = 1 + ID_BYTES
const NONCE_AT = SALT_AT + SALT_BYTES
const TEXT_AT = NONCE_AT + NONCE_BYTES
/** Keys that others sealed with, derived once each. Whoever writes rubbish salts costs 10 µs apiece and no memory. */
const DERIVED_KEYS = 1_000

interface Secret {
  readonly id: Buffer
  readonly material: Buffer
}

/**
 * Seals and opens texts under a list of secrets, the newest first: AES-256-GCM, with keys derived by HKDF (RFC 5869).
 * Every ring derives a key of its own from the newest secret and a random salt, and counts its nonces, so that no nonce
 * is ever used twice however many processes seal however much.
 *
 * Layout: 1, id of the secret (4 bytes), salt (16), nonce (12), ciphertext, tag (16).
 */
export class KeyRing {
  readonly #secrets: readonly Secret[]
  readonly #salt = randomBytes(SALT_BYTES)
  readonly #key: KeyObject
  readonly #nonce = Buffer.alloc(NONCE_BYTES)
  #sealed = 0
  readonly #derived = new RecentlyUsed<string, KeyObject>(DERIVED_KEYS)

  /** At least one secret, each of 32 bytes or more (`config.ts` checks that). */
  constructor(secrets: readonly string[]) {
    this.#secrets = secrets.map((secret) => {
      const material = derive(Buffer.from(secret), Buffer.alloc(0), 'holdfast secret')
      return { material, id: derive(material, Buffer.alloc(0), 'holdfast id').subarray(0, ID_BYTES) }
    })
    if (!this.#secrets[0]) throw new RangeError('a key ring needs a secret')
    this.#key = sealingKey(this.#secrets[0], this.#salt)
  }

  /** A ring that nobody else has: what it seals and names ends with the process. */
  static ephemeral(): KeyRing {
    return new KeyRing([randomBytes(32).toString('base64url')])
  }

  /** Seals a text or bytes for one place: `context` (the full key it is stored under, its version) must be given again to open it. */
  seal(content: string | Uint8Array, context: string): Bytes {
    this.#nonce.writeUIntBE(++this.#sealed, NONCE_BYTES - 6, 6)
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce)
    cipher.setAAD(Buffer.from(context))
    const body = typeof content === 'string' ? cipher.update(content, 'utf8') : cipher.update(content)
    cipher.final()
    return Buffer.concat([Buffer.of(LAYOUT), this.#secrets[0]!.id, this.#salt, this.#nonce, body, cipher.getAuthTag()])
  }

  /** The text, or undefined where it was cut, edited, sealed for another place or under a secret that is not in the ring. */
  open(sealed: Uint8Array, context: string): string | undefined {
    return this.openBytes(sealed, context)?.toString('utf8')
  }

  /** As `open`, for bytes. */
  openBytes(sealed: Uint8Array, context: string): Bytes | undefined {
    if (sealed.length < TEXT_AT + TAG_BYTES || sealed[0] !== LAYOUT) return undefined
    const key = this.#keyOf(sealed)
    if (!key) return undefined
    const end = sealed.length - TAG_BYTES
    const decipher = createDecipheriv(CIPHER, key, sealed.subarray(NONCE_AT, TEXT_AT), { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(context))
    decipher.setAuthTag(sealed.subarray(end))
    const text = decipher.update(sealed.subarray(TEXT_AT, end))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return text
  }

  /** Whether it was sealed under the newest secret; what was not is worth sealing anew. */
  isCurrent(sealed: Uint8Array): boolean {
    return sealed.length > SALT_AT && timingSafeEqual(sealed.subarray(1, SALT_AT), this.#secrets[0]!.id)
  }

  /**
   * A first naming key, from the oldest secret. Whoever names things in a store keeps it there, sealed, so that names
   * outlive the secret that they began with.
   */
  namingKey(): string {
    return derive(this.#secrets.at(-1)!.material, Buffer.alloc(0), 'holdfast names').toString('base64url')
  }

  #keyOf(sealed: Uint8Array): KeyObject | undefined {
    const saltedId = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length).toString('latin1', 1, NONCE_AT)
    const known = this.#derived.get(saltedId)
    if (known) return known
    const id = sealed.subarray(1, SALT_AT)
    const secret = this.#secrets.find((candidate) => timingSafeEqual(candidate.id, id))
    if (!secret) return undefined
    const key = sealingKey(secret, sealed.subarray(SALT_AT, NONCE_AT))
    this.#derived.set(saltedId, key)
    return key
  }
}

/** Names for what must not be read in a store, log or event: HMAC-SHA256 under a naming key, 128 bits of it, base64url. */
export class Names {
  /** As a KeyObject: with a string each name costs several times as much. */
  readonly #key: KeyObject

  constructor(namingKey: string) {
    this.#key = createSecretKey(Buffer.from(namingKey))
  }

  /** The same text has different names for different purposes (`'user'`, `'ip'`), so that nobody can join what belongs apart. */
  of(purpose: string, text: string): string {
    return createHmac('sha256', this.#key).update(`${purpose}\0${text}`).digest('base64url').slice(0, 22)
  }
}

/** As a KeyObject: a cipher takes 1 µs to begin with one, and 14 with a Buffer. */
function sealingKey(secret: Secret, salt: Uint8Array): KeyObject {
  return createSecretKey(derive(secret.material, salt, 'holdfast seal'))
}

function derive(material: Uint8Array, salt: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', material, salt, purpose, 32))
}
