/**
 * A Buffer, as far as those need it who are handed one. Named here, because `Buffer` in a declaration would ask every
 * TypeScript project for Node's types.
 */
export interface Bytes extends Uint8Array {
  toString(encoding?: 'base64' | 'base64url' | 'hex' | 'latin1' | 'utf8'): string
}
