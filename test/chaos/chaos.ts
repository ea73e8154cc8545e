// Four processes, one Redis and one Discord; everything that can go wrong does, as the seed says; and every single answer
// is held against the rules.
import { setTimeout as sleep } from 'node:timers/promises'
import { startSimulator } from 'holdfast/simulator'
import { createRandom } from '../../src/simulator/world/random.ts'
import { type Fleet, type Member, openFleet, type Reply, SECRET, until } from '../journeys/fleet.ts'
import { type Standstill, watchLateness } from '../journeys/lateness.ts'
import { Chronicle, type Subject } from './chronicle.ts'
import { planChaos, type Step, type StepKind } from './plan.ts'
import { openStage, type RedisStep, type StageKind } from './redis-stage.ts'
import { type Answered, judge, listOf, stoodStillMs, type Times, type WorldRecord } from './rules.ts'

const PROCESSES = 4
const USERS = 40
const VISITORS = 14

/** Minutes become seconds: every age is met within a run. */
const TIMES: Times = { freshMs: 1_500, staleMs: 8_000, patienceMs: 300, attemptMs: 1_000, loadTimeoutMs: 3_000 }
const OPTIONS = {
  cache: {
    freshMs: TIMES.freshMs,
    staleMs: TIMES.staleMs,
    patienceMs: TIMES.patienceMs,
    loadTimeoutMs: TIMES.loadTimeoutMs,
  },
  discord: { timeoutMs: TIMES.attemptMs, maxRetries: 1, retryDelayMs: 200, maxWaitMs: 1_500 },
}
/** What the processes say over IPC has arrived by then. */
const JUDGED_AFTER_MS = 2_500
/** Everybody has found Redis again by then: the longest pause between two attempts, and two of them. */
const SETTLE_MS = 6_000
/** And where it has no processor, within this. */
const FOUND_MS = 30_000
const HEAP_BYTES = 64 * 1024 * 1024

/** One thing that the rules do not allow, with what led to it. */
export interface Violation {
  readonly at: number
  readonly what: string
  readonly trace: readonly string[]
}

/** How a run stands; changes while it lasts. */
export interface Standing {
  readonly seed: number
  readonly lengthMs: number
  elapsedMs: number
  stage: string
  readonly steps: Partial<Record<StepKind, number>>
  requests: number
  readonly answers: Record<string, number>
  slowestMs: number
  judged: number
  heapBytes: number
  /** How long the processes together, and whoever asks them, had no processor. */
  lateMs: { fleet: number; asking: number }
  readonly discord: Chronicle['counts']
  readonly violations: Violation[]
}

export interface ChaosOptions {
  readonly seed: number
  readonly seconds: number
  /** The Redis of the fleet. Default: one server without TLS. */
  readonly on?: StageKind
  readonly onStanding?: (standing: Standing) => void
}

/** How many violations are traced; more say nothing new. */
const TRACED = 20
/** What led to it is not older. */
const TRACED_MS = 12_000

