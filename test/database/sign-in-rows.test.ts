import { describe, expect, test } from 'vitest'
import { readDatabase } from '../../src/config/database.ts'
import { Database } from '../../src/database/database.ts'
import { SignInRows } from '../../src/database/sign-in-rows.ts'
import { Events } from '../../src/events/events.ts'
import { systemClock } from '../../src/time/clock.ts'
import { signInStoreContract } from '../contracts/sign-in-store.ts'
import { DATABASES } from './databases.ts'

const DAY = 24 * 60 * 60 * 1000

describe.each(DATABASES)('sessions in %s', (_name, make) => {
  signInStoreContract(async (now) => {
    const database = await make()
    const clock = { ...systemClock, now: () => now }
    const opened = [1, 2].map(() => new Database(readDatabase(database.url)!, new Events(systemClock)))
    const [one, other] = opened.map((each) => new SignInRows(each, clock, 90 * DAY))
    return {
      one: one!,
      other: other!,
      close: async () => {
        for (const each of opened) await each.close()
        await database.drop()
      },
    }
  })

  test('what ended by itself is cleared away, and nothing else', async () => {
    const database = await make()
    const opened = new Database(readDatabase(database.url)!, new Events(systemClock))
    let now = 100 * DAY
    const store = new SignInRows(opened, { ...systemClock, now: () => now }, 90 * DAY)
    const open = (user: string) =>
      store.open(
        { idHash: `session-${user}-${now}`, userId: user, createdAt: now, seenAt: now },
        { userId: user, rowId: 'row', version: 1, signedInAt: now, sealed: new Uint8Array([0, 255]) },
      )
    await open('early')
    await open('stays')
    await store.claim('attempt', 'code', 1)
    now += 80 * DAY
    await open('stays')
    now += 11 * DAY
    await open('late')
    const rows = async (table: string, column: string) =>
      (await database.query(`select ${column} as name from ${table} order by 1`)).map(({ name }) => name)
    expect(await rows('holdfast_session', 'user_id')).toEqual(['late', 'stays'])
    expect(await rows('holdfast_token', 'user_id')).toEqual(['late', 'stays'])
    expect(await rows('holdfast_attempt', 'attempt')).toEqual([])
    await opened.close()
    await database.drop()
  })
})
