import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { KeyRing } from '../secrets/key-ring.ts'
import * as header from './entry-header.ts'

/** Texts shorter than this are not worth compressing: what is saved costs more time than it travels. */
const COMPRESSED_FROM = 4_096
/** The fastest. Level 6 takes three times as long and saves 4 % more of a guild list. */
const LEVEL = 1
/** Compressed texts have to be smaller by this, or reading them costs for nothing. */
const WORTH_IT = 0.8
/** No text is longer than this once it is there: it was refused before it was written. */
export const LONGEST_TEXT = 4 * 1024 * 1024
/** UTF-8 of the longest text. */
const LONGEST_BYTES = LONGEST_TEXT * 3

/** What a value is bound to: it opens nowhere else, under no other header and for no other version. */
export interface Binding {
  /** The full key it is stored under. */
  readonly key: string
  readonly version: string
  readonly begunAt: number
  readonly epoch: string
  readonly rememberUntil: number
}

/** A value as it is stored: its header, and what follows it. */
export function sealValue(
  ring: KeyRing,
  text: string,
  { key, version, ...times }: Binding,
  compress: boolean,
): { readonly head: string; readonly body: Buffer } {
  const small = compress && text.length >= COMPRESSED_FROM ? compressed(text) : undefined
  const head = header.format({ kind: small ? 'compressed' : 'plain', ...times })
  const { buffer, byteOffset, length } = ring.seal(small ?? text, context(key, head, version))
  return { head, body: Buffer.from(buffer, byteOffset, length) }
}

/** The text of a stored value; undefined for what was not sealed for this place. */
export function openValue(
  ring: KeyRing,
  stored: Buffer,
  head: header.EntryHeader,
  key: string,
  version: string,
): string | undefined {
  const opened = ring.openBytes(stored.subarray(header.BYTES), context(key, head.text, version))
  if (!opened || head.kind === 'plain') return opened?.toString('utf8')
  return inflateRawSync(opened, { maxOutputLength: LONGEST_BYTES }).toString('utf8')
}

function compressed(text: string): Buffer | undefined {
  const bytes = Buffer.from(text)
  const small = deflateRawSync(bytes, { level: LEVEL })
  return small.length <= bytes.length * WORTH_IT ? small : undefined
}

function context(key: string, head: string, version: string): string {
  return `${key} ${head} ${version}`
}
