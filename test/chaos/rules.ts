// What a fleet may answer, whatever happens to Redis, to Discord and to its processes. Pure: everything that happened
// comes in as an argument, times are the wall clock in milliseconds, and the order of Discord's answers is told by their
// number in the simulator's ledger, which does not depend on any clock.

/** A stretch of time; `to` is Infinity while it lasts. */
export interface Stretch {
  readonly from: number
  readonly to: number
}

/** One life of one process, as far as the rules need to know it. */
export interface Life {
  readonly name: string
  readonly startedAt: number
  readonly endedAt: number
  /** When it was connected to Redis, by its own account. It is held to its word. */
  readonly connected: readonly Stretch[]
  readonly frozen: readonly Stretch[]
  /** When its event loop stood still because the machine gave it no processor, in order. It can neither hear nor answer then. */
  readonly late?: readonly Stretch[]
}

/** Discord gave a user's list, whole. */
export interface Fetch {
  /** Its number in the ledger. */
  readonly index: number
  readonly at: number
  /** What the list was, as `listOf` writes it. */
  readonly list: string
}

/** A call that Discord refused, failed or left hanging. */
export interface Refusal {
  readonly at: number
  /** For how long it asked us to wait, where it did. */
  readonly waitMs: number
  /** Whether the token was what it refused. */
  readonly token: boolean
}

export interface Invalidation {
  readonly by: Life
  readonly askedAt: number
  /** How many calls Discord had answered by then: later ones are new enough. */
  readonly index: number
  /** When the process said that it was done; Infinity where it never did. */
  readonly doneAt: number
}

/** What happened to one user. */
export interface UserRecord {
  readonly id: string
  /** Every list that Discord has ever shown for them. */
  readonly lists: ReadonlySet<string>
  readonly fetches: readonly Fetch[]
  readonly refusals: readonly Refusal[]
  readonly invalidations: readonly Invalidation[]
  /** Tokens that were revoked, and when. */
  readonly revoked: ReadonlyMap<string, number>
  /** Earlier answers with a list. */
  readonly answers: readonly Answered[]
}

/** What happened to all. */
export interface WorldRecord {
  readonly lives: readonly Life[]
  /** When Redis lost everything: killed until it was there again, or flushed. */
  readonly emptied: readonly Stretch[]
  /** When Redis took no writes: what is said then is said again until it does, at most 2 s later. */
  readonly refusing?: readonly Stretch[]
  /** When Redis came back from a snapshot: what it forgot is said again by those who heard it, as soon as they are connected. */
  readonly restored?: readonly Stretch[]
  /** Bans of the fleet's address. */
  readonly bans: readonly Refusal[]
  /** When whoever asks stood still, in order: Discord and the way to Redis are in the same process. */
  readonly late?: readonly Stretch[]
}

export interface Times {
  readonly freshMs: number
  readonly staleMs: number
  readonly patienceMs: number
  /** How long an attempt at Discord may take. */
  readonly attemptMs: number
  readonly loadTimeoutMs: number
}

/** What somebody was answered. */
export interface Answered {
  readonly by: Life
  readonly userId: string
  readonly accessToken: string
  readonly sentAt: number
  readonly receivedAt: number
  /** 0: the connection broke. */
  readonly status: number
  readonly maxAgeMs?: number
  /** Whose it says it is. */
  readonly answeredFor?: string
  readonly list?: string
  readonly stale?: boolean
  readonly source?: string
  readonly fetchedAt?: number
  readonly code?: string
  readonly message?: string
}

/** A rule that was broken, in words. */
export type Finding = string

