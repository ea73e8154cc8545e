import { hash } from 'node:crypto'

/**
 * A name for a token that is not the token: SHA-256, base64url. Tokens are long and random, so the bare hash tells
 * nobody anything. Used for keys in memory; what leaves the process is named under a secret.
 */
export function fingerprint(token: string): string {
  return hash('sha256', token, 'base64url')
}
