import { RecentlyUsed } from '../collections/recently-used.ts'
import { HoldfastError } from '../errors/errors.ts'
import type { AppliedLimit } from '../guard/applied-limit.ts'
import type { Attempt, CallerKind, Costs, Count, CounterStore, Taken } from '../guard/counters.ts'
import { type Names, uniqueToken } from '../secrets/key-ring.ts'
import { atTurnsEnd, type Clock, type Milliseconds } from '../time/clock.ts'
import { type Month, monthOf } from '../time/month.ts'
import type { RedisConnection } from './connection.ts'
import { FORGET, LOOK, UNDO } from './give-back-scripts.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'
import { translate, unavailable } from './redis-error.ts'
import type { Script } from './script.ts'
import { answerLength, costsPoints, takeScript } from './take-script.ts'
import { countInRedis, TakenInRedis } from './taken-in-redis.ts'

/** A decision is never later than this, whatever Redis does. */
const LONGEST_TAKE_MS: Milliseconds = 100
/** Undoings that wait for Redis to be back; of more, the oldest are forgotten, and their requests stay counted. */
const MOST_OWED = 1_000
/** Keys of callers that came lately: naming one costs as much as all else that is done here for a request. */
const KEYS_REMEMBERED = 10_000
/** Requests of one script call: Redis answers nobody else while it runs. */
const MOST_TOGETHER = 64

/** A request that waits for the end of its turn, to be asked about with the others. */
interface Waiting {
  readonly name: string
  readonly key: string
  readonly mayRefuse: boolean
  readonly costs: Costs
  readonly resolve: (taken: Taken) => void
  readonly reject: (error: unknown) => void
}

/**
 * Counts in Redis, for all processes: every limit of a request in one script, in one slot, by Redis's own clock, and all
 * requests of one turn of the event loop in one call (in a Cluster one call each, because a script has one slot). A take
 * whose answer does not come may have been counted, or may be counted later: undoing it is written down and done as soon
 * as Redis answers again, and holds in either order.
 */
export class GuardCounters implements CounterStore {
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #timeoutMs: Milliseconds
  readonly #clock: Clock
  readonly #ownName = uniqueToken()
  #named = 0
  #names: Names | undefined
  readonly #keys = new RecentlyUsed<string, string>(KEYS_REMEMBERED)
  #month: Month = { start: 0, end: 0 }
  #scripts = new WeakMap<readonly AppliedLimit[], Script>()
  /** By the limits of a rule: its script is one call. */
  #waiting = new Map<readonly AppliedLimit[], Waiting[]>()
  readonly #owed = new Map<string, { readonly key: string; readonly fields: readonly (string | number)[] }>()

  constructor(connection: RedisConnection, naming: Naming, clock: Clock, longestTakeMs = LONGEST_TAKE_MS) {
    this.#connection = connection
    this.#clock = clock
    this.#naming = naming
    this.#timeoutMs = Math.min(connection.readTimeoutMs, longestTakeMs)
  }

