// One process of an app with a ledger; what it does it is told by messages, and answers each with one.
import { createHoldfast, type Holdfast } from 'holdfast'

/** What a worker is told to do. Users are given as their id and token. */
export type Order =
  | { readonly do: 'open'; readonly baseUrl: string; readonly database: string; readonly secret: string }
  /** Asks Discord for one user after the other, again and again, until it is told something else. */
  | { readonly do: 'load'; readonly users: ReadonlyArray<readonly [string, string]> }
  /** Asks Discord once for each user, and writes what it answered. */
  | { readonly do: 'once'; readonly users: ReadonlyArray<readonly [string, string]> }
  | { readonly do: 'refresh'; readonly olderThanMs: number; readonly tokens: ReadonlyArray<readonly [string, string]> }
  | { readonly do: 'close' }

export interface Answer {
  /** Troubles of the ledger and the database so far: their codes. */
  readonly failures: readonly string[]
  readonly written: number
  readonly refreshed?: number
  /** Of `load` and `once`: how long the slowest request took. */
  readonly slowestMs?: number
}

let holdfast: Holdfast | undefined
let round = 0
let slowestMs = 0
let written = 0
const failures: string[] = []

async function load([userId, accessToken]: readonly [string, string]): Promise<void> {
  const began = performance.now()
  await holdfast!.memberships({ userId, accessToken }, { maxAgeMs: 0 }).catch(() => {})
  slowestMs = Math.max(slowestMs, performance.now() - began)
}

async function obey(order: Order): Promise<Partial<Answer>> {
  const mine = ++round
  switch (order.do) {
    case 'open':
      holdfast = createHoldfast({
        discord: { baseUrl: order.baseUrl },
        database: order.database,
        secret: order.secret,
      })
      holdfast.on((event) => {
        if (event.type === 'ledger.failed') failures.push(event.code)
        if (event.type === 'ledger.written') written += event.users
      })
      await holdfast.ready({ deadlineMs: 10_000 }).catch(() => {})
      return {}
    case 'load':
      void (async () => {
        while (mine === round) for (const user of order.users) if (mine === round) await load(user)
      })()
      return {}
    case 'once':
      await Promise.all(order.users.map(load))
      await holdfast!.ledger.summary().catch(() => {})
      return { slowestMs }
    case 'refresh': {
      const tokens = new Map(order.tokens)
      const { refreshed } = await holdfast!.ledger.refreshDue({
        olderThanMs: order.olderThanMs,
        limit: tokens.size,
        atOnce: 4,
        token: async (userId) => tokens.get(userId) ?? null,
      })
      return { refreshed }
    }
    case 'close':
      await holdfast!.close()
      return {}
  }
}

process.on('message', async (order: Order) => {
  const told = await obey(order)
  process.send!({ failures, written, slowestMs, ...told } satisfies Answer, () => {
    if (order.do === 'close') process.disconnect()
  })
})
