import type { Random } from './random.ts'

const YEAR_MS = 365 * 86_400_000

/** A Discord id: milliseconds since 2015 in the high bits (here 2016 to 2024), then bits that keep `nth` unique. */
export function snowflake(random: Random, nth: number): string {
  const ms = BigInt(YEAR_MS + random.below(8 * YEAR_MS))
  return String((ms << 22n) | BigInt(nth & 0x3fffff))
}

/** Whether `text` could be an id at all. */
export function isSnowflake(text: string): boolean {
  return /^\d{1,20}$/.test(text)
}
