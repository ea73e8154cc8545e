import { HoldfastError } from '../errors/errors.ts'
import { type Clock, type Milliseconds, sleepIdly } from '../time/clock.ts'
import type { ToldTimes } from './entry.ts'
import type { Found, Moment, SharedKey, SharedTier, Ticket } from './shared-tier.ts'

/** What a load came to: loaded here, or found because another process had loaded it. */
export type Outcome<T> =
  | { readonly kind: 'loaded'; readonly value: T; readonly ticket?: Ticket; readonly begunAt: Moment }
  | {
      readonly kind: 'found'
      readonly value: T
      readonly bytes: number
      readonly told?: ToldTimes | undefined
      readonly ageMs: Milliseconds
      readonly begunAt: Moment
    }

/** What is loaded, for whom, and what to do with it. */
export interface LeasedLoad<T> {
  readonly key: SharedKey
  /** How old a value of another process may be that makes loading needless. */
  readonly freshMs: Milliseconds
  readonly staleMs: Milliseconds
  /** When the load of what we hold ourselves began. */
  readonly heldSince: Moment
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly load: () => Promise<T>
  /** Undefined where the text cannot be used. */
  readonly decode: (
    text: string,
  ) => { readonly value: T; readonly bytes: number; readonly told?: ToldTimes | undefined } | undefined
  /** For how long no other process should try after this failure. */
  readonly heldOffMs: (error: unknown) => Milliseconds
}

/**
 * Loads a key in one process of all that share the tier: the others wait for what it brings, and take over if it dies.
 * Where the tier is away, everybody loads.
 */
export async function loadUnderLease<T>(shared: SharedTier, work: LeasedLoad<T>): Promise<Outcome<T>> {
  const { key, signal } = work
  let { heldSince } = work
  for (let waited = false; ; waited = true) {
    if (waited) {
      const found = decoded(work, await shared.read(key))
      if (found && found.begunAt > heldSince) return found
    }
    if (signal.aborted) throw signal.reason
    const begun = await shared.begin(key, work.freshMs, work.staleMs)
    switch (begun?.kind) {
      case 'load':
        return loadAndRenew(shared, work, begun.ticket)
      case 'wait':
        heldSince = Math.max(heldSince, begun.heldSince)
        await shared.done(key, begun.forMs, signal)
        continue
      case 'failed':
        throw new HoldfastError(
          'LOAD_FAILED_ELSEWHERE',
          `another process has just failed to load this; nobody tries for ${begun.forMs} ms`,
          { retryAfterMs: begun.forMs },
        )
      case 'newer': {
        const found = decoded(work, await shared.read(key))
        if (found) return found
        // It cannot be read here, for example while two versions run side by side.
        return loadAlone(shared, work)
      }
      default:
        return loadAlone(shared, work)
    }
  }
}

async function loadAndRenew<T>(shared: SharedTier, work: LeasedLoad<T>, ticket: Ticket): Promise<Outcome<T>> {
  const loading = new AbortController()
  void renewing(shared, work, ticket, loading.signal)
  try {
    return { kind: 'loaded', value: await work.load(), ticket, begunAt: ticket.begunAt }
  } catch (error) {
    void shared.giveUp(work.key, ticket, work.heldOffMs(error))
    throw error
  } finally {
    loading.abort()
  }
}

async function renewing<T>(
  shared: SharedTier,
  work: LeasedLoad<T>,
  ticket: Ticket,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await sleepIdly(work.clock, shared.renewEveryMs, signal).catch(() => {})
    if (!signal.aborted) await shared.renew(work.key, ticket)
  }
}

async function loadAlone<T>(shared: SharedTier, work: LeasedLoad<T>): Promise<Outcome<T>> {
  const begunAt = shared.lately()
  return { kind: 'loaded', value: await work.load(), begunAt }
}

function decoded<T>(work: LeasedLoad<T>, found: Found | undefined): (Outcome<T> & { kind: 'found' }) | undefined {
  if (!found?.value) return undefined
  const { text, ageMs, begunAt } = found.value
  const decoded = work.decode(text)
  return decoded && { kind: 'found', value: decoded.value, bytes: decoded.bytes, told: decoded.told, ageMs, begunAt }
}
