import { type Flight, SingleFlight } from '../concurrency/single-flight.ts'
import { idsOf } from './cache-key.ts'
import type { Cached } from './cached.ts'
import { type Entry, GONE, NO_LIFE } from './entry.ts'
import type { Failures } from './failures.ts'
import type { MemoryTier } from './memory-tier.ts'
import type { Moment, SharedTier } from './shared-tier.ts'

/**
 * What this process holds and has under way: values, failures, loads and look-ups. Whatever is forgotten is forgotten
 * here, in all of them together, whether this process or another one invalidated it.
 */
export class Holdings {
  readonly memory: MemoryTier
  readonly failures: Failures
  /** Each lands with the one answer that all who waited for it share. */
  readonly loads = new SingleFlight<Cached<unknown>>('continue')
  /** Look-ups in the shared tier; each lands with the entry that memory holds after it, if that came from there. */
  readonly looks = new SingleFlight<Entry | undefined>('continue')
  readonly shared: SharedTier | undefined
  /** Counts how often the shared tier came back. What was learned before may have been invalidated since. */
  life = 0

  constructor(memory: MemoryTier, failures: Failures, shared: SharedTier | undefined) {
    this.memory = memory
    this.failures = failures
    this.shared = shared
    shared?.listen({
      invalidated: (id, at) => this.forget(id, at),
      userInvalidated: (user, at) => this.forgetUser(user, at),
      everythingInvalidated: () => this.forgetEverything(),
      superseded: (id, at) => {
        const entry = memory.find(id)
        if (entry && entry.begunAt < at) entry.life = NO_LIFE
      },
      returned: () => {
        this.life++
      },
    })
  }

  /** The shared tier, while asking it is worth it. */
  get sharedInUse(): SharedTier | undefined {
    return this.shared?.isUsable ? this.shared : undefined
  }

  /** Whether an entry may have been invalidated without this process hearing of it. */
  isDoubtful(entry: Entry): boolean {
    return entry.life !== this.life && this.sharedInUse !== undefined
  }

  /** A load that is under way keeps its callers and loses its place. */
  detach(id: string): void {
    for (const flights of [this.loads, this.looks]) {
      const flight = flights.get(id)
      if (flight) flights.forget(id, flight as Flight<never>)
    }
  }

  /** Forgets what began before a moment of the shared tier. */
  forget(id: string, before: Moment): void {
    this.detach(id)
    this.failures.forget(id)
    const entry = this.memory.find(id)
    if (!entry || entry.begunAt >= before) return
    // Somebody may be waiting with it in hand.
    entry.life = GONE
    this.memory.delete(id)
  }

  forgetUser(user: string, before: Moment): void {
    const isTheirs = idsOf(user)
    for (const flights of [this.loads, this.looks])
      for (const id of [...flights.keys()]) if (isTheirs(id)) this.detach(id)
    this.failures.forgetAll(isTheirs)
    for (const id of this.memory.idsOf(user)) this.forget(id, before)
  }

  forgetEverything(): void {
    for (const flights of [this.loads, this.looks]) for (const id of [...flights.keys()]) this.detach(id)
    for (const entry of this.memory.all()) entry.life = GONE
    this.memory.clear()
  }
}
