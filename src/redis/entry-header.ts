/**
 * What stands in clear before a sealed value, for scripts to compare: the layout's version; `v` for a value, `z` for a
 * compressed one or `g` for one that is gone; when its load began (16 digits, microseconds of Redis's clock); the epoch
 * it was written under; and until when it must be remembered that something in its place was invalidated (16 digits; 0
 * where nothing was). All of it is sealed with the value.
 *
 *     2v1795000000123456 1795000000000000-00abc123 0000000000000000
 */
export interface EntryHeader {
  readonly kind: 'plain' | 'compressed' | 'gone'
  readonly begunAt: number
  readonly epoch: string
  readonly rememberUntil: number
  /** As it stands there. */
  readonly text: string
}

const TIME_DIGITS = 16
const TOKEN_CHARS = 8
const EPOCH_CHARS = TIME_DIGITS + 1 + TOKEN_CHARS
const EPOCH_AT = 2 + TIME_DIGITS + 1
const UNTIL_AT = EPOCH_AT + EPOCH_CHARS + 1
export const BYTES = UNTIL_AT + TIME_DIGITS
/** Where something is gone, and there is no epoch to name. */
export const NO_EPOCH = '-'.padStart(TIME_DIGITS + 1, '0').padEnd(EPOCH_CHARS, '0')

/** Where its parts stand for `string.sub`, which counts from 1 and includes both ends; and for GETRANGE, from 0. */
export const IN_LUA = {
  begun: '3, 18',
  epoch: `${EPOCH_AT + 1}, ${EPOCH_AT + EPOCH_CHARS}`,
  until: `${UNTIL_AT + 1}, ${BYTES}`,
  range: `0, ${BYTES - 1}`,
  bytes: BYTES,
} as const

const LETTERS = { plain: 'v', compressed: 'z', gone: 'g' } as const
const KINDS = { v: 'plain', z: 'compressed', g: 'gone' } as const
const SHAPE = /^2([vzg])(\d{16}) (\d{16}-[0-9a-z]{8}) (\d{16})$/

export function format({ kind, begunAt, epoch, rememberUntil }: Omit<EntryHeader, 'text'>): string {
  return `2${LETTERS[kind]}${digits(begunAt)} ${epoch} ${digits(rememberUntil)}`
}

export function parse(bytes: Buffer): EntryHeader | undefined {
  const match = SHAPE.exec(bytes.toString('latin1', 0, BYTES))
  if (!match) return undefined
  const [text, letter, begunAt, epoch, until] = match as unknown as [string, keyof typeof KINDS, string, string, string]
  return { kind: KINDS[letter], begunAt: Number(begunAt), epoch, rememberUntil: Number(until), text }
}

function digits(time: number): string {
  return String(time).padStart(TIME_DIGITS, '0')
}

/** When an epoch began, if with an invalidation: loads from before it do not stand. Else 0, also for what is no epoch. */
export function epochBegan(epoch: string): number {
  return /^\d{16}-/.test(epoch) ? Number(epoch.slice(0, TIME_DIGITS)) : 0
}
