/**
 * Who is turned away: 0 nobody, 1 anonymous documents, 2 anonymous documents and API calls, 3 everybody but health
 * routes.
 */
export type LoadLevel = 0 | 1 | 2 | 3

/** Something measured, with the two watermarks it is held against. */
export interface Reading {
  readonly value: number
  readonly enter: number
  readonly leave: number
}

/**
 * The next level: one up while anything is at or above where shedding is entered, one down while everything is below
 * where it is left, and in between as it was. One step a sample, so that whoever matters least goes first and it is seen
 * whether that was enough; and between the watermarks nothing flaps.
 */
export function nextLevel(level: LoadLevel, readings: readonly Reading[]): LoadLevel {
  if (readings.some(({ value, enter }) => value >= enter)) return Math.min(3, level + 1) as LoadLevel
  if (readings.every(({ value, leave }) => value < leave)) return Math.max(0, level - 1) as LoadLevel
  return level
}

/** Of `most` requests under way, from here on anonymous documents and then anonymous API calls are turned away. */
const DOCUMENTS_FROM = 0.8
const API_FROM = 0.9

/** The level that requests under way ask for, by themselves. At `most` nobody else comes in, whatever was sampled when. */
export function inFlightLevel(inFlight: number, most: number): LoadLevel {
  if (inFlight >= most) return 3
  if (inFlight >= most * API_FROM) return 2
  return inFlight >= most * DOCUMENTS_FROM ? 1 : 0
}
