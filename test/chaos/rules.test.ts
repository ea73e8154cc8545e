import { describe, expect, test } from 'vitest'
import {
  type Answered,
  GRACE_MS,
  type Invalidation,
  judge,
  knownSince,
  type Life,
  type Stretch,
  type UserRecord,
  type WorldRecord,
} from './rules.ts'

const TIMES = { freshMs: 1_500, staleMs: 8_000, patienceMs: 300, attemptMs: 1_000, loadTimeoutMs: 3_000 }
const ALWAYS: Stretch = { from: 0, to: Number.POSITIVE_INFINITY }

function life(name: string, changes: Partial<Life> = {}): Life {
  return { name, startedAt: 0, endedAt: Number.POSITIVE_INFINITY, connected: [ALWAYS], frozen: [], ...changes }
}

const one = life('one')
const two = life('two')

function world(changes: Partial<WorldRecord> = {}): WorldRecord {
  return { lives: [one, two], emptied: [], bans: [], ...changes }
}

/** A user whose list was `old` (given at 10 000) and is `new` (given at 12 000). */
function user(changes: Partial<UserRecord> = {}): UserRecord {
  return {
    id: 'ann',
    lists: new Set(['old', 'new']),
    fetches: [
      { index: 1, at: 10_000, list: 'old' },
      { index: 5, at: 12_000, list: 'new' },
    ],
    refusals: [],
    invalidations: [],
    revoked: new Map(),
    answers: [],
    ...changes,
  }
}

function answer(changes: Partial<Answered> = {}): Answered {
  const { sentAt = 11_000 } = changes
  return {
    by: one,
    userId: 'ann',
    accessToken: 'token',
    sentAt,
    receivedAt: sentAt + 5,
    status: 200,
    answeredFor: 'ann',
    list: 'old',
    stale: false,
    source: 'memory',
    fetchedAt: 10_020,
    ...changes,
  }
}

const asked = (at: number, changes: Partial<Invalidation> = {}): Invalidation => ({
  by: two,
  askedAt: at,
  doneAt: at + 10,
  index: 3,
  ...changes,
})

const findings = (answered: Answered, about: UserRecord = user(), around: WorldRecord = world()) =>
  judge(answered, about, around, TIMES).join('; ')

describe('a list', () => {
  test('that Discord gave lately is right', () => {
    expect(findings(answer())).toBe('')
  })

  test.each<[string, Partial<Answered>, RegExp]>([
    ['of another user', { answeredFor: 'bob' }, /another user/],
    ['that nobody ever had', { list: 'mixed' }, /not a list that this user ever had/],
    ['from the future', { list: 'new' }, /has never given/],
    ['older than its fresh time that says fresh', { sentAt: 13_000 }, /old, and 1500 are allowed/],
    ['older than the stale time', { sentAt: 19_500, stale: true }, /old, and 8000 are allowed/],
    ['older than its caller allows', { sentAt: 12_600, stale: true, maxAgeMs: 500 }, /and 500 are allowed/],
    ['that lies about its age', { fetchedAt: 12_900, sentAt: 12_950, stale: true }, /it says that it was fetched/],
  ])('%s is wrong', (_name, changes, finding) => {
    expect(findings(answer(changes))).toMatch(finding)
  })

  test('read by a process that was frozen meanwhile is dated from when it was read', () => {
    const frozen = life('one', { frozen: [{ from: 10_005, to: 12_500 }] })
    expect(findings(answer({ by: frozen, sentAt: 12_600, fetchedAt: 12_510 }))).toBe('')
    expect(findings(answer({ sentAt: 12_600, fetchedAt: 12_510 }))).toMatch(/2600 ms old/)
  })
})