/** Sending news through Redis and reading it, on a machine with too few cores. The issue's 50 ms are measured where it is calm. */
export const GRACE_MS = 250
/** The tier dates loads without a lease this much earlier than they were. */
const LATELY_MS = 1_000
/** Between coming back and counting as back, a process says what it has to say. */
const RETRY_MS = 2_500
/** After a restore everybody is connected again, and has said what it knows, within this. */
const RETURNED_MS = 6_000
const RETURN_MS = 500
/** What a busy machine may add to any wait. */
const SLACK_MS = 1_500
const FIRST_BACKOFF_MS = 5_000
/** Back-offs are spread, so that not every process tries at once. */
const SPREAD = 1.5
const LONGEST_BACKOFF_MS = 300_000
/** A lease that nobody renews any more, and everything that a process which comes and goes leaves half done. */
const UPHEAVAL_MS = 6_000

export function listOf(guildIds: Iterable<string>): string {
  return [...guildIds].sort().join(' ')
}

/** Everything that is wrong with an answer; empty where it is what it may be. */
export function judge(answer: Answered, user: UserRecord, world: WorldRecord, times: Times): Finding[] {
  if (answer.status === 200) return [...judgeList(answer, user, world, times), ...judgeWait(answer, user, world, times)]
  return [...judgeError(answer, user, world, times), ...judgeWait(answer, user, world, times)]
}

/**
 * A list must be the user's own, and one that Discord gave: not longer ago than the answer says and the caller allows,
 * at about the time that the answer names, and after every invalidation that this process must know of.
 */
function judgeList(answer: Answered, user: UserRecord, world: WorldRecord, times: Times): Finding[] {
  const { list = '', sentAt, receivedAt, fetchedAt = 0 } = answer
  if (answer.answeredFor !== user.id) return [`it is addressed to another user, ${answer.answeredFor}`]
  if (!user.lists.has(list)) return ['it is not a list that this user ever had']
  const given = user.fetches.filter((fetch) => fetch.list === list && fetch.at <= receivedAt)
  if (given.length === 0) return ['Discord has never given this list']
  const oldestMs = Math.min(answer.maxAgeMs ?? Number.POSITIVE_INFINITY, answer.stale ? times.staleMs : times.freshMs)
  // An age counts from when the answer was read, so it may have been under way for as long as an attempt lasts; and a
  // process that is frozen reads nothing.
  const underWayMs = (at: number) => times.attemptMs + stoodStillMs([answer.by], world, at, fetchedAt)
  const young = given.filter(
    ({ at }) => at >= sentAt - oldestMs - times.attemptMs || at >= sentAt - oldestMs - underWayMs(at),
  )
  if (young.length === 0)
    return [
      `it is ${sentAt - given.at(-1)!.at} ms old, and ${oldestMs} are allowed for one that says ${answer.stale ? 'stale' : 'fresh'}`,
    ]
  const honest = young.filter(
    // Shared values are dated from when their load began, and a load may have waited for its turn.
    ({ at }) =>
      (at >= fetchedAt - times.attemptMs - GRACE_MS || at >= fetchedAt - underWayMs(at) - GRACE_MS) &&
      at <= fetchedAt + times.loadTimeoutMs + GRACE_MS,
  )
  if (honest.length === 0)
    return [`it says that it was fetched at ${fetchedAt}; it was at ${young.map(({ at }) => at).join(', ')}`]
  const newest = Math.max(...honest.map(({ index }) => index))
  const findings: Finding[] = []
  for (const invalidation of user.invalidations) {
    if (newest >= invalidation.index) continue
    const knownAt = knownSince(invalidation, answer.by, world, answer)
    if (sentAt < knownAt) continue
    findings.push(
      `it was invalidated by process ${invalidation.by.name} (asked ${sentAt - invalidation.askedAt} ms before, known for ${sentAt - knownAt} ms)`,
    )
  }
  const { accessToken } = answer
  const refusedAt = tokenRefusedAt(accessToken, user, world)
  if (sentAt > refusedAt) findings.push(`Discord had refused this token ${sentAt - refusedAt} ms before`)
  return findings
}

/** When somebody asked, and when they were answered. */
type Asking = Pick<Answered, 'sentAt' | 'receivedAt'>

