import { createVirtualClock } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'
import { readDatabase } from '../../src/config/database.ts'
import { Database } from '../../src/database/database.ts'
import { MembershipRows } from '../../src/database/membership-rows.ts'
import { Events } from '../../src/events/events.ts'
import { Ledger } from '../../src/ledger/membership-ledger.ts'
import { DATABASES } from '../database/databases.ts'

const HOUR = 3_600_000

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

describe.each(DATABASES)('the fetch that was sent last stands in %s', (_kind, make) => {
  /** Two processes with one database, each with its own ledger. */
  async function house() {
    const made = await make()
    cleanUps.push(() => made.drop())
    const clock = createVirtualClock()
    const start = () => {
      const database = new Database(readDatabase(made.url, {})!, new Events(clock))
      const rows = new MembershipRows(database, clock)
      const ledger = new Ledger({
        store: async () => rows,
        clock,
        events: new Events(clock),
        maxAgeMs: Number.MAX_SAFE_INTEGER,
        keepMs: Number.MAX_SAFE_INTEGER,
        refresh: async () => {},
      })
      cleanUps.push(
        () => database.close(),
        () => ledger.close(),
      )
      /** Asks Discord now; what is returned is its answer's arrival, which is written at once. */
      const send = () => {
        const [sentMs, look] = [clock.monotonic(), ledger.look()]
        return async (userId: string, guild: string) => {
          ledger.note(userId, [{ id: guild, name: guild, icon: null, owner: false, permissions: '0' }], sentMs, look)
          await ledger.summary()
        }
      }
      return { ledger, send }
    }
    const shown = async ({ ledger }: { ledger: Ledger }, userId: string) =>
      [...((await ledger.recall(userId))?.guilds ?? [])].map(({ id }) => id)
    return { clock, start, shown }
  }

  test.each([-HOUR, HOUR])(
    'of one process by its own clock alone, though the wall clock steps by %i ms between the writes',
    async (stepMs) => {
      const { clock, start, shown } = await house()
      const [process, other] = [start(), start()]
      await process.ledger.summary()
      const first = process.send()
      await clock.advance(10)
      const second = process.send()
      await first('1', '5')
      clock.step(stepMs)
      await second('1', '6')
      for (const shower of [process, other]) expect(await shown(shower, '1')).toEqual(['6'])
    },
  )

  test('of two processes, whatever the slower one has seen of the ledger between its question and its write', async () => {
    const { clock, start, shown } = await house()
    const [slow, quick] = [start(), start()]
    await slow.ledger.summary()
    const early = slow.send()
    await clock.advance(50)
    // A database with a clock of its own counts real time.
    await new Promise((resolve) => setTimeout(resolve, 50))
    await quick.send()('1', '6')
    // A write of its own shows the slow one how far the ledger has come.
    await slow.send()('2', '7')
    await early('1', '5')
    for (const process of [slow, quick]) expect(await shown(process, '1')).toEqual(['6'])
  })
})