export async function runChaos({ seed, seconds, on = 'tcp', onStanding }: ChaosOptions): Promise<Standing> {
  const lengthMs = seconds * 1_000
  const plan = planChaos({ seed, lengthMs, processes: PROCESSES, users: USERS, cluster: on === 'cluster' })
  await using discord = await startSimulator({
    seed,
    users: USERS,
    guildsPerUser: 5,
    latencyMs: [2, 40],
    userGuildsLimit: { limit: 5, windowMs: 1_000, kind: 'leaky' },
    invalidLimit: { count: Number.POSITIVE_INFINITY, windowMs: 600_000 },
    maxCalls: 10_000_000,
  })
  await using stage = await openStage(on)
  const fleet = await openFleet({
    discord,
    processes: PROCESSES,
    options: { ...OPTIONS, redis: stage.options },
    env: { HOLDFAST_SECRET: SECRET, FLEET_TELLS_LATENESS: 'yes' },
  })
  const late: Standstill[] = []
  const punctual = watchLateness((standstill) => late.push(standstill))
  const chronicle = new Chronicle(discord)
  const { subjects } = chronicle
  const world = { lives: fleet.past, ...stage.troubles, bans: chronicle.bans, late }
  const began = Date.now()
  const trace: Array<{ at: number; text: string; subject: Subject | undefined }> = []
  const note = (text: string, subject?: Subject) => trace.push({ at: Date.now(), text, subject })
  const standing: Standing = {
    seed,
    lengthMs: lengthMs + SETTLE_MS,
    elapsedMs: 0,
    stage: 'chaos',
    steps: {},
    requests: 0,
    answers: {},
    slowestMs: 0,
    judged: 0,
    heapBytes: 0,
    lateMs: { fleet: 0, asking: 0 },
    discord: chronicle.counts,
    violations: [],
  }
  const violated = (what: string, at = Date.now(), subject?: Subject, details: readonly string[] = []) => {
    if (standing.violations.length >= TRACED) return
    const around = trace.filter(
      (entry) => entry.at > at - TRACED_MS && entry.at <= at + 200 && (!entry.subject || entry.subject === subject),
    )
    standing.violations.push({
      at: at - began,
      what,
      trace: [...around.map((entry) => `${entry.at - began} ms  ${entry.text}`), ...details],
    })
  }

  // What was answered, judged once everything that bears on it is known.
  let unjudged: Array<{ answer: Answered; subject: Subject; member: Member }> = []
  const judgeUntil = (until: number) => {
    chronicle.sync()
    const ready = unjudged.filter(({ answer }) => answer.receivedAt <= until)
    unjudged = unjudged.filter(({ answer }) => answer.receivedAt > until)
    for (const { answer, subject, member } of ready) {
      standing.judged++
      for (const finding of judge(answer, subject, world, TIMES))
        violated(
          `process ${member.name}, asked at ${answer.sentAt - began} ms, answered at ${answer.receivedAt - began} ms (${answer.status}, ${answer.source ?? answer.code}): ${finding}`,
          answer.receivedAt,
          subject,
          describe(answer, subject, member, world, began),
        )
    }
  }
  const received = (reply: Reply, subject: Subject, member: Member, accessToken: string, maxAgeMs?: number) => {
    const { guildIds, userId, ...rest } = reply
    const answer: Answered = {
      ...(rest as Omit<Reply, 'guildIds' | 'userId' | 'retryAfterMs' | 'reason'>),
      by: member,
      userId: subject.id,
      accessToken,
      ...(userId !== undefined && { answeredFor: userId }),
      ...(guildIds && { list: listOf(guildIds) }),
      ...(maxAgeMs !== undefined && { maxAgeMs }),
    }
    const kind = reply.status === 200 ? `${reply.source}${reply.stale ? ', stale' : ''}` : (reply.code ?? 'broken off')
    standing.answers[kind] = (standing.answers[kind] ?? 0) + 1
    if (!member.frozen.some(({ from, to }) => from <= reply.receivedAt && to >= reply.sentAt))
      standing.slowestMs = Math.max(standing.slowestMs, reply.receivedAt - reply.sentAt)
    unjudged.push({ answer, subject, member })
    subject.answers.push(answer)
  }

  let over = false
  const visitor = async (nth: number) => {
    const random = createRandom(seed, `visitor ${nth}`)
    while (!over) {
      await sleep(5 + random.next() * 40)
      const member = fleet.members[random.below(PROCESSES)]
      if (!member?.isServing) continue
      const subject = subjects[Math.floor(random.next() ** 2 * USERS)]!
      const { accessToken } = subject
      const maxAgeMs = random.next() < 0.1 ? random.pick([500, 3_000]) : undefined
      standing.requests++
      const reply = await member.visit({ id: subject.id, accessToken }, maxAgeMs === undefined ? {} : { maxAgeMs })
      received(reply, subject, member, accessToken, maxAgeMs)
    }
  }

  const invalidate = async (subject: Subject, slot: number) => {
    const member = fleet.members[slot]?.isServing ? fleet.members[slot] : fleet.next()
    if (!member) return
    const invalidation = { by: member, askedAt: Date.now(), index: chronicle.calls, doneAt: Number.POSITIVE_INFINITY }
    subject.invalidations.push(invalidation)
    note(`user ${subjects.indexOf(subject)} is forgotten by process ${member.name}`, subject)
    await member.invalidate(subject.id).then(
      () => {
        invalidation.doneAt = Date.now()
      },
      () => {},
    )
  }

  /** Whoever is being frozen, killed or restarted is left alone until that is over. */
  const busy = new Set<string>()
  const alone = async (name: string, work: () => Promise<void>) => {
    if (busy.has(name)) return
    busy.add(name)
    try {
      await work()
    } finally {
      busy.delete(name)
    }
  }
  const perform = async (step: Step): Promise<void> => {
    standing.steps[step.kind] = (standing.steps[step.kind] ?? 0) + 1
    if (isOfRedis(step)) return alone('redis', () => stage.perform(step, note))
    switch (step.kind) {
      case 'everybody comes at once': {
        const member = fleet.members[step.slot]
        if (!member?.isServing) return
        note(`everybody asks process ${member.name} at once`)
        await Promise.all(
          subjects.map(async (subject) => {
            const { accessToken } = subject
            standing.requests++
            received(await member.visit({ id: subject.id, accessToken }, {}), subject, member, accessToken)
          }),
        )
        return
      }
      case 'process freezes':
        return alone(`slot ${step.slot}`, async () => {
          const member = fleet.members[step.slot]
          if (!member) return
          note(`process ${member.name} freezes`)
          member.freeze()
          await sleep(step.forMs)
          member.thaw()
          note(`process ${member.name} thaws`)
        })
      case 'process is killed':
        return alone(`slot ${step.slot}`, async () => {
          const member = fleet.members[step.slot]
          if (!member) return
          note(`process ${member.name} is killed`)
          await member.kill()
          await sleep(step.forMs)
          note(`process ${(await fleet.start(step.slot)).name} listens`)
        })
      case 'process restarts':
        return alone(`slot ${step.slot}`, async () => {
          if (!fleet.members[step.slot]) return
          note(`process ${fleet.members[step.slot]!.name} restarts`)
          note(`process ${(await fleet.restart(step.slot)).name} listens`)
        })
      case 'discord fails': {
        const { fault, forMs, probability, user, waitMs } = step
        note(
          `Discord: ${fault} for ${forMs} ms, ${Math.round(probability * 100)} %, ${user === undefined ? 'everybody' : `user ${user}`}`,
        )
        discord.fault(fault, {
          forMs,
          probability,
          ...(user !== undefined && { userId: subjects[user]!.id }),
          ...((fault === 'rate-limit' || fault === 'ban' || fault === 'block-page') && { retryAfterMs: waitMs }),
          ...(fault === 'slow' && { ms: waitMs }),
        })
        return
      }
      case 'guilds change':
        chronicle.change(subjects[step.user]!)
        note(`user ${step.user} has list ${subjects[step.user]!.versions}`, subjects[step.user])
        if (step.invalidate !== undefined) await invalidate(subjects[step.user]!, step.invalidate)
        return
      case 'user is forgotten':
        return invalidate(subjects[step.user]!, step.invalidate)
      case 'token is revoked': {
        const subject = subjects[step.user]!
        note(`user ${step.user}: token revoked`, subject)
        chronicle.revoke(subject)
        await sleep(step.forMs)
        chronicle.signIn(subject)
        note(`user ${step.user}: signed in again`, subject)
        return
      }
    }
  }

  const judging = setInterval(() => {
    const now = Date.now()
    standing.elapsedMs = now - began
    judgeUntil(now - JUDGED_AFTER_MS)
    chronicle.forget(now)
    for (const member of fleet.past)
      if (
        member.exit &&
        member.exit.signal !== 'SIGKILL' &&
        member.exit.code !== 0 &&
        !busy.has(`died ${member.name}`)
      ) {
        busy.add(`died ${member.name}`)
        violated(`process ${member.name} ended with ${member.exit.code}: ${member.printed}`)
      }
    onStanding?.(standing)
  }, 250)
  try {
    const visitors = Array.from({ length: VISITORS }, (_, nth) => visitor(nth))
    const steps: Array<Promise<void>> = []
    for (const step of plan) {
      await sleep(Math.max(0, began + step.at - Date.now()))
      steps.push(perform(step).catch((error) => violated(`step ${step.kind}: ${error}`)))
    }
    await Promise.all(steps)
    standing.stage = 'calm'
    note('calm')
    await sleep(SETTLE_MS)
    over = true
    await Promise.all(visitors)
    judgeUntil(Number.POSITIVE_INFINITY)
    standing.stage = 'end'
    await checkEnd({ fleet, chronicle, world, standing, violated })
  } catch (error) {
    violated(`the run itself: ${(error as Error).stack}`)
  } finally {
    clearInterval(judging)
    punctual()
    stage.thaw()
    await fleet[Symbol.asyncDispose]().catch((error) => violated(String(error)))
    standing.elapsedMs = Date.now() - began
    const lateMs = (list: readonly Standstill[]) => list.reduce((sum, { from, to }) => sum + to - from, 0)
    standing.lateMs = { fleet: fleet.past.reduce((sum, member) => sum + lateMs(member.late), 0), asking: lateMs(late) }
    standing.stage = 'over'
    onStanding?.(standing)
  }
  return standing
}

