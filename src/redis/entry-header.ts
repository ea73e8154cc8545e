/**
 * What stands in clear before a sealed value, for scripts to compare: the layout's version, `v` for a value or `g` for
 * one that is gone, when its load began (16 digits, microseconds of Redis's clock), and the epoch it was written under.
 *
 *     1v1795000000123456 1795000000000000-00abc123
 */
export interface EntryHeader {
  readonly kind: 'held' | 'gone'
  readonly begunAt: number
  readonly epoch: string
  /** As it stands there. */
  readonly text: string
}

export const TOKEN_CHARS = 8
const TIME_DIGITS = 16
const EPOCH_CHARS = TIME_DIGITS + 1 + TOKEN_CHARS
const EPOCH_AT = 2 + TIME_DIGITS + 1
export const BYTES = EPOCH_AT + EPOCH_CHARS
/** Where something is gone, and there is no epoch to name. */
export const NO_EPOCH = '-'.padStart(TIME_DIGITS + 1, '0').padEnd(EPOCH_CHARS, '0')

const SHAPE = /^1([vg])(\d{16}) (\d{16}-[0-9a-z]{8})$/

export function format(kind: EntryHeader['kind'], begunAt: number, epoch: string): string {
  return `1${kind === 'held' ? 'v' : 'g'}${String(begunAt).padStart(TIME_DIGITS, '0')} ${epoch}`
}

export function parse(bytes: Buffer): EntryHeader | undefined {
  const text = bytes.toString('latin1', 0, BYTES)
  const match = SHAPE.exec(text)
  if (!match) return undefined
  return { kind: match[1] === 'v' ? 'held' : 'gone', begunAt: Number(match[2]), epoch: match[3]!, text }
}

/** When an epoch began, if with an invalidation: loads from before it do not stand. Else 0, also for what is no epoch. */
export function epochBegan(epoch: string): number {
  return /^\d{16}-/.test(epoch) ? Number(epoch.slice(0, TIME_DIGITS)) : 0
}
