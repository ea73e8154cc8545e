import type { Milliseconds } from '../time/clock.ts'

/**
 * Discord's invalid-request limit: more than `count` answers of 401, 403 or 429 (scope `shared` excepted; those made by
 * a fault count too) within any `windowMs`, per IP address, and Cloudflare blocks that address for `banMs`. What a
 * blocked address asks meanwhile is not counted, so it does not make the block longer.
 */
export interface InvalidLimit {
  /** Default 10 000. `Infinity` switches the limit off. */
  readonly count: number
  /** Default 600 000 (10 minutes). */
  readonly windowMs: Milliseconds
  /** How long the block lasts. Default 3 600 000 (an hour; in the wild up to a day). */
  readonly banMs?: Milliseconds
}

/** Counts invalid requests by address. Time comes in as an argument. */
export interface InvalidRequests {
  /** How long `address` is still blocked; 0 if it is not. */
  bannedForMs(address: string, nowMs: Milliseconds): Milliseconds
  /** Counts one invalid answer; true if with it `address` is over the limit, and blocked from now on. */
  count(address: string, nowMs: Milliseconds): boolean
}

interface Conduct {
  /** When the invalid requests came, oldest first; those before `first` have left the window. */
  times: Milliseconds[]
  first: number
  bannedUntil: Milliseconds
}

export function createInvalidRequests({ count: limit, windowMs, banMs }: Required<InvalidLimit>): InvalidRequests {
  const records = new Map<string, Conduct>()

  return {
    bannedForMs(address, nowMs) {
      const record = records.get(address)
      return record ? Math.max(0, record.bannedUntil - nowMs) : 0
    },
    count(address, nowMs) {
      if (limit === Infinity) return false
      let record = records.get(address)
      if (!record) {
        record = { times: [], first: 0, bannedUntil: 0 }
        records.set(address, record)
      }
      const { times } = record
      times.push(nowMs)
      while (times[record.first]! <= nowMs - windowMs) record.first++
      if (times.length - record.first > limit) {
        record.bannedUntil = nowMs + banMs
        record.times = []
        record.first = 0
        return true
      }
      if (record.first > 1000 && record.first * 2 > times.length) {
        record.times = times.slice(record.first)
        record.first = 0
      }
      return false
    },
  }
}
