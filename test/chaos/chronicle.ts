import type { Call, Simulator } from 'holdfast/simulator'
import { GUILDS } from '../journeys/world.ts'
import { type Answered, type Fetch, type Invalidation, listOf, type Refusal, type UserRecord } from './rules.ts'

/** Nothing that is older can matter to an answer of now; a back-off can. */
const KEPT_MS = 60_000
const REFUSALS_KEPT_MS = 300_000
/** The longest wait that the plan lets Discord ask for, rounded up as the header is. */
const LONGEST_WAIT_MS = 2_000

/** One simulated user as the chaos sees them, with everything that happened to them. */
export class Subject implements UserRecord {
  readonly id: string
  accessToken: string
  readonly lists = new Set<string>()
  fetches: Fetch[] = []
  refusals: Refusal[] = []
  invalidations: Invalidation[] = []
  answers: Answered[] = []
  readonly revoked = new Map<string, number>()
  /** What Discord would show now. */
  list: string
  /** The guild that tells this version of the list from all others. */
  marker: string | undefined
  versions = 0

  constructor(id: string, accessToken: string, guildIds: Iterable<string>) {
    this.id = id
    this.accessToken = accessToken
    this.list = listOf(guildIds)
    this.lists.add(this.list)
  }
}

/** Writes down what Discord did to whom, from the simulator's ledger, and what its world looked like at each call. */
export class Chronicle {
  readonly #discord: Simulator
  readonly subjects: readonly Subject[]
  readonly #byId: ReadonlyMap<string, Subject>
  readonly bans: Refusal[] = []
  readonly counts = { calls: 0, given: 0, rateLimited: 0, failed: 0 }
  #read = 0

  constructor(discord: Simulator) {
    this.#discord = discord
    this.subjects = discord.users.map(
      ({ id, accessToken, guilds }) =>
        new Subject(
          id,
          accessToken,
          guilds.map((guild) => guild.id),
        ),
    )
    this.#byId = new Map(this.subjects.map((subject) => [subject.id, subject]))
  }

  /** How many calls Discord has answered so far. */
  get calls(): number {
    return this.#discord.calls.length
  }

  /** Reads what is new in the ledger. Every list that was given until now is the one that is current now. */
  sync(): void {
    const { calls } = this.#discord
    for (; this.#read < calls.length; this.#read++) this.#take(calls[this.#read]!, this.#read)
  }

  /** Gives a user another list, which nobody ever had. */
  change(subject: Subject): void {
    this.sync()
    const marker = `9${String(this.subjects.indexOf(subject)).padStart(6, '0')}${String(++subject.versions).padStart(8, '0')}`
    if (subject.marker !== undefined) this.#discord.leaveGuild(subject.id, subject.marker)
    this.#discord.joinGuild(subject.id, { id: marker, name: `Version ${subject.versions}` })
    subject.marker = marker
    subject.list = listOf(this.#discord.users.find(({ id }) => id === subject.id)!.guilds.map(({ id }) => id))
    subject.lists.add(subject.list)
  }

  revoke(subject: Subject): void {
    this.sync()
    subject.revoked.set(subject.accessToken, Date.now())
    this.#discord.revoke(subject.id)
  }

  signIn(subject: Subject): void {
    subject.accessToken = this.#discord.issueToken(subject.id)
  }

  /** Forgets what cannot matter any more. */
  forget(now: number): void {
    const recent = <T>(list: T[], timeOf: (one: T) => number, keptMs: number) =>
      list.length > 0 && timeOf(list[0]!) < now - keptMs ? list.filter((one) => timeOf(one) >= now - keptMs) : list
    for (const subject of this.subjects) {
      subject.fetches = recent(subject.fetches, ({ at }) => at, KEPT_MS)
      subject.invalidations = recent(subject.invalidations, ({ askedAt }) => askedAt, KEPT_MS)
      subject.answers = recent(subject.answers, ({ receivedAt }) => receivedAt, KEPT_MS / 4)
      subject.refusals = recent(subject.refusals, ({ at }) => at, REFUSALS_KEPT_MS)
    }
  }

  #take(call: Call, index: number): void {
    this.counts.calls++
    const subject = this.#byId.get(call.userId ?? '')
    if (!subject || call.route !== GUILDS) return
    if (call.status === 200 && call.fault !== 'truncate' && call.fault !== 'malformed') {
      this.counts.given++
      subject.fetches.push({ index, at: call.at, list: subject.list })
      return
    }
    const isLimit = call.status === 429
    this.counts[isLimit ? 'rateLimited' : 'failed']++
    const refusal = {
      at: call.at,
      waitMs: isLimit || call.fault === 'block-page' ? LONGEST_WAIT_MS : 0,
      token: call.status === 401,
    }
    subject.refusals.push(refusal)
    if (call.fault === 'ban' || call.fault === 'block-page') this.bans.push(refusal)
  }
}
