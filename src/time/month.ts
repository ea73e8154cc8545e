import type { Milliseconds } from './clock.ts'

/** A calendar month, UTC: from its first moment to that of the next one, epoch milliseconds. */
export interface Month {
  readonly start: Milliseconds
  readonly end: Milliseconds
}

export function monthOf(now: Milliseconds): Month {
  const date = new Date(now)
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
  return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) }
}