describe('after an invalidation', () => {
  const about = (invalidation: Invalidation) => user({ invalidations: [invalidation] })

  test('the process that was asked answers nothing older as soon as it has said so', () => {
    const invalidated = about(asked(10_500, { by: one }))
    expect(findings(answer({ sentAt: 10_505 }), invalidated)).toBe('')
    expect(findings(answer({ sentAt: 10_511 }), invalidated)).toMatch(/invalidated by process one/)
    expect(findings(answer({ sentAt: 12_100, list: 'new', fetchedAt: 12_010 }), invalidated)).toBe('')
  })

  test('another process answers nothing older a grace later', () => {
    const invalidated = about(asked(10_500))
    expect(findings(answer({ sentAt: 10_510 + GRACE_MS - 1 }), invalidated)).toBe('')
    expect(findings(answer({ sentAt: 10_510 + GRACE_MS }), invalidated)).toMatch(/invalidated by process two/)
  })

  test('a fetch that Discord answered before it was asked for does not count, one after it does', () => {
    const invalidated = about(asked(10_500, { index: 1 }))
    expect(findings(answer({ sentAt: 11_400 }), invalidated)).toBe('')
  })

  const known = (of: Life, invalidation: Invalidation, changes: Partial<WorldRecord> = {}, sentAt = 60_000) =>
    knownSince(invalidation, of, world(changes), { sentAt, receivedAt: sentAt + 5 })

  test('a frozen process knows of it once it is awake', () => {
    const frozen = life('one', { frozen: [{ from: 9_000, to: 15_000 }] })
    expect(known(frozen, asked(10_500))).toBe(15_000 + GRACE_MS)
  })

  test('a process without a processor has that time on top, and so it has where whoever asks had none', () => {
    const late = [
      { from: 10_400, to: 10_560 },
      { from: 10_700, to: 10_900 },
    ]
    const until = 10_510 + GRACE_MS + 50 + 200
    expect(known(life('one', { late }), asked(10_500))).toBe(until)
    expect(known(one, asked(10_500), { late })).toBe(until)
    // The same time counts once, and what comes later not at all.
    expect(known(life('one', { late }), asked(10_500), { late: [...late, { from: 15_000, to: 16_000 }] })).toBe(until)
  })

  test('a process without a processor that is frozen before it had its time knows nothing yet', () => {
    const late = [{ from: 10_600, to: 10_700 }]
    const frozen = [{ from: 10_800, to: Number.POSITIVE_INFINITY }]
    expect(known(life('one', { late, frozen }), asked(10_500))).toBe(Number.POSITIVE_INFINITY)
  })

  test('a process that was cut off knows of it when it is back', () => {
    const cutOff = life('one', {
      connected: [
        { from: 0, to: 10_000 },
        { from: 14_000, to: Number.POSITIVE_INFINITY },
      ],
    })
    expect(known(cutOff, asked(10_500))).toBe(14_000 + GRACE_MS)
  })

  test('… unless Redis has gone away again before it could look', () => {
    const cutOff = life('one', { connected: [{ from: 14_000, to: 16_000 }] })
    expect(known(cutOff, asked(10_500), {}, 15_900)).toBe(14_000 + GRACE_MS)
    expect(known(cutOff, asked(10_500), {}, 15_999)).toBe(Number.POSITIVE_INFINITY)
  })

  test('… unless Redis has lost it meanwhile, and nobody said it again', () => {
    const cutOff = life('one', { connected: [{ from: 14_000, to: Number.POSITIVE_INFINITY }] })
    const emptied = [{ from: 12_000, to: 12_500 }]
    expect(known(cutOff, asked(10_500), { emptied })).toBe(Number.POSITIVE_INFINITY)
    const repeats = life('two', {
      connected: [
        { from: 0, to: 12_000 },
        { from: 13_000, to: Number.POSITIVE_INFINITY },
      ],
    })
    expect(known(cutOff, asked(10_500, { by: repeats }), { emptied })).toBe(14_000 + GRACE_MS)
  })

  test('who heard of it does not forget it with Redis', () => {
    expect(known(one, asked(10_500), { emptied: [{ from: 12_000, to: 12_500 }] })).toBe(10_510 + GRACE_MS)
  })

  test('it is said later where the process that was asked was away itself', () => {
    const away = life('two', { connected: [{ from: 20_000, to: Number.POSITIVE_INFINITY }] })
    expect(known(one, asked(10_500, { by: away }))).toBe(20_000 + GRACE_MS)
  })

  test('it is lost to the others where that process died before', () => {
    const died = life('two', { connected: [{ from: 0, to: 10_000 }], endedAt: 12_000 })
    expect(known(one, asked(10_500, { by: died }))).toBe(Number.POSITIVE_INFINITY)
    expect(known(life('three', { startedAt: 15_000 }), asked(10_500, { by: died }))).toBe(Number.POSITIVE_INFINITY)
  })

  test('a process that starts later knows of it from the start', () => {
    const later = life('three', { startedAt: 15_000, connected: [{ from: 15_400, to: Number.POSITIVE_INFINITY }] })
    expect(known(later, asked(10_500))).toBe(15_000)
  })
})

