import type { KeyRing } from '../secrets/key-ring.ts'
import type { Claim, KeptSession, KeptTokens, SignInStore } from '../sign-in/sign-in-store.ts'
import type { Clock, Milliseconds } from '../time/clock.ts'
import type { RedisConnection } from './connection.ts'
import { REDIS_KEYS } from './keys.ts'
import type { Naming } from './naming.ts'
import type { Script } from './script.ts'
import { CLAIM, END, END_ALL, FIND, LEASE, OPEN, RELEASE, REPLACE, SETTLE, TOUCH } from './sign-in-scripts.ts'

export interface RedisSignInStoreOptions {
  readonly connection: RedisConnection
  readonly naming: Naming
  readonly ring: KeyRing
  readonly clock: Clock
  /** No session lasts longer. */
  readonly absoluteMs: Milliseconds
}

/**
 * Sessions in Redis, for all processes of an app that has no database. It is their only place: give Redis a policy that
 * evicts nothing (`noeviction`), and a file if sign-ins are to outlive it.
 *
 * Which user a session belongs to, and that user's sessions and tokens, are in two slots: a session counts only while
 * both know it, so whatever ends the second ends it at once.
 */
export class RedisSignInStore implements SignInStore {
  readonly #connection: RedisConnection
  readonly #naming: Naming
  readonly #ring: KeyRing
  readonly #clock: Clock
  readonly #absoluteMs: Milliseconds

  constructor(options: RedisSignInStoreOptions) {
    this.#connection = options.connection
    this.#naming = options.naming
    this.#ring = options.ring
    this.#clock = options.clock
    this.#absoluteMs = options.absoluteMs
  }

  async open(session: KeptSession, tokens: KeptTokens): Promise<void> {
    await this.#reached()
    const name = this.#sessionName(session.idHash)
    const key = this.#sessionKey(name)
    const lastsMs = Math.ceil(this.#absoluteMs)
    await this.#run(OPEN, this.#userKey(session.userId), [
      name,
      `${session.createdAt} ${session.seenAt}`,
      Buffer.from(tokens.sealed).toString('base64'),
      tokens.rowId,
      tokens.version,
      tokens.signedInAt,
      lastsMs,
      this.#clock.now() - this.#absoluteMs,
    ])
    const sealed = this.#ring.seal(session.userId, key).toString('base64')
    await this.#run(SETTLE, key, [sealed, lastsMs])
  }

  async find(idHash: string) {
    await this.#reached()
    const name = this.#sessionName(idHash)
    const key = this.#sessionKey(name)
    const [sealed] = await this.#connection.read([key])
    if (!sealed) return undefined
    const userId = this.#ring.open(Buffer.from(sealed.toString('latin1'), 'base64'), key)
    if (userId === undefined) return undefined
    const [times = '', ...rest] = await this.#fields(userId, name)
    const [createdAt, seenAt] = times.split(' ').map(Number)
    if (createdAt === undefined || seenAt === undefined) return undefined
    return { session: { idHash, userId, createdAt, seenAt }, tokens: tokensOf(userId, rest) }
  }

  async touch({ idHash, userId, createdAt }: KeptSession, seenAt: Milliseconds): Promise<void> {
    await this.#reached()
    await this.#run(TOUCH, this.#userKey(userId), [this.#sessionName(idHash), `${createdAt} ${seenAt}`])
  }

  async end({ idHash, userId }: KeptSession): Promise<void> {
    await this.#reached()
    await this.#run(END, this.#userKey(userId), [this.#sessionName(idHash), this.#clock.now() - this.#absoluteMs])
  }

  async endAll(userId: string, before?: Milliseconds): Promise<void> {
    await this.#reached()
    await this.#run(END_ALL, this.#userKey(userId), [before ?? ''])
  }

  async tokensOf(userId: string): Promise<KeptTokens | undefined> {
    await this.#reached()
    const [, ...rest] = await this.#fields(userId, '')
    return tokensOf(userId, rest)
  }

  async replace(tokens: KeptTokens, from: { readonly rowId: string; readonly version: number }): Promise<boolean> {
    await this.#reached()
    // The row stays; only a sign-in begins another one.
    if (tokens.rowId !== from.rowId) return false
    const sealed = Buffer.from(tokens.sealed).toString('base64')
    return this.#run(REPLACE, this.#userKey(tokens.userId), [sealed, from.rowId, tokens.version, from.version]).then(
      isOne,
    )
  }

  async lease(userId: string, holder: string, forMs: Milliseconds): Promise<boolean> {
    await this.#reached()
    return this.#run(LEASE, this.#leaseKey(userId), [holder, Math.ceil(forMs)]).then(isOne)
  }

  async release(userId: string, holder: string): Promise<void> {
    await this.#reached()
    await this.#run(RELEASE, this.#leaseKey(userId), [holder])
  }

  async claim(attempt: string, code: string, forMs: Milliseconds): Promise<Claim> {
    await this.#reached()
    const held = String(await this.#run(CLAIM, this.#attemptKey(attempt), [code, Math.ceil(forMs)]))
    if (held === '') return { kind: 'mine' }
    const [ofCode, outcome = ''] = held.split(' ')
    if (ofCode !== code || outcome === '') return { kind: 'spent' }
    return outcome === 'pending' ? { kind: 'pending' } : { kind: 'done', sealed: Buffer.from(outcome, 'base64') }
  }

  async settle(attempt: string, code: string, outcome: Uint8Array | null, forMs: Milliseconds): Promise<void> {
    await this.#reached()
    const text = `${code} ${outcome === null ? '' : Buffer.from(outcome).toString('base64')}`
    await this.#run(SETTLE, this.#attemptKey(attempt), [text, Math.ceil(forMs)])
  }

  /** Names are there once Redis was reached. */
  async #reached(): Promise<void> {
    if (!this.#connection.isUp) await this.#connection.reach(this.#connection.writeTimeoutMs)
  }

  #run(script: Script, key: string, args: ReadonlyArray<string | number>): Promise<unknown> {
    return this.#connection.run(script, [key], args, this.#connection.writeTimeoutMs)
  }

  async #fields(userId: string, sessionName: string): Promise<string[]> {
    return ((await this.#run(FIND, this.#userKey(userId), [sessionName])) as unknown[]).map(String)
  }

  #sessionName(idHash: string): string {
    return this.#naming.names.of('session', idHash)
  }

  #sessionKey(name: string): string {
    return this.#connection.prefix + REDIS_KEYS.session[0].replace('<session>', name)
  }

  #userKey(userId: string): string {
    return this.#keyOf('signedIn', '<user>', 'signed-in user', userId)
  }

  #leaseKey(userId: string): string {
    return this.#keyOf('refreshing', '<user>', 'signed-in user', userId)
  }

  #attemptKey(attempt: string): string {
    return this.#keyOf('attempt', '<attempt>', 'attempt', attempt)
  }

  #keyOf(kind: 'signedIn' | 'refreshing' | 'attempt', hole: string, purpose: string, text: string): string {
    return this.#connection.prefix + REDIS_KEYS[kind][0].replace(hole, this.#naming.names.of(purpose, text))
  }
}

function tokensOf(userId: string, [sealed, rowId, version, since]: readonly string[]): KeptTokens | undefined {
  if (!sealed || !rowId) return undefined
  return {
    userId,
    rowId,
    version: Number(version),
    sealed: Buffer.from(sealed, 'base64'),
    signedInAt: Number(since),
  }
}

const isOne = (reply: unknown) => Number(reply) === 1
