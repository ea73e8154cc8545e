// Starts processes that run `fleet-worker.ts`, sends them traffic over connections that are kept, and kills, freezes and
// restarts them.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { HoldfastOptions, HoldfastStats } from 'holdfast'
import type { Simulator } from 'holdfast/simulator'
import type { Said } from './fleet-worker.ts'
import type { Standstill } from './lateness.ts'

const WORKER = fileURLToPath(new URL('fleet-worker.ts', import.meta.url))
export const SECRET = 'a secret of the fleet, long enough to be one'
/** A process that takes longer to begin or to end has failed to; on a machine with eight tests a processor, beginning takes 15 s. */
const START_MS = 60_000
const EXIT_MS = 20_000

/** A stretch of time on the wall clock; `to` is Infinity while it lasts. */
export interface Stretch {
  readonly from: number
  to: number
}

/** What a process answered to somebody who asked for their guilds. Status 0: it did not answer. */
export interface Reply {
  readonly status: number
  readonly sentAt: number
  readonly receivedAt: number
  readonly code?: string
  readonly message?: string
  readonly retryAfterMs?: number | null
  readonly userId?: string
  readonly guildIds?: readonly string[]
  readonly stale?: boolean
  readonly source?: string
  readonly reason?: string
  readonly fetchedAt?: number
}

export interface Signed {
  readonly id: string
  readonly accessToken: string
}

/** One life of one process. */
export class Member {
  readonly slot: number
  readonly life: number
  readonly #child: ChildProcess
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 })
  readonly startedAt = Date.now()
  listeningAt = Number.POSITIVE_INFINITY
  endedAt = Number.POSITIVE_INFINITY
  readonly frozen: Stretch[] = []
  /** When its event loop stood still, in order; told some hundred milliseconds later, where FLEET_TELLS_LATENESS asks for it. */
  readonly late: Standstill[] = []
  /** When it was connected to Redis, as it says itself. */
  readonly connected: Stretch[] = []
  /** Whether Redis was there when it began to listen. */
  redisAtStart: 'none' | 'up' | 'away' = 'none'
  /** Requests under way. */
  pending = 0
  #port = 0
  #printed = ''
  exit: { readonly code: number | null; readonly signal: string | null } | undefined

  constructor(slot: number, life: number, env: Readonly<Record<string, string>>) {
    this.slot = slot
    this.life = life
    this.#child = spawn(process.execPath, ['--expose-gc', WORKER], {
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk) => {
        this.#printed += chunk
      })
    this.#child.on('message', (said: Said) => this.#hear(said))
    this.#child.once('exit', (code, signal) => {
      this.exit = { code, signal }
      this.endedAt = Date.now()
      for (const stretch of [...this.connected, ...this.frozen]) stretch.to = Math.min(stretch.to, this.endedAt)
      this.#agent.destroy()
    })
    alive.add(this.#child)
    this.#child.once('exit', () => alive.delete(this.#child))
  }

  get name(): string {
    return `${this.slot}.${this.life}`
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Everything it has printed: nothing, if all is well. */
  get printed(): string {
    return this.#printed
  }

  get isFrozen(): boolean {
    return this.frozen.at(-1)?.to === Number.POSITIVE_INFINITY
  }

  /** Whether it listens, and can answer. */
  get isServing(): boolean {
    return this.#port !== 0 && this.exit === undefined && !this.isFrozen
  }

  async untilListening(): Promise<this> {
    const deadline = Date.now() + START_MS
    while (this.#port === 0) {
      if (this.exit || Date.now() > deadline) throw new Error(`process ${this.name} did not start: ${this.#printed}`)
      await sleep(5)
    }
    return this
  }

  /** Asks for the guilds of a user. Never rejects: whatever kept it from answering is status 0. */
  async visit(user: Signed, options: { maxAgeMs?: number; brief?: boolean } = {}): Promise<Reply> {
    const query = new URLSearchParams()
    if (options.maxAgeMs !== undefined) query.set('maxAgeMs', String(options.maxAgeMs))
    if (options.brief) query.set('brief', '')
    const sentAt = Date.now()
    try {
      const { status, body } = await this.ask(`/guilds?${query}`, `Bearer ${user.id} ${user.accessToken}`)
      return { status, sentAt, receivedAt: Date.now(), ...(body as object) }
    } catch (error) {
      return { status: 0, sentAt, receivedAt: Date.now(), message: String(error) }
    }
  }

  async invalidate(userId: string): Promise<void> {
    const { status } = await this.ask(`/invalidate?user=${userId}`)
    if (status !== 200) throw new Error(`invalidating answered ${status}`)
  }

  async stats(): Promise<HoldfastStats & { heapBytes: number; rssBytes: number }> {
    return (await this.ask('/stats')).body as HoldfastStats & { heapBytes: number; rssBytes: number }
  }

  ask(path: string, authorization = ''): Promise<{ status: number; body: unknown }> {
    this.pending++
    return new Promise<{ status: number; body: unknown }>((resolve, reject) => {
      const asked = request(
        { host: '127.0.0.1', port: this.#port, path, agent: this.#agent, headers: { authorization } },
        (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (chunk) => {
            text += chunk
          })
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
          response.on('error', reject)
          response.on('close', () => reject(new Error('the answer broke off')))
        },
      )
      asked.on('error', reject)
      asked.end()
    }).finally(() => {
      this.pending--
    })
  }

  /** SIGSTOP: its connections stay open, and it does nothing. */
  freeze(): void {
    if (this.isFrozen || this.exit) return
    this.#child.kill('SIGSTOP')
    this.frozen.push({ from: Date.now(), to: Number.POSITIVE_INFINITY })
  }

  thaw(): void {
    if (!this.isFrozen) return
    this.#child.kill('SIGCONT')
    this.frozen.at(-1)!.to = Date.now()
  }

  /** SIGKILL, frozen or not. */
  async kill(): Promise<void> {
    if (this.exit) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  /** Lets it answer what is under way and close; then it has to end by itself. Rejects where it does not. */
  async close(): Promise<void> {
    const deadline = Date.now() + EXIT_MS
    await this.ask('/close')
    while (!this.exit && Date.now() < deadline) await sleep(5)
    if (this.exit) return
    await this.kill()
    throw new Error(`process ${this.name} did not end by itself after close()`)
  }

  #hear(said: Said): void {
    if (said.kind === 'listening') {
      this.#port = said.port
      this.listeningAt = Date.now()
      this.redisAtStart = said.redis
      return
    }
    if (said.kind === 'late') {
      this.late.push(...said.stretches)
      return
    }
    const last = this.connected.at(-1)
    const isUp = last?.to === Number.POSITIVE_INFINITY
    if (said.up && !isUp) this.connected.push({ from: said.at, to: Number.POSITIVE_INFINITY })
    else if (!said.up && isUp) last.to = said.at
  }
}