describe('an error', () => {
  const error = (changes: Partial<Answered> = {}) =>
    answer({ status: 503, code: 'SERVICE_UNAVAILABLE', message: 'no', ...changes })

  test('without trouble has no reason', () => {
    expect(findings(error())).toMatch(/there was no trouble/)
  })

  test.each<[string, Partial<UserRecord>, Partial<WorldRecord>]>([
    ['a failure of this user’s call', { refusals: [{ at: 10_900, waitMs: 0, token: false }] }, {}],
    ['a back-off that a failure set', { refusals: [{ at: 6_500, waitMs: 0, token: false }] }, {}],
    ['a ban', {}, { bans: [{ at: 9_000, waitMs: 1_000, token: false }] }],
    ['a process that was killed', {}, { lives: [one, life('two', { endedAt: 10_000 })] }],
    ['a process that froze', {}, { lives: [one, life('two', { frozen: [{ from: 9_000, to: 10_000 }] })] }],
    ['a Discord without a processor for half an attempt', {}, { late: [{ from: 10_000, to: 10_501 }] }],
  ])('has a reason in %s, where nothing is held', (_name, about, around) => {
    expect(findings(error(), user(about), world(around))).toBe('')
  })

  test('has none in a failure that is long past', () => {
    const refusals = [{ at: 10_900, waitMs: 0, token: false }]
    expect(findings(error({ sentAt: 40_000 }), user({ refusals }))).toMatch(/no trouble/)
  })

  const troubled = { refusals: [{ at: 14_000, waitMs: 0, token: false }] }
  const before = answer({ sentAt: 13_000, list: 'new', fetchedAt: 12_010 })

  test('has none where this process held a list, whatever the trouble', () => {
    expect(findings(error({ sentAt: 14_010 }), user({ ...troubled, answers: [before] }))).toMatch(
      /though this process answered a list/,
    )
  })

  test('has none where a list was in Redis, and it could be read', () => {
    const shared = { ...before, by: two, source: 'redis' }
    const asks = error({ sentAt: 16_000 })
    expect(findings(asks, user({ ...troubled, answers: [shared] }))).toMatch(/was in Redis/)
    const emptied = [{ from: 15_000, to: 15_100 }]
    expect(findings(asks, user({ ...troubled, answers: [shared] }), world({ emptied }))).toBe('')
    const away = life('one', { connected: [{ from: 15_000, to: Number.POSITIVE_INFINITY }] })
    expect(findings({ ...asks, by: away }, user({ ...troubled, answers: [shared] }))).toBe('')
  })

  test('may come after an invalidation, which leaves nothing to hold', () => {
    const held = { ...troubled, answers: [before], invalidations: [asked(13_500)] }
    expect(findings(error({ sentAt: 14_010 }), user(held))).toBe('')
  })

  test('may come when Redis is back and is told of what this process invalidated before it had that list', () => {
    const back = life('one', { connected: [{ from: 14_000, to: Number.POSITIVE_INFINITY }] })
    const held = { ...troubled, answers: [{ ...before, by: back }], invalidations: [asked(7_000, { by: back })] }
    expect(findings(error({ sentAt: 14_010, by: back }), user(held))).toBe('')
    const there = life('one')
    const kept = { ...troubled, answers: [{ ...before, by: there }], invalidations: [asked(7_000, { by: there })] }
    expect(findings(error({ sentAt: 14_010, by: there }), user(kept))).toMatch(/though this process answered/)
  })

  test('may come where the caller wants a younger list than is held', () => {
    expect(findings(error({ sentAt: 14_010, maxAgeMs: 500 }), user({ ...troubled, answers: [before] }))).toBe('')
  })

  test('is 401 for a revoked token, and for no other', () => {
    const refused = error({ status: 401, code: 'UNAUTHENTICATED' })
    expect(findings(refused)).toMatch(/Discord accepts/)
    expect(findings(refused, user({ revoked: new Map([['token', 10_500]]) }))).toBe('')
  })

  test.each([403, 404, 500])('is never %i', (status) => {
    expect(findings(error({ status }))).toMatch(/nothing can be answered/)
  })

  test('is a broken connection only where the process has died', () => {
    expect(findings(error({ status: 0 }))).toMatch(/a process that lives/)
    expect(findings(error({ status: 0, by: life('one', { endedAt: 11_000 }) }))).toBe('')
    const heardLate = error({ status: 0, by: life('one', { endedAt: 12_000 }) })
    expect(findings(heardLate)).toMatch(/a process that lives/)
    expect(findings(heardLate, user(), world({ late: [{ from: 11_000, to: 12_000 }] }))).toBe('')
  })
})

test('a token that Discord has refused is refused by all, where all could hear of it', () => {
  const refused = user({
    revoked: new Map([['token', 10_400]]),
    refusals: [{ at: 10_600, waitMs: 0, token: true }],
  })
  expect(findings(answer({ sentAt: 11_000 }), refused, world())).toBe('')
  const late = answer({ sentAt: 12_000, stale: true })
  expect(findings(late, refused, world({ lives: [life('one'), life('two')] }))).toMatch(/had refused this token/)
  const cutOff = life('two', { connected: [] })
  expect(findings(late, refused, world({ lives: [one, cutOff] }))).toBe('')
})

describe('a wait', () => {
  test('is bounded by the time of a load', () => {
    expect(findings(answer({ receivedAt: 15_400 }))).toBe('')
    expect(findings(answer({ receivedAt: 15_600 }))).toMatch(/it took 4600 ms/)
  })

  test('is bounded by patience where a list is held', () => {
    const held = user({ answers: [answer({ sentAt: 10_900 })] })
    expect(findings(answer({ receivedAt: 13_000, stale: true }), held)).toMatch(/it took 2000 ms, and 1800/)
  })

  test('is not counted while the process is frozen', () => {
    const frozen = life('one', { frozen: [{ from: 11_001, to: 15_500 }] })
    expect(findings(answer({ by: frozen, receivedAt: 15_600 }))).toBe('')
  })

  test('is not counted while the process, or whoever asks, had no processor', () => {
    const late = [{ from: 11_001, to: 11_200 }]
    expect(findings(answer({ by: life('one', { late }), receivedAt: 15_600 }))).toBe('')
    expect(findings(answer({ receivedAt: 15_600 }), user(), world({ late }))).toBe('')
    expect(findings(answer({ by: life('two', { late }), receivedAt: 15_900 }))).toMatch(/it took 4701 ms/)
  })
})