const isOfRedis = (step: Step): step is Step & RedisStep => step.kind.startsWith('redis ')

/** When all is calm again: everybody is connected, every answer is right, and nothing has piled up. */
async function checkEnd({
  fleet,
  chronicle,
  world,
  standing,
  violated,
}: {
  readonly fleet: Fleet
  readonly world: WorldRecord
  readonly chronicle: Chronicle
  readonly standing: Standing
  readonly violated: (what: string) => void
}): Promise<void> {
  // Whoever did not start again was told of.
  const members = fleet.members.filter(Boolean)
  for (const member of members)
    await until(async () => (await member.stats()).redis === 'up', FOUND_MS, `process ${member.name} finds Redis again`)
  for (const subject of chronicle.subjects) {
    chronicle.change(subject)
    await fleet.next()!.invalidate(subject.id)
  }
  await sleep(1_000)
  for (const subject of chronicle.subjects)
    for (const [nth, reply] of (await Promise.all(members.map((member) => member.visit(subject)))).entries()) {
      const stoodStill = stoodStillMs([members[nth]!], world, reply.sentAt - TIMES.attemptMs, reply.receivedAt)
      // An attempt at Discord is given up when its time is over, whoever had no processor meanwhile.
      if (reply.status !== 200 && stoodStill > TIMES.attemptMs / 2) continue
      if (reply.status !== 200) violated(`at the end, user ${subject.id} is answered ${reply.status}: ${reply.message}`)
      else if (listOf(reply.guildIds ?? []) !== subject.list) violated('at the end, an old list is answered')
    }
  for (const member of members) {
    const { heapBytes } = await member.stats()
    standing.heapBytes = Math.max(standing.heapBytes, heapBytes)
    if (heapBytes > HEAP_BYTES) violated(`process ${member.name} holds ${Math.round(heapBytes / 2 ** 20)} MB`)
  }
}