/**
 * From when on a process must not answer somebody with anything older than an invalidation.
 *
 * The process that was asked: as soon as it has said that it is done. Any other: `GRACE_MS` of its own time after it heard
 * of it, which it does while it is connected and awake; or, if it came back only later, from when it is connected, because whatever it
 * holds is looked up in Redis before it is used again. Looking needs a Redis that is still there when somebody asks, and
 * has not lost everything meanwhile.
 *
 * An invalidation is said when it is asked for, if the process is connected all the while; else as soon as that process
 * is connected again, when it also repeats what Redis may have lost. If that process dies before, the invalidation is
 * lost to the others: two that are both away cannot tell anybody anything. And a Redis that is flushed takes with it what
 * those who were away have not seen yet, because nobody is told that it happened.
 */
export function knownSince(invalidation: Invalidation, life: Life, world: WorldRecord, asking: Asking): number {
  const { by, askedAt, doneAt } = invalidation
  if (life === by) return doneAt
  const said = [
    ...(by.connected.some(({ from, to }) => from <= askedAt && to >= doneAt) ? [{ from: askedAt, to: doneAt }] : []),
    ...by.connected.filter(({ from }) => from > askedAt).map(({ from }) => ({ from: from - RETURN_MS, to: from })),
  ].flatMap((saying) => {
    const refused = world.refusing?.find((stretch) => overlaps(stretch, saying.from, saying.to))
    if (!refused) return [saying]
    const to = refused.to + RETRY_MS
    return by.connected.some((stretch) => stretch.from <= saying.from && stretch.to >= to) ? [{ ...saying, to }] : []
  })
  let known = Number.POSITIVE_INFINITY
  for (const saying of said) {
    // Its memory is empty, and nothing older than the invalidation is in Redis any more.
    const returned = world.restored?.some(({ to }) => to >= saying.from && asking.receivedAt <= to + RETURNED_MS)
    if (life.startedAt >= saying.to && !returned) known = Math.min(known, life.startedAt)
    const lost = world.emptied.some(({ from, to }) => from <= asking.receivedAt && to >= saying.to)
    for (const { from, to } of life.connected) {
      const hears = from <= saying.from
      const awake = calmStretch(Math.max(from, saying.to), to, life.frozen)
      const looks = !lost && to >= asking.receivedAt
      if (awake === undefined || !(hears || looks)) continue
      known = Math.min(known, punctual(awake, GRACE_MS, life, world))
      break
    }
  }
  return known
}

/** When a process has had so much time in which neither it nor whoever asks it stood still; Infinity while it is frozen before that. */
function punctual(from: number, ms: number, life: Life, world: WorldRecord): number {
  for (let late = 0; ; ) {
    const at = from + ms + late
    if (life.frozen.some((stretch) => stretch.to === Number.POSITIVE_INFINITY && stretch.from < at))
      return Number.POSITIVE_INFINITY
    const longer = stoodStillMs([life], world, from, at)
    if (longer === late) return at
    late = longer
  }
}

/** The first moment from which on nothing was frozen for `GRACE_MS`. */
function calmStretch(from: number, to: number, frozen: readonly Stretch[]): number | undefined {
  let at = from
  for (const stretch of [...frozen].sort((a, b) => a.from - b.from))
    if (stretch.to > at && stretch.from < at + GRACE_MS) at = stretch.to
  return at + GRACE_MS <= to ? at : undefined
}

/**
 * From when on everybody refuses a token: after Discord's first 401 to it, where all processes were connected and awake
 * from then on.
 */
