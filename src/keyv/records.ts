import type { KeyRing } from '../secrets/key-ring.ts'

/**
 * Under which epochs a value was written: of everything, of its user where it has one, and of its key. Each is a token
 * that changes when what it stands for is invalidated. A value counts only under the epochs that stand now, so that no
 * late write brings back what was invalidated, on a store that can compare nothing.
 */
export interface Epochs {
  readonly all: string
  readonly user: string
  readonly key: string
}

/** As one text. */
export const joined = ({ all, user, key }: Epochs) => `${all} ${user} ${key}`

/** An epoch as it is stored: its token, and when it began, if with an invalidation (epoch milliseconds of the process that made it; else 0). */
export function epochRecord(token: string, at: number): string {
  return `e1 ${token} ${Math.ceil(at)}`
}

export function readEpoch(text: string | undefined): { readonly token: string; readonly at: number } | undefined {
  const match = /^e1 ([0-9a-z]{1,32}) (\d{1,16})$/.exec(text ?? '')
  return match ? { token: match[1]!, at: Number(match[2]) } : undefined
}

/** A lease: whose it is (or that its load failed), until when, and under which epochs. */
export function leaseRecord(token: string, until: number, epochs: Epochs): string {
  return `l1 ${token} ${Math.ceil(until)} ${joined(epochs)}`
}

export function readLease(text: string | undefined, epochs: Epochs) {
  const match = /^l1 ([0-9a-z]{1,32}) (\d{1,16}) (.*)$/.exec(text ?? '')
  return match && match[3] === joined(epochs) ? { token: match[1]!, until: Number(match[2]) } : undefined
}

/** A value and what it was written under. `begunAt`: when its load began, epoch milliseconds of the process that loaded it. */
export interface ValueRecord {
  readonly begunAt: number
  readonly lastsMs: number
  readonly epochs: Epochs
  readonly text: string
}

export function sealRecord(ring: KeyRing, key: string, version: string, record: ValueRecord): string {
  const { begunAt, lastsMs, epochs, text } = record
  const fields = JSON.stringify([begunAt, lastsMs, epochs.all, epochs.user, epochs.key])
  return ring.seal(`${fields}\n${text}`, `${key} ${version}`).toString('base64')
}

/** Undefined for what was not sealed for this key and version. */
export function openRecord(
  ring: KeyRing,
  key: string,
  version: string,
  stored: string | undefined,
): ValueRecord | undefined {
  const opened = stored === undefined ? undefined : ring.open(Buffer.from(stored, 'base64'), `${key} ${version}`)
  if (opened === undefined) return undefined
  const end = opened.indexOf('\n')
  const [begunAt, lastsMs, all, user, own] = JSON.parse(opened.slice(0, end)) as [
    number,
    number,
    string,
    string,
    string,
  ]
  return { begunAt, lastsMs, epochs: { all, user, key: own }, text: opened.slice(end + 1) }
}