/** What bears on an answer, for whoever wants to know why it is wrong. */
function describe(answer: Answered, subject: Subject, member: Member, world: WorldRecord, began: number): string[] {
  const ago = (at: number) => (Number.isFinite(at) ? `${at - began}` : 'still')
  const stretches = (list: ReadonlyArray<{ from: number; to: number }>) =>
    list
      .slice(-6)
      .map(({ from, to }) => `${ago(from)}–${ago(to)}`)
      .join(', ') || 'never'
  const version = (list: string | undefined) =>
    /\b9\d{14}\b/
      .exec(list ?? '')?.[0]
      .slice(-8)
      .replace(/^0+/, '') ?? '0'
  const stillMs = (...members: Member[]) =>
    stoodStillMs(members, members.length > 0 ? { ...world, late: [] } : world, answer.sentAt - 1_000, answer.receivedAt)
  return [
    `answered: list ${version(answer.list)}, fetched at ${ago(answer.fetchedAt ?? Number.NaN)}, ${answer.stale ? 'stale' : 'fresh'}, from ${answer.source}`,
    `Discord gave: ${subject.fetches
      .slice(-8)
      .map(({ at, list, index }) => `list ${version(list)} at ${ago(at)} (#${index})`)
      .join(', ')}`,
    `Discord refused: ${subject.refusals
      .slice(-8)
      .map(({ at }) => ago(at))
      .join(', ')}`,
    `invalidations: ${subject.invalidations
      .slice(-8)
      .map(({ by, askedAt, doneAt, index }) => `${by.name} ${ago(askedAt)}–${ago(doneAt)} (#${index})`)
      .join(', ')}`,
    `process ${member.name}: since ${ago(member.startedAt)}, connected ${stretches(member.connected)}, frozen ${stretches(member.frozen)}`,
    `in the second before and while it was asked: process ${member.name} stood still for ${stillMs(member)} ms, whoever asked for ${stillMs()} ms`,
  ]
}
