import { createVirtualClock } from 'holdfast/simulator'
import { afterEach, describe, expect, test } from 'vitest'
import { readDatabase } from '../../src/config/database.ts'
import { Database } from '../../src/database/database.ts'
import { MembershipRows } from '../../src/database/membership-rows.ts'
import { Events } from '../../src/events/events.ts'
import { laterFetch } from '../../src/ledger/later-fetch.ts'
import type { KeptGuild } from '../../src/ledger/membership-store.ts'
import { DATABASES } from './databases.ts'

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const guild = (id: string, standing = '16', name = `guild ${id}`): KeptGuild => ({ id, name, icon: null, standing })

describe.each(DATABASES)('rows of memberships in %s', (_kind, make) => {
  async function house() {
    const made = await make()
    const clock = createVirtualClock()
    const database = new Database(readDatabase(made.url, {})!, new Events(clock))
    cleanUps.push(
      () => made.drop(),
      () => database.close(),
    )
    const rows = new MembershipRows(database, clock)
    const save = async (lists: Record<string, readonly KeptGuild[] | null>) => {
      await clock.advance(10)
      const fetches = Object.entries(lists).map(([userId, guilds]) => ({
        userId,
        guilds,
        sentMs: clock.monotonic(),
        look: rows.look(),
      }))
      await rows.save(fetches, laterFetch)
    }
    const ids = async (userId: string) => (await rows.recall(userId))?.guilds.map(({ id }) => id)
    return { clock, query: made.query, rows, save, ids }
  }

  test('hold each list as it was saved last: what was left is gone, what was joined or changed is there', async () => {
    const { rows, save, ids, query } = await house()
    await save({ 1: [guild('5'), guild('6')], 2: [guild('5')], 3: [] })
    await save({ 1: [guild('6', '17'), guild('7')], 2: [guild('5')], 3: [guild('9')] })
    expect((await rows.recall('1'))?.guilds).toEqual([guild('6', '17'), guild('7')])
    expect([await ids('2'), await ids('3')]).toEqual([['5'], ['9']])
    expect(await query('select user_no from holdfast_membership')).toHaveLength(4)
  })

  test('tell a user who is in no guild from one of whom nothing is known', async () => {
    const { save, ids, query } = await house()
    await save({ 1: [guild('5')], 2: [] })
    await save({ 1: [] })
    expect([await ids('1'), await ids('2'), await ids('3')]).toEqual([[], [], undefined])
    expect(await query('select user_no from holdfast_membership')).toEqual([])
  })

  test('of a user who is forgotten go, and come back with the very same list', async () => {
    const { save, ids, query } = await house()
    await save({ 1: [guild('5')], 2: [guild('5')] })
    await save({ 1: null })
    expect(await ids('1')).toBeUndefined()
    expect(await query('select user_no from holdfast_membership')).toHaveLength(1)
    await save({ 1: [guild('5')], 2: [guild('5')] })
    expect([await ids('1'), await ids('2')]).toEqual([['5'], ['5']])
  })

  test('are not touched by a list that did not change, only its time is', async () => {
    const { clock, rows, save, query } = await house()
    await save({ 1: [guild('5')] })
    await query('update holdfast_membership set standing = ?', ['2'])
    await clock.advance(60_000)
    await save({ 1: [guild('5')] })
    const recalled = await rows.recall('1')
    expect(recalled?.guilds).toMatchObject([{ standing: '2' }])
    expect(recalled!.now - recalled!.sentAt).toBeLessThan(1_000)
  })

  test('are written anew for a user whose row somebody else has deleted since', async () => {
    const { save, ids, query } = await house()
    await save({ 1: [guild('5')], 2: [guild('5')] })
    await query('delete from holdfast_membership where user_no in (select no from holdfast_user where user_id = 1)')
    await query('delete from holdfast_user where user_id = 1')
    await save({ 1: [guild('6')], 2: [guild('7')] })
    expect([await ids('1'), await ids('2')]).toEqual([['6'], ['7']])
  })

  test('show a guild by its newest name, and by none where the row of names is gone, until the next list', async () => {
    const { rows, save, query } = await house()
    await save({ 1: [guild('5')] })
    await save({ 2: [guild('5', '16', 'a new name')] })
    expect((await rows.recall('1'))?.guilds).toMatchObject([{ name: 'a new name' }])
    await query('delete from holdfast_guild')
    expect((await rows.recall('1'))?.guilds).toMatchObject([{ name: '' }])
    await save({ 2: [guild('5', '16', 'a new name')] })
    expect((await rows.recall('1'))?.guilds).toMatchObject([{ name: 'a new name' }])
  })

  test('hold the largest ids and rights there are, and more guilds than anybody is in', async () => {
    const { rows, save, ids } = await house()
    const last = guild('9223372036854775807', '4611686018427387903')
    const many = Array.from({ length: 300 }, (_, index) => guild(String(index + 1)))
    await save({ [last.id]: [last], 1: many })
    expect((await rows.recall(last.id))?.guilds).toEqual([last])
    expect(await ids('1')).toHaveLength(300)
  })
})
