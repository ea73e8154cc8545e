import type { Milliseconds } from '../time/clock.ts'

/**
 * One kind of hold: calls that would not be sent at the moment. `address`: everything, because of a block; `route`: routes
 * that a block is about alone; `invalid-requests`: pages, because Discord's ban for invalid requests is near; `strangers`:
 * tokens never seen valid; `resource`: a guild, channel or webhook that a `shared` 429 was about; `principal`: users and
 * bots with a 429 of their own; `token`: tokens that Discord does not accept.
 */
export interface DiscordHold {
  readonly about: 'address' | 'route' | 'invalid-requests' | 'strangers' | 'resource' | 'principal' | 'token'
  /** How many of them are held. */
  readonly count: number
  /** When the last of them ends, from now. */
  readonly longestMs: Milliseconds
}

/** Of holds of one kind, by how long each still lasts, those that have not ended; undefined where none has. Pure. */
export function summed(about: DiscordHold['about'], leftMs: Iterable<Milliseconds>): DiscordHold | undefined {
  let count = 0
  let longestMs = 0
  for (const ms of leftMs) {
    if (ms <= 0) continue
    count++
    longestMs = Math.max(longestMs, ms)
  }
  return count === 0 ? undefined : { about, count, longestMs }
}
