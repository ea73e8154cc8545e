import { afterEach, describe, expect, test } from 'vitest'
import type { KeptSession, KeptTokens, SignInStore } from '../../src/sign-in/sign-in-store.ts'

/** A store as one process has it; `other` is the same store in another process, or the same one. */
export interface OpenedStore {
  readonly one: SignInStore
  readonly other: SignInStore
  close(): Promise<void>
}

let names = 0
const session = (userId: string, createdAt = 1_000): KeptSession => ({
  idHash: `hash-${++names}`,
  userId,
  createdAt,
  seenAt: createdAt,
})
const tokens = (userId: string, version = 1, rowId = 'row', signedInAt = 1_000): KeptTokens => ({
  userId,
  rowId,
  version,
  signedInAt,
  sealed: Buffer.from(`sealed \0ÿ ${userId} ${rowId} ${version}`, 'latin1'),
})
const user = () => `user-${++names}`

/** What every store of sessions and tokens does; `now` is about the time that its sessions begin at. */
export function signInStoreContract(open: (now: number) => Promise<OpenedStore>): void {
  let opened: OpenedStore | undefined
  afterEach(async () => {
    await opened?.close()
    opened = undefined
  })
  const store = async () => {
    opened = await open(1_000)
    return opened
  }

  describe('sessions and tokens', () => {
    test('are found by the session, in every process, and not by anything else', async () => {
      const { one, other } = await store()
      const mine = session(user())
      await one.open(mine, tokens(mine.userId))
      for (const process of [one, other]) {
        const found = await process.find(mine.idHash)
        expect(found?.session).toEqual(mine)
        expect({ ...found?.tokens, sealed: Buffer.from(found!.tokens!.sealed) }).toEqual(tokens(mine.userId))
        expect(await process.tokensOf(mine.userId)).toMatchObject({ rowId: 'row', version: 1, signedInAt: 1_000 })
      }
      expect(await other.find('hash-of-nobody')).toBeUndefined()
      expect(await other.tokensOf(user())).toBeUndefined()
    })

    test('a new sign-in replaces the tokens for all sessions of the user', async () => {
      const { one, other } = await store()
      const [desk, phone] = [session('a'), session('a', 2_000)]
      await one.open(desk, tokens('a'))
      await other.open(phone, tokens('a', 1, 'second', 2_000))
      expect((await one.find(desk.idHash))?.tokens?.rowId).toBe('second')
      expect((await one.find(phone.idHash))?.session.createdAt).toBe(2_000)
    })

    test('touch notes when a session was used, and brings back none that has ended', async () => {
      const { one, other } = await store()
      const mine = session(user())
      await one.open(mine, tokens(mine.userId))
      await other.touch(mine, 5_000)
      expect((await one.find(mine.idHash))?.session).toEqual({ ...mine, seenAt: 5_000 })
      expect((await one.find(mine.idHash))?.tokens).toBeDefined()
      await one.end(mine)
      await other.touch(mine, 6_000)
      expect(await one.find(mine.idHash)).toBeUndefined()
      expect(await one.tokensOf(mine.userId)).toBeUndefined()
    })

    test('end ends one session; the tokens go with the last one', async () => {
      const { one, other } = await store()
      const id = user()
      const [desk, phone] = [session(id), session(id)]
      await one.open(desk, tokens(id))
      await one.open(phone, tokens(id))
      await other.end(desk)
      await other.end(desk)
      expect([await one.find(desk.idHash), (await one.find(phone.idHash))?.session]).toEqual([undefined, phone])
      expect(await one.tokensOf(id)).toBeDefined()
      await other.end(phone)
      expect(await one.tokensOf(id)).toBeUndefined()
    })

    test('endAll ends what began before, and nobody else’s', async () => {
      const { one, other } = await store()
      const [id, neighbour] = [user(), user()]
      const [early, late, beside] = [session(id, 1_000), session(id, 3_000), session(neighbour)]
      await one.open(beside, tokens(neighbour))
      await one.open(early, tokens(id, 1, 'early', 1_000))
      await one.open(late, tokens(id, 1, 'late', 3_000))
      await other.endAll(id, 3_000)
      expect([await one.find(early.idHash), (await one.find(late.idHash))?.tokens?.rowId]).toEqual([undefined, 'late'])
      await other.endAll(id, 500)
      expect((await one.find(late.idHash))?.session).toEqual(late)
      await other.endAll(id)
      expect([await one.find(late.idHash), await one.tokensOf(id)]).toEqual([undefined, undefined])
      expect((await one.find(beside.idHash))?.tokens).toBeDefined()
      await other.endAll('user-who-never-was')
    })
  })

  describe('replacing tokens', () => {
    test('happens once for a version, whoever tries', async () => {
      const { one, other } = await store()
      const id = user()
      const mine = session(id)
      await one.open(mine, tokens(id))
      const tries = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 ? one : other).replace(tokens(id, 2), { rowId: 'row', version: 1 }),
        ),
      )
      expect(tries.filter(Boolean)).toEqual([true])
      expect((await other.find(mine.idHash))?.tokens?.version).toBe(2)
      expect(await one.replace(tokens(id, 2), { rowId: 'row', version: 1 })).toBe(false)
      expect(await one.replace(tokens(id, 3), { rowId: 'row', version: 2 })).toBe(true)
    })

    test('does not touch those of a later sign-in, and brings back none that are gone', async () => {
      const { one } = await store()
      const id = user()
      const mine = session(id)
      await one.open(mine, tokens(id, 1, 'second'))
      expect(await one.replace(tokens(id, 2, 'row'), { rowId: 'row', version: 1 })).toBe(false)
      await one.end(mine)
      expect(await one.replace(tokens(id, 2, 'second'), { rowId: 'second', version: 1 })).toBe(false)
      expect(await one.tokensOf(id)).toBeUndefined()
    })
  })

  describe('leave to refresh', () => {
    test('has one holder at a time, who may renew it and give it back', async () => {
      const { one, other } = await store()
      const id = user()
      expect(await one.lease(id, 'me', 60_000)).toBe(true)
      expect([await other.lease(id, 'you', 60_000), await one.lease(id, 'me', 60_000)]).toEqual([false, true])
      await other.release(id, 'you')
      expect(await other.lease(id, 'you', 60_000)).toBe(false)
      expect(await other.lease(user(), 'you', 60_000)).toBe(true)
      await one.release(id, 'me')
      expect(await other.lease(id, 'you', 60_000)).toBe(true)
    })

    test('ends by itself', async () => {
      const { one, other } = await store()
      const id = user()
      await one.lease(id, 'me', 30)
      await expect.poll(() => other.lease(id, 'you', 60_000)).toBe(true)
      await one.release(id, 'me')
      expect(await one.lease(id, 'me', 60_000)).toBe(false)
    })

    test('of ten who ask at once one gets it', async () => {
      const { one, other } = await store()
      const id = user()
      const asked = await Promise.all(
        Array.from({ length: 10 }, (_, index) => (index % 2 ? one : other).lease(id, `holder-${index}`, 60_000)),
      )
      expect(asked.filter(Boolean)).toEqual([true])
    })
  })

  describe('an attempt', () => {
    test('is one caller’s, and leads whoever brings its code again to the same outcome', async () => {
      const { one, other } = await store()
      const attempt = `attempt-${++names}`
      const claims = await Promise.all(
        Array.from({ length: 6 }, (_, index) => (index % 2 ? one : other).claim(attempt, 'code', 60_000)),
      )
      expect(claims.map(({ kind }) => kind).sort()).toEqual(['mine', ...Array(5).fill('pending')])
      expect((await other.claim(attempt, 'another-code', 60_000)).kind).toBe('spent')
      await one.settle(attempt, 'code', Buffer.from('\0ÿ outcome', 'latin1'), 60_000)
      const done = await other.claim(attempt, 'code', 60_000)
      expect(done.kind === 'done' && Buffer.from(done.sealed).toString('latin1')).toBe('\0ÿ outcome')
      expect((await other.claim(attempt, 'another-code', 60_000)).kind).toBe('spent')
    })

    test('that failed is spent, and one whose caller died is free again', async () => {
      const { one, other } = await store()
      const [failed, left] = [`attempt-${++names}`, `attempt-${++names}`]
      await one.claim(failed, 'code', 60_000)
      await one.settle(failed, 'code', null, 60_000)
      expect((await other.claim(failed, 'code', 60_000)).kind).toBe('spent')
      await one.claim(left, 'code', 30)
      await expect.poll(async () => (await other.claim(left, 'code', 60_000)).kind).toBe('mine')
    })
  })
}
