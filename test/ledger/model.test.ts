import fc from 'fast-check'
import { createVirtualClock } from 'holdfast/simulator'
import { afterEach, expect, test } from 'vitest'
import { Database } from '../../src/database/database.ts'
import { MembershipRows } from '../../src/database/membership-rows.ts'
import { Events } from '../../src/events/events.ts'
import { type Asking, Ledger } from '../../src/ledger/membership-ledger.ts'
import { DATABASES, type TestDatabase } from '../database/databases.ts'

const RUNS = 25
const USER = '1'
const HOUR = 3_600_000

/** What happens to one user, seen by one or two processes. */
type Step =
  | { readonly kind: 'send'; readonly process: number }
  | { readonly kind: 'answer'; readonly process: number; readonly refused: boolean }
  | { readonly kind: 'leave' | 'join' | 'write' | 'forget' | 'restart'; readonly process: number }
  | { readonly kind: 'pass' | 'step'; readonly ms: number }

const process = fc.integer({ min: 0, max: 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('send' as const), process }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('answer' as const), process, refused: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('answer' as const), process, refused: fc.constant(true) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('leave' as const, 'join' as const, 'write' as const), process }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('forget' as const, 'restart' as const), process }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('step' as const), ms: fc.constantFrom(-HOUR, -3_000, 3_000, HOUR) }),
  },
)

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** Plays the steps, and looks after each whether the ledger shows a guild that was left at the last answered fetch. */
async function play(database: TestDatabase, steps: readonly Step[]): Promise<void> {
  const clock = createVirtualClock()
  const events = new Events(clock)
  const start = () => {
    const shared = new Database({ kind: 'sqlite', path: database.url.slice('sqlite:'.length) }, events)
    const rows = new MembershipRows(shared, clock)
    const ledger = new Ledger({
      store: async () => rows,
      clock,
      events,
      maxAgeMs: Number.MAX_SAFE_INTEGER,
      keepMs: Number.MAX_SAFE_INTEGER,
      refresh: async () => {},
    })
    const flight: Array<{ guilds: string[]; sentMs: number; order: number; look: Asking }> = []
    return { ledger, flight, close: async () => shared.close() }
  }
  const processes = [start(), start()]
  let isIn = new Set(['10', '20'])
  let order = 0
  /** The newest question that was answered: what may be shown, or undefined where nothing may. */
  let known: { order: number; guilds: Set<string> | undefined } = { order: 0, guilds: undefined }
  const list = (ids: readonly string[]) =>
    ids.map((id) => ({ id, name: id, icon: null, owner: false, permissions: '0' }))
  try {
    for (const step of steps) {
      if (step.kind === 'pass') await clock.advance(step.ms)
      else if (step.kind === 'step') clock.step(step.ms)
      else if ('process' in step) await happen(step)
    }
    // What was answered is written before anybody else is asked: what is still in flight is nobody's knowledge.
    for (const at of processes) await at.ledger.summary()
    for (const at of processes) {
      const shown = await at.ledger.recall(USER)
      for (const { id } of shown?.guilds ?? []) expect([...(known.guilds ?? [])], `order ${known.order}`).toContain(id)
    }
  } finally {
    for (const at of processes) await at.close()
  }

  async function happen(step: Exclude<Step, { readonly ms: number }>): Promise<void> {
    const at = processes[step.process]!
    // No two things happen at the very same time.
    await clock.advance(1)
    switch (step.kind) {
      case 'send':
        at.flight.push({ guilds: [...isIn], sentMs: clock.monotonic(), order: ++order, look: at.ledger.look() })
        return
      case 'answer': {
        // Not in the order in which they were asked: the newest first.
        const answered = at.flight.pop()
        if (!answered) return
        at.ledger.note(USER, step.refused ? null : list(answered.guilds), answered.sentMs, answered.look)
        if (answered.order > known.order)
          known = { order: answered.order, guilds: step.refused ? undefined : new Set(answered.guilds) }
        return
      }
      case 'leave':
        isIn = new Set(['10'])
        return
      case 'join':
        isIn = new Set(['10', '20'])
        return
      case 'write':
        await at.ledger.summary()
        return
      case 'forget':
        known = { order: ++order, guilds: undefined }
        await at.ledger.forget(USER)
        return
      case 'restart':
        // What it had asked is lost with it.
        await at.ledger.close()
        await at.close()
        processes[step.process] = start()
    }
  }
}

test('nobody is ever shown a guild that they had left at their last answered fetch', { timeout: 60_000 }, async () => {
  const [, make] = DATABASES[0]!
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const database = await make()
      try {
        await play(database, steps)
      } finally {
        await database.drop()
      }
    }),
    { numRuns: RUNS },
  )
})
