import fc from 'fast-check'
import { createVirtualClock } from 'holdfast/simulator'
import { afterAll, expect, test } from 'vitest'
import { readDatabase } from '../../src/config/database.ts'
import { Database } from '../../src/database/database.ts'
import { MembershipRows } from '../../src/database/membership-rows.ts'
import { Events } from '../../src/events/events.ts'
import { type Asking, Ledger } from '../../src/ledger/membership-ledger.ts'
import { systemClock } from '../../src/time/clock.ts'
import { DATABASES } from '../database/databases.ts'

const RUNS = 400
/** Shorter than a forgotten user's bare id stays. */
const HALF_AN_HOUR = 1_800_000
const GUILDS = ['10', '20', '30']

/** What happens to one user, seen by one of two processes. */
type Step =
  | { readonly kind: 'send'; readonly at: number }
  /** `which`: of all that are under way, the answers come in any order. */
  | { readonly kind: 'answer'; readonly at: number; readonly which: number; readonly refused: boolean }
  | { readonly kind: 'write' | 'forget' | 'restart'; readonly at: number }
  /** The user leaves or joins one of the guilds. */
  | { readonly kind: 'move'; readonly guild: number }
  | { readonly kind: 'pass' | 'step'; readonly ms: number }

const at = fc.integer({ min: 0, max: 1 })
const which = fc.nat({ max: 5 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('send' as const), at }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('answer' as const), at, which, refused: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('answer' as const), at, which, refused: fc.constant(true) }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('move' as const), guild: fc.nat({ max: GUILDS.length - 1 }) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('write' as const), at }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('forget' as const, 'restart' as const), at }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('step' as const),
      ms: fc.constantFrom(-HALF_AN_HOUR, -3_000, 3_000, HALF_AN_HOUR),
    }),
  },
)

const ends: Array<() => unknown> = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})

/** What a question was answered with; `guilds` undefined where the user was refused or forgotten. */
interface Answered {
  readonly order: number
  readonly guilds: readonly string[] | undefined
}

/**
 * Plays the steps for a user of its own, and looks after each whether the process that it happened to shows a guild that
 * was left at the last fetch which was answered there. In the end all of it is written, and both processes know the same.
 */
async function play(databases: readonly Database[], userId: string, steps: readonly Step[]): Promise<void> {
  const clock = createVirtualClock()
  const start = (database: Database) => {
    const rows = new MembershipRows(database, clock)
    const ledger = new Ledger({
      store: async () => rows,
      clock,
      events: new Events(clock),
      maxAgeMs: Number.MAX_SAFE_INTEGER,
      keepMs: Number.MAX_SAFE_INTEGER,
      refresh: async () => {},
    })
    return { ledger, flight: [] as Array<{ guilds: string[]; sentMs: number; order: number; look: Asking }>, newest: 0 }
  }
  const processes = databases.map(start)
  const isIn = new Set(GUILDS)
  let order = 0
  let wasSet = false
  const answers: Answered[] = [{ order: 0, guilds: undefined }]

  for (const step of steps) {
    if (step.kind === 'pass') await clock.advance(step.ms)
    else if (step.kind === 'step') {
      clock.step(step.ms)
      wasSet = true
    } else if (step.kind === 'move') move(GUILDS[step.guild]!)
    else if ('at' in step) {
      // No two things happen at the very same time.
      await clock.advance(1)
      await happen(step)
      await look(step.at)
    }
  }
  // What is still in flight is nobody's knowledge.
  for (const { ledger } of processes) await ledger.summary()
  const last = answers.reduce((newest, answer) => (answer.order > newest.order ? answer : newest))
  const hasStepped = steps.some(({ kind }) => kind === 'step')
  for (const { ledger } of processes) {
    const shown = await shownBy(ledger)
    // Where a clock was seen to step, it may be that nobody knows.
    if (hasStepped) expect(last.guilds ?? []).toEqual(expect.arrayContaining(shown ?? []))
    else expect(shown).toEqual(last.guilds)
    await ledger.close()
  }

  function move(id: string): void {
    if (!isIn.delete(id)) isIn.add(id)
  }

  async function shownBy(ledger: Ledger): Promise<string[] | undefined> {
    const recalled = await ledger.recall(userId)
    return recalled && [...recalled.guilds].map(({ id }) => id).sort()
  }

  /** What a process shows is at least as new as the newest that was answered to itself. */
  async function look(index: number): Promise<void> {
    const { ledger, newest } = processes[index]!
    const shown = await shownBy(ledger)
    const mayBe = answers.filter((answer) => answer.order >= newest)
    const isRight = !shown || mayBe.some(({ guilds }) => shown.every((id) => guilds?.includes(id)))
    expect(isRight, `shown ${shown} where ${JSON.stringify(mayBe)} are known`).toBe(true)
  }

  function know(index: number, answer: Answered): void {
    answers.push(answer)
    const process = processes[index]!
    process.newest = Math.max(process.newest, answer.order)
  }

  async function happen(step: Extract<Step, { readonly at: number }>): Promise<void> {
    const process = processes[step.at]!
    switch (step.kind) {
      case 'send':
        process.flight.push({
          guilds: [...isIn].sort(),
          sentMs: clock.monotonic(),
          order: ++order,
          look: process.ledger.look(),
        })
        return
      case 'answer': {
        const [answered] = process.flight.splice(step.which % Math.max(1, process.flight.length), 1)
        if (!answered) return
        const { guilds, sentMs, look: asking } = answered
        const list = guilds.map((id) => ({ id, name: id, icon: null, owner: false, permissions: '0' }))
        process.ledger.note(userId, step.refused ? null : list, sentMs, asking)
        know(step.at, { order: answered.order, guilds: step.refused ? undefined : guilds })
        return
      }
      case 'write':
        await process.ledger.summary()
        return
      case 'forget':
        know(step.at, { order: ++order, guilds: undefined })
        await process.ledger.forget(userId)
        return
      case 'restart':
        // One that begins after a clock was set has not seen that (docs/decisions/0160-fetch-sent-last.md).
        if (wasSet) return
        // What it had asked is lost with it.
        await process.ledger.close()
        processes[step.at] = { ...start(databases[step.at]!), newest: process.newest }
    }
  }
}

test('nobody is ever shown a guild that they had left at their last answered fetch', { timeout: 60_000 }, async () => {
  const [, make] = DATABASES[0]!
  const file = await make()
  const databases = [1, 2].map(() => new Database(readDatabase(file.url, {})!, new Events(systemClock)))
  ends.push(() => file.drop(), ...databases.map((database) => () => database.close()))
  let users = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (steps) =>
      play(databases, String(++users), steps),
    ),
    { numRuns: RUNS },
  )
})