function tokenRefusedAt(accessToken: string, user: UserRecord, world: WorldRecord): number {
  const revokedAt = user.revoked.get(accessToken)
  if (revokedAt === undefined) return Number.POSITIVE_INFINITY
  const refusal = user.refusals.find(({ at, token }) => token && at >= revokedAt)
  if (!refusal) return Number.POSITIVE_INFINITY
  const punctualAt = refusal.at + GRACE_MS + LATELY_MS
  const alive = world.lives.filter(
    ({ startedAt, endedAt }) => startedAt < punctualAt && endedAt > refusal.at - LATELY_MS,
  )
  const toldAt = punctualAt + stoodStillMs(alive, world, refusal.at, punctualAt)
  const calm = alive.every(
    ({ startedAt, endedAt, connected, frozen }) =>
      startedAt < refusal.at - LATELY_MS &&
      endedAt > toldAt &&
      connected.some(({ from, to }) => from < refusal.at - LATELY_MS && to > toldAt) &&
      !frozen.some((stretch) => overlaps(stretch, refusal.at - LATELY_MS, toldAt)),
  )
  return calm ? toldAt : Number.POSITIVE_INFINITY
}

/**
 * An error needs a reason: a dead token, or trouble while nothing was held. Trouble is what Discord's ledger shows for
 * this user (with the wait or back-off that it sets), a ban of everybody, or a process that froze or died in the middle.
 * And where a list was certainly held, no trouble is reason enough.
 */
function judgeError(answer: Answered, user: UserRecord, world: WorldRecord, times: Times): Finding[] {
  const { by, status, accessToken, receivedAt, sentAt } = answer
  if (status === 0) {
    // Whoever asks is told of an end by the system, and has to have a processor to hear it.
    const toldBy = receivedAt + GRACE_MS + stoodStillMs([], world, sentAt, receivedAt + SLACK_MS)
    return by.endedAt <= toldBy ? [] : ['a process that lives did not answer']
  }
  const revokedAt = user.revoked.get(accessToken) ?? Number.POSITIVE_INFINITY
  if (status === 401) return revokedAt <= receivedAt ? [] : ['it refuses a token that Discord accepts']
  if (status !== 429 && status !== 503) return [`nothing can be answered with ${status}: ${answer.message}`]
  const findings: Finding[] = []
  const held = certainlyHeld(answer, user, world, times)
  if (held) findings.push(`it answers ${answer.code} though ${held}: ${answer.message}`)
  const backoffMs =
    Math.min(
      FIRST_BACKOFF_MS *
        2 ** Math.max(0, user.refusals.filter(({ at }) => at > sentAt - LONGEST_BACKOFF_MS).length - 1),
      LONGEST_BACKOFF_MS,
    ) * SPREAD
  const still = (refusal: Refusal, forMs: number) =>
    refusal.at <= receivedAt && refusal.at + Math.max(refusal.waitMs, forMs) + times.loadTimeoutMs + SLACK_MS >= sentAt
  const troubled =
    user.refusals.some((refusal) => still(refusal, backoffMs)) ||
    world.bans.some((ban) => still(ban, times.attemptMs)) ||
    world.lives.some(
      ({ endedAt, frozen }) =>
        (endedAt <= receivedAt && endedAt >= sentAt - UPHEAVAL_MS) ||
        frozen.some((stretch) => overlaps(stretch, sentAt - UPHEAVAL_MS, receivedAt)),
    ) ||
    // An attempt is given up when its time is over, whoever stood still meanwhile.
    stoodStillMs([by], world, sentAt - times.loadTimeoutMs, receivedAt) > times.attemptMs / 2
  if (!troubled) findings.push(`it answers ${answer.code}, and there was no trouble: ${answer.message}`)
  return findings
}