  attempt(kind: CallerKind, id: string, limits: readonly AppliedLimit[], mayRefuse: boolean, costs?: Costs): Attempt {
    const name = this.#nextName()
    let key: string | undefined
    const take = (): Promise<Taken> => {
      key = this.#keyOf(kind, id)
      const at = key
      return new Promise((resolve, reject) => {
        this.#wait(limits, { name, key: at, mayRefuse, costs, resolve, reject })
      })
    }
    return {
      // Names are there once Redis was reached.
      taken: this.#connection.isUp ? take() : this.#connection.reach(this.#timeoutMs).then(take),
      undo: () => {
        if (key === undefined) return
        const fields = limits.flatMap(({ counter }, index) => [counter, costs?.[index] ?? 1])
        this.#owed.set(name, { key, fields })
        if (this.#owed.size > MOST_OWED) this.#owed.delete(this.#owed.keys().next().value!)
        if (this.#connection.isUp) this.#payBack()
      },
    }
  }

  async look(kind: CallerKind, id: string, limits: readonly AppliedLimit[]): Promise<readonly Count[]> {
    if (!this.#connection.isUp) await this.#connection.reach(this.#timeoutMs)
    const fields = limits.map(({ counter }) => counter)
    const answer = (await this.#connection.run(LOOK, [this.#keyOf(kind, id)], fields, this.#timeoutMs)) as number[]
    return limits.map((limit, index) => {
      const [used, start, before] = answer.slice(1 + 3 * index) as [number, number, number]
      return countInRedis(limit, { now: answer[0]!, used, start, before, cost: 1, refuses: 0 })
    })
  }

  async forget(kind: CallerKind, id: string): Promise<void> {
    if (!this.#connection.isUp) await this.#connection.reach(this.#timeoutMs)
    await this.#connection.run(FORGET, [this.#keyOf(kind, id)], [], this.#timeoutMs)
  }

  #wait(limits: readonly AppliedLimit[], waiting: Waiting): void {
    if (this.#waiting.size === 0) atTurnsEnd(() => this.#ask())
    const others = this.#waiting.get(limits)
    if (others) others.push(waiting)
    else this.#waiting.set(limits, [waiting])
  }

  #ask(): void {
    const asked = this.#waiting
    this.#waiting = new Map()
    const most = this.#connection.isCluster ? 1 : MOST_TOGETHER
    for (const [limits, all] of asked)
      for (let from = 0; from < all.length; from += most)
        this.#askTogether(limits, from === 0 && all.length <= most ? all : all.slice(from, from + most))
  }

  #askTogether(limits: readonly AppliedLimit[], together: readonly Waiting[]): void {
    const withCosts = costsPoints(limits)
    const args: Array<string | number> = []
    for (const { name, mayRefuse, costs } of together) {
      args.push(name, mayRefuse ? '1' : '0')
      if (withCosts) for (let index = 0; index < limits.length; index++) args.push(costs?.[index] ?? 1)
    }
    const keys = together.map(({ key }) => key)
    const refuseAll = (error: unknown) => {
      for (const { reject } of together) reject(error)
    }
    let answer: Promise<unknown>
    try {
      answer = this.#connection.run(this.#scriptOf(limits), keys, args, this.#timeoutMs)
    } catch (error) {
      return refuseAll(error)
    }
    answer.then((reply) => {
      if (this.#owed.size > 0) this.#payBack()
      this.#hand(limits, together, reply as Array<number | string>)
    }, refuseAll)
  }

  /** Gives each request its part of an answer. */
  #hand(limits: readonly AppliedLimit[], together: readonly Waiting[], answer: ReadonlyArray<number | string>): void {
    const [now] = answer as [number]
    let at = 1
    for (const { key, costs, resolve, reject } of together) {
      const outcome = answer[at]
      if (outcome === -1) {
        const why = String(answer[at + 1])
        reject(why === 'undone' ? unavailable(why) : translate(new Error(why), 'guard-take'))
        at += 2
        continue
      }
      const admitted = outcome === 1
      const began = at + 1
      at = began
      for (const limit of limits) at += answerLength(limit, admitted)
      const numbers = answer.slice(began, at) as number[]
      resolve(new TakenInRedis({ connection: this.#connection, key, limits, costs, admitted, now, numbers }))
    }
  }

  /** Always of one length, so that no name begins with another. */
  #nextName(): string {
    this.#named++
    return `${this.#ownName}${this.#named.toString(36).padStart(8, '0')}`
  }

  #keyOf(kind: CallerKind, id: string): string {
    const { names } = this.#naming
    if (names !== this.#names) {
      // Another key names them from now on.
      this.#names = names
      this.#keys.clear()
    }
    const caller = `${kind} ${id}`
    let key = this.#keys.get(caller)
    if (key === undefined) {
      key = this.#connection.prefix + REDIS_KEYS.guardCounts[0].replace('<caller>', names.of(`guard ${kind}`, id))
      this.#keys.set(caller, key)
    }
    return key
  }

  /** The script of a rule's limits: written once, and again when a month begins. */
  #scriptOf(limits: readonly AppliedLimit[]): Script {
    const now = this.#clock.now()
    if (now < this.#month.start || now >= this.#month.end) {
      this.#month = monthOf(now)
      this.#scripts = new WeakMap()
    }
    let script = this.#scripts.get(limits)
    if (!script) {
      script = takeScript(limits, this.#month)
      this.#scripts.set(limits, script)
    }
    return script
  }

  #payBack(): void {
    for (const [name, { key, fields }] of this.#owed) {
      this.#owed.delete(name)
      this.#connection.run(UNDO, [key], [name, ...fields]).catch((error: unknown) => {
        // Undone twice is undone once, so it can be tried again whether or not it was done.
        if (error instanceof HoldfastError && error.code === 'REDIS_UNAVAILABLE') this.#owed.set(name, { key, fields })
      })
    }
  }
}
