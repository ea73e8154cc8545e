import type { Milliseconds } from '../../time/clock.ts'
import type { Random } from './random.ts'

const YEAR_MS = 365 * 86_400_000

/** A Discord id: milliseconds since 2015 in the high bits (here 2016 to 2024), then bits that keep `nth` unique. */
export function snowflake(random: Random, nth: number): string {
  const ms = BigInt(YEAR_MS + random.below(8 * YEAR_MS))
  return String((ms << 22n) | BigInt(nth & 0x3fffff))
}

/** Whether `text` could be an id at all. */
export function isSnowflake(text: unknown): boolean {
  return typeof text === 'string' && /^\d{1,20}$/.test(text)
}

/** Discord's first millisecond. */
const EPOCH_MS = 1_420_070_400_000

/** Ids for what is made while the simulator runs: never the same twice, and in the order in which they were made. */
export function createIds(now: () => Milliseconds): () => string {
  let last = 0n
  return () => {
    const ms = BigInt(Math.max(0, Math.floor(now() - EPOCH_MS)))
    const id = ms << 22n
    last = id > last ? id : last + 1n
    return String(last)
  }
}

/** Snowflakes in order of their number, without turning them into one. */
export function compareIds(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)
}