/** Why a list young enough for the caller was there for certain; undefined where it need not have been. */
function certainlyHeld(answer: Answered, user: UserRecord, world: WorldRecord, times: Times): string | undefined {
  const { by, sentAt, receivedAt } = answer
  const oldestMs = Math.min(answer.maxAgeMs ?? Number.POSITIVE_INFINITY, times.staleMs)
  for (const earlier of user.answers) {
    const { fetchedAt = 0 } = earlier
    if (earlier.status !== 200 || earlier.receivedAt > sentAt) continue
    // One that was loaded without a lease gives way to another process's that is up to `LATELY_MS` older.
    if (receivedAt - fetchedAt >= oldestMs - LATELY_MS - GRACE_MS) continue
    const begunAt = fetchedAt - LATELY_MS - times.loadTimeoutMs
    if (user.refusals.some(({ at, token }) => token && at >= begunAt)) continue
    if (user.invalidations.some((invalidation) => mayForget(invalidation, by, world, begunAt, answer))) continue
    if (earlier.by === by) return `this process answered a list of ${receivedAt - fetchedAt} ms ago before`
    // Whoever began to load before it could see Redis shares a load that knew nothing of it.
    const connectedFrom = sentAt - times.loadTimeoutMs - GRACE_MS
    if (
      earlier.source === 'redis' &&
      by.connected.some(({ from, to }) => from <= connectedFrom && to >= receivedAt) &&
      !by.frozen.some((stretch) => overlaps(stretch, connectedFrom, receivedAt)) &&
      !world.emptied.some((stretch) => overlaps(stretch, begunAt, receivedAt))
    )
      return `a list of ${receivedAt - fetchedAt} ms ago was in Redis`
  }
  return undefined
}

/** Whether an invalidation can have cost a process a list that began to be loaded at `begunAt`: it forgets what is older than the moment at which Redis learns of it. */
function mayForget(
  invalidation: Invalidation,
  life: Life,
  world: WorldRecord,
  begunAt: number,
  asking: Asking,
): boolean {
  const { by, askedAt, doneAt } = invalidation
  // What Redis could not be told is told when it is back, with the time that it is then: also to who said it.
  const wasThere = by.connected.some(({ from, to }) => from <= askedAt && to >= doneAt)
  const toldAt = wasThere ? doneAt : (by.connected.find(({ from }) => from > askedAt)?.from ?? doneAt)
  const lastSaidAt = Math.min(
    Math.max(doneAt, toldAt, knownSince(invalidation, life, world, asking)),
    by.endedAt + GRACE_MS,
  )
  return lastSaidAt >= begunAt
}

/** Nobody waits longer than a load may take; and where something is held, hardly longer than their patience. Who stands still cannot help it. */
function judgeWait(answer: Answered, user: UserRecord, world: WorldRecord, times: Times): Finding[] {
  const { by, sentAt, receivedAt, status } = answer
  if (status === 0 || receivedAt - sentAt <= times.patienceMs + SLACK_MS) return []
  const tookMs = receivedAt - sentAt - stoodStillMs([by], world, sentAt, receivedAt)
  const held = tookMs > times.patienceMs + SLACK_MS ? certainlyHeld(answer, user, world, times) : undefined
  const allowedMs = (held ? times.patienceMs : times.loadTimeoutMs) + SLACK_MS
  return tookMs > allowedMs ? [`it took ${tookMs} ms, and ${allowedMs} are allowed${held ? `, as ${held}` : ''}`] : []
}

/** How much of a stretch of time processes, or whoever asks them, stood still: frozen on purpose, or without a processor. */
export function stoodStillMs(lives: readonly Life[], world: WorldRecord, start: number, end: number): number {
  const stretches = [
    ...within(world.late ?? [], start, end),
    ...lives.flatMap(({ frozen, late = [] }) => [...within(frozen, start, end), ...within(late, start, end)]),
  ]
  if (stretches.length === 0) return 0
  let sum = 0
  let counted = start
  for (const { from, to } of stretches.sort((a, b) => a.from - b.from)) {
    sum += Math.max(0, Math.min(to, end) - Math.max(from, counted))
    counted = Math.max(counted, Math.min(to, end))
  }
  return sum
}

/** The stretches of an ordered list that touch a stretch of time. There are thousands in a list, and it is asked as often. */
function within(list: readonly Stretch[], start: number, end: number): readonly Stretch[] {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (list[middle]!.to > start) high = middle
    else low = middle + 1
  }
  let last = low
  while (last < list.length && list[last]!.from < end) last++
  return list.slice(low, last)
}

function overlaps({ from, to }: Stretch, start: number, end: number): boolean {
  return from <= end && to >= start
}
