import type { ApiClient } from './api-client.ts'
import { closedError, retryAtOf } from './api-error.ts'
import { checkOptions, refuse } from './check-options.ts'
import { alarm, type Milliseconds, monotonicNow, wallNow } from './clock.ts'
import { withDeadline } from './deadline.ts'
import { inPage, isHidden, LOOK_AGAIN_MS, on, openChannel, tell, turnOf } from './tabs.ts'

export interface PollOptions<T> {
  /** From the end of a round to the start of the next. */
  everyMs: Milliseconds
  /** Which poll this is, across tabs: they hand each other its results. Default: page path, pace and order of creation. */
  key?: string
  /** Called with each result, in every tab, also those that did not ask. */
  onResult?: (value: T) => void
  /** Whose gate a round waits for. */
  client?: ApiClient
}

/** A task that is repeated; made by `poll`. */
export interface Poll {
  /**
   * Runs the task now, also while hidden, or joins the round under way, here or in another tab; the interval begins anew with
   * its end. Resolves when the round has ended, in another tab in whichever way; rejects with what the task rejected with, with `TIMEOUT` after 120 s, and with `CLOSED` when stopped.
   */
  now(this: void): Promise<void>
  /** Ends it: the round under way is aborted, timers and listeners are let go of. */
  stop(this: void): void
}

/** What a new tab gives the others to hand it their last result, before it asks itself. */
const ANSWER_MS: Milliseconds = 50

/** The longest that another tab's word puts a round off. */
const LONGEST_REST_MS: Milliseconds = 900_000

/** The default keys in use in this page: which of several polls without a key is which. */
const keysInUse = new Set<string>()

/**
 * Repeats `task`: at once, then `everyMs` after each round's end, never two rounds at a time. Stops while the page is
 * hidden, and goes on when it is seen again. Of the tabs with the same `key` one runs each round and hands its result (by
 * structured clone) to the others; without Web Locks or BroadcastChannel each tab runs its own. A round that fails is
 * followed by the next one in its time, or at the error's `retryAt` where that is later. Throws `CONFIG_INVALID` for
 * senseless options.
 */
export function poll<T>(task: (signal: AbortSignal) => Promise<T>, options: PollOptions<T>): Poll {
  const { everyMs } = checkOptions(
    options,
    { everyMs: [undefined, 1] },
    { key: 'string', onResult: 'function', client: 'object' },
  )
  const { onResult, client } = options
  if (typeof task !== 'function') refuse('give a function')
  const key = options.key ?? defaultKey(everyMs)
  let round: Promise<void> | undefined
  let controller: AbortController | undefined
  let cancelAlarm = () => {}
  /** Whether the time of the next round has come. */
  let isDue = false
  let isStopped = false
  let last: { readonly id: number; readonly value: T } | undefined
  let lastAt = 0
  /** Tells a round that waits to look again, or that another tab's has ended in its place. */
  let wake = (_isOver?: boolean) => {}

  const name = `holdfast:poll:${key}`
  const turn = turnOf(name)
  const post = openChannel(name, ({ asks, id, value, restMs }) => {
    if (asks) {
      if (last) post({ ...last, restMs: Math.max(0, lastAt + everyMs - monotonicNow()) })
    } else if ((restMs as number) >= 0 && (id === undefined || (typeof id === 'number' && id !== last?.id))) {
      if (id) take(id, value as T)
      wake(true)
      schedule(Math.min(restMs as number, Math.max(everyMs, LONGEST_REST_MS)))
    }
  })

  function take(id: number, value: T): void {
    last = { id, value }
    lastAt = monotonicNow()
    tell(onResult, value)
  }

  function schedule(ms: Milliseconds): void {
    isDue = false
    cancelAlarm()
    if (isStopped) return
    cancelAlarm = alarm(ms, () => {
      isDue = true
      consider()
    })
  }

  function consider(): void {
    wake()
    if (isDue && !isStopped && !round && !isHidden() && !client?.waitingUntil) run()
  }

  function run(): Promise<void> {
    isDue = false
    cancelAlarm()
    controller = new AbortController()
    round = oneRound(controller).finally(() => {
      round = undefined
      turn.give()
    })
    // Whoever asked for it has its own promise; the interval goes on after a failure.
    round.catch(() => {})
    return round
  }

  async function oneRound(mine: AbortController): Promise<void> {
    while (client?.waitingUntil && !isStopped) await new Promise<unknown>((resolve) => (wake = resolve))
    for (;;) {
      // Listens first: the outcome may be told while the turn is asked for.
      const told = new Promise<boolean>((resolve) => {
        const cancel = alarm(LOOK_AGAIN_MS, () => resolve(false))
        wake = (isOver) => {
          cancel()
          resolve(!!isOver)
        }
      })
      const isMine = await turn.take()
      if (isMine || isStopped) wake()
      if (isStopped) throw closedError()
      if (isMine) break
      if (await told) return
    }
    let restMs = everyMs
    let id: number | undefined
    let value: T | undefined
    try {
      value = await withDeadline(task, mine)
      id = Math.random()
    } catch (error) {
      restMs = Math.max(everyMs, +(retryAtOf(error) ?? 0) - wallNow())
      throw error
    } finally {
      // Says nothing any more once it was stopped: the channel is closed.
      post({ id, value, restMs })
      if (id) take(id, value as T)
      schedule(restMs)
    }
  }

  const ends = [client?.onWait(consider), on('visibilitychange', consider)]
  post({ asks: true })
  schedule(inPage() ? ANSWER_MS : 0)

  return {
    now() {
      return round ?? run()
    },
    stop() {
      if (isStopped) return
      isStopped = true
      cancelAlarm()
      for (const end of ends) end?.()
      controller?.abort(closedError())
      wake()
      post()
      turn.give(true)
      keysInUse.delete(key)
    },
  }
}

/** Page path, pace, and the first number that no other poll of this page has. */
function defaultKey(everyMs: Milliseconds): string {
  for (let number = 0; ; number++) {
    const key = `${globalThis.location?.pathname} ${everyMs} ${number}`
    if (keysInUse.has(key)) continue
    keysInUse.add(key)
    return key
  }
}