const alive = new Set<ChildProcess>()
// Whatever ends this process ends its fleets too.
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})

export interface FleetOptions {
  readonly discord: Pick<Simulator, 'url' | 'clientId'>
  /** Undefined: without Redis. */
  readonly redisUrl?: string | undefined
  /** For journeys that are not about Redis being away: how long it may take on a machine that is busy with other tests. */
  readonly patienceWithRedisMs?: number
  /** Default 4. */
  readonly processes?: number
  /** As `createHoldfast` takes them, as far as JSON can carry them. */
  readonly options?: HoldfastOptions
  readonly env?: Readonly<Record<string, string>>
}

/** Processes with one Redis, in slots that outlive them. */
export class Fleet {
  /** Who is in each slot now. */
  readonly members: Member[] = []
  /** Everybody who ever was. */
  readonly past: Member[] = []
  readonly #env: Readonly<Record<string, string>>
  #turn = 0

  constructor({ discord, redisUrl, patienceWithRedisMs, options = {}, env = {} }: FleetOptions) {
    const patient = redisUrl !== undefined && patienceWithRedisMs !== undefined
    this.#env = {
      DISCORD_API_BASE_URL: discord.url,
      DISCORD_CLIENT_ID: discord.clientId,
      ...(redisUrl && { REDIS_URL: redisUrl, HOLDFAST_SECRET: SECRET }),
      ...(patient && { FLEET_READY_MS: String(patienceWithRedisMs) }),
      FLEET_OPTIONS: JSON.stringify({
        ...options,
        ...(patient && { redis: { url: redisUrl, readTimeoutMs: patienceWithRedisMs } }),
      }),
      ...env,
    }
  }

  /** Starts a new process in a slot, and waits until it listens. */
  async start(slot: number, env: Readonly<Record<string, string>> = {}): Promise<Member> {
    const life = this.past.filter((member) => member.slot === slot).length + 1
    const member = new Member(slot, life, { ...this.#env, ...env })
    this.past.push(member)
    await member.untilListening()
    this.members[slot] = member
    return member
  }

  /** Somebody who can answer, in turn. */
  next(): Member | undefined {
    for (let tries = 0; tries < this.members.length; tries++) {
      const member = this.members[this.#turn++ % this.members.length]
      if (member?.isServing) return member
    }
    return undefined
  }

  /** As a deployment does it: out of rotation, answer what is under way, close, and a new one in its place. */
  async restart(slot: number): Promise<Member> {
    const old = this.members[slot]!
    delete this.members[slot]
    while (old.pending > 0) await sleep(2)
    await old.close()
    return this.start(slot)
  }

  /** Closes everybody; each has to end by itself, without having printed anything. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ends = await Promise.allSettled(
      this.members.filter(Boolean).map(async (member) => {
        member.thaw()
        if (!member.exit) await member.close()
      }),
    )
    await Promise.all(this.past.map((member) => member.kill()))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    const printed = this.past.map((member) => member.printed).join('')
    if (printed) throw new Error(`a process of the fleet printed:\n${printed}`)
  }
}

export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const fleet = new Fleet(options)
  await Promise.all(Array.from({ length: options.processes ?? 4 }, (_, slot) => fleet.start(slot)))
  return fleet
}

/** Repeats `look` until it is true. */
export async function until(look: () => boolean | Promise<boolean>, withinMs: number, what: string): Promise<number> {
  const began = performance.now()
  while (!(await look())) {
    if (performance.now() - began > withinMs) throw new Error(`${what}: not within ${withinMs} ms`)
    await sleep(5)
  }
  return performance.now() - began
}
