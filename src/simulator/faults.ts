import type { Milliseconds } from '../time/clock.ts'
import { checkFault, type FaultKind, type FaultOptions } from './fault-options.ts'
import { routeFilter } from './routes.ts'
import type { Random } from './world/random.ts'

/** A fault that meets one call. */
export interface ActiveFault {
  readonly kind: FaultKind
  readonly options: FaultOptions
  /** `rate-limit`, `sub-limit`, `ban`: what is left of a wait that an earlier answer asked for. */
  readonly leftMs: Milliseconds | undefined
}

/** What meets one call, taken together. */
export interface Trouble {
  readonly fault: ActiveFault | undefined
  readonly slowMs: Milliseconds
  readonly skewMs: Milliseconds
  /** `trickle`: how long each byte takes; 0: none. */
  readonly paceMs: Milliseconds
  readonly withoutHeaders: boolean
  /** `bucket-change`: counts up with each call it met; 0: none. */
  readonly bucketChange: number
}

/** Who calls what: whatever a fault may be narrowed to, or hold against somebody. */
export interface Called {
  readonly method: string
  readonly template: string
  readonly path: string
  readonly userId: string | null
  readonly address: string
}

/** All faults that are switched on. Time comes in as an argument. */
export interface Faults {
  start(kind: FaultKind, options: FaultOptions, nowMs: Milliseconds): FaultHandle
  meet(called: Called, nowMs: Milliseconds): Trouble
  /** Those that are on, the one switched on last first. */
  active(nowMs: Milliseconds): readonly FaultHandle[]
  stopAll(): void
}

/** One fault that was switched on. */
export interface FaultHandle {
  readonly id: string
  readonly kind: FaultKind
  readonly options: FaultOptions
  stop(): void
}

interface Entry extends FaultHandle {
  readonly matches: ((method: string, template: string, path: string) => boolean) | undefined
  readonly endsAt: Milliseconds
  left: number
  met: number
  /** Whoever was told to wait, and until when: it is held against them also after `times` calls. */
  readonly holds: Map<string, Milliseconds>
}

export const NO_TROUBLE: Trouble = {
  fault: undefined,
  slowMs: 0,
  skewMs: 0,
  paceMs: 0,
  withoutHeaders: false,
  bucketChange: 0,
}
/** Holds of one fault that are kept; past it those that are over are dropped. */
const MANY_HOLDS = 10_000

type Beside = 'slow' | 'clock-skew' | 'trickle' | 'no-headers' | 'bucket-change'
const BESIDE: ReadonlySet<FaultKind> = new Set<Beside>(['slow', 'clock-skew', 'trickle', 'no-headers', 'bucket-change'])

export function createFaults(random: Random): Faults {
  // The one switched on last stands first.
  let entries: readonly Entry[] = []
  let started = 0

  const isOver = (entry: Entry, nowMs: Milliseconds) => {
    if (entry.endsAt <= nowMs) return true
    if (entry.left > 0) return false
    for (const until of entry.holds.values()) if (until > nowMs) return false
    return true
  }

  return {
    start(kind, options, nowMs) {
      checkFault(kind, options)
      const { route, forMs = Infinity, times = Infinity } = options
      const entry: Entry = {
        id: String(++started),
        kind,
        options: { ...options },
        matches: route === undefined ? undefined : routeFilter(route),
        endsAt: nowMs + forMs,
        left: times,
        met: 0,
        holds: new Map(),
        stop() {
          entries = entries.filter((other) => other !== entry)
        },
      }
      entries = [entry, ...entries]
      return entry
    },
    meet(called, nowMs) {
      if (entries.length === 0) return NO_TROUBLE
      let fault: ActiveFault | undefined
      const beside: Partial<Record<FaultKind, Entry>> = {}
      let over = false
      for (const entry of entries) {
        const { kind, options } = entry
        if (isOver(entry, nowMs)) {
          over = true
          continue
        }
        if (BESIDE.has(kind) ? beside[kind] : fault) continue
        if (options.userId !== undefined && options.userId !== called.userId) continue
        if (entry.matches && !entry.matches(called.method, called.template, called.path)) continue
        const met = entry.left > 0 && (options.probability === undefined || random.next() < options.probability)
        if (met) {
          entry.left--
          entry.met++
        }
        const leftMs = met ? hold(entry, called, nowMs) : heldMs(entry, called, nowMs)
        if (!met && leftMs === undefined) continue
        if (BESIDE.has(kind)) beside[kind] = entry
        else fault = { kind, options, leftMs: met ? undefined : leftMs }
      }
      if (over) entries = entries.filter((entry) => !isOver(entry, nowMs))
      const { slow, trickle } = beside
      const skew = beside['clock-skew']
      return {
        fault,
        slowMs: slow ? (slow.options.ms ?? 1000) : 0,
        skewMs: skew ? (skew.options.ms ?? 3_600_000) : 0,
        paceMs: trickle ? (trickle.options.ms ?? 1000) : 0,
        withoutHeaders: beside['no-headers'] !== undefined,
        bucketChange: beside['bucket-change']?.met ?? 0,
      }
    },
    active(nowMs) {
      entries = entries.filter((entry) => !isOver(entry, nowMs))
      return entries
    },
    stopAll() {
      entries = []
    },
  }
}

/** Against whom a wait is held: who was told, or everybody on a shared limit; null: this fault asks nobody to wait. */
function heldAgainst({ kind, options }: Entry, called: Called): string | null {
  const who = called.userId ?? called.address
  if (kind === 'sub-limit') return `${who} ${called.method} ${called.path}`
  if (kind === 'rate-limit') {
    const { scope = 'user' } = options
    return scope === 'global' ? who : scope === 'shared' ? called.path : `${who} ${called.method} ${called.path}`
  }
  const asks = kind === 'ban' && (options.retryAfterMs !== undefined || (options.shape ?? 'text') === 'text')
  return asks ? called.address : null
}

function hold(entry: Entry, called: Called, nowMs: Milliseconds): Milliseconds | undefined {
  const key = heldAgainst(entry, called)
  if (key === null) return undefined
  if (entry.holds.size >= MANY_HOLDS)
    for (const [other, until] of entry.holds) if (until <= nowMs) entry.holds.delete(other)
  entry.holds.set(key, nowMs + (entry.options.retryAfterMs ?? (entry.kind === 'ban' ? 3_600_000 : 1000)))
  return undefined
}

function heldMs(entry: Entry, called: Called, nowMs: Milliseconds): Milliseconds | undefined {
  const until = entry.holds.get(heldAgainst(entry, called) ?? '')
  return until !== undefined && until - nowMs > 1e-6 ? until - nowMs : undefined
}
