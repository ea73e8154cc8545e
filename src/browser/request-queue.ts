import type { ApiError } from './api-error.ts'
import { alarm, type Milliseconds, monotonicNow, wallNow } from './clock.ts'
import { inPage, LOOK_AGAIN_MS, openChannel, tell, turnOf } from './tabs.ts'
import { dateIn, waitError } from './told-wait.ts'

/** One request in the queue. */
export interface Job {
  /** Its place: jobs are sent in this order, also those that come back. */
  readonly order: number
  /** Sends it, before it returns. True once it has an answer that is no refusal; a refusal has been heeded by then. Never rejects. */
  send(): Promise<boolean>
  giveUp(error: ApiError): void
  /** Since when the gate holds it, by the monotonic clock. */
  heldSince?: Milliseconds | undefined
}

/** The longest that one answer closes the gate for everything, here and in other tabs. Longer waits are one route's quota. */
export const LONGEST_CLOSED_MS: Milliseconds = 900_000

const MINUTE_MS: Milliseconds = 60_000

/** A probe without an answer holds the others up for no longer: then the next one is sent. */
const PROBE_DEADLINE_MS: Milliseconds = 10_000

/**
 * The line that all requests of a client stand in, and the one gate at its end. Jobs are sent in order: as many at once
 * and a minute as allowed while the gate is open; none while it is closed, because the server wants us to wait; and one,
 * the probe, while it is half-open, because that time is over and nobody has shown yet that it is. Lines of one `name`
 * share their gate across tabs: what one is told it posts, and notes for tabs that are opened later.
 * Closures, not a class: their names are minified.
 */
export function createQueue(name: string, maxConcurrent: number, perMinute: number, maxWaitMs: Milliseconds) {
  let jobs: Job[] = []
  /** A timer for each request that was sent within the last minute, the oldest first. */
  const minute: Array<() => void> = []
  let active = 0
  /** How many may be under way now: after a wait it begins at 1 and grows with each answer, so that the next window is not met with a burst. */
  let allowed = maxConcurrent
  let cancelLook: (() => void) | undefined

  const listeners = new Set<(until: Date | null) => void>()
  let gate: 'open' | 'closed' | 'half-open' = 'open'
  /** The status of the refusal that closed it, and its code. */
  let status = 0
  let code: string | undefined
  /** When it opens, by the monotonic clock. */
  let untilMs = 0
  /** When it was last closed, by the wall clock, which all tabs share. */
  let closedAt = 0
  let shown: Date | null = null
  let cancelOpening = () => {}
  let isProbing = false
  let endProbe: (() => void) | undefined
  const turn = turnOf(name)

  const post = openChannel(name, hear)

  /** A message or a note: closed at `at` (wall clock) for `waitMs`, or, without that, open for a probe that was sent at `at`. */
  function hear({ at, waitMs, status }: Record<string, unknown>): void {
    if (!waitMs) {
      if ((at as number) >= closedAt) open()
      return
    }
    // A clock that was set back since does not make the wait longer than it ever was.
    const leftMs = (waitMs as number) - Math.max(0, wallNow() - (at as number))
    if (leftMs > 0) close(Math.min(leftMs, LONGEST_CLOSED_MS), status === 503 ? 503 : 429)
  }

  function say(message: object): void {
    post(message)
    try {
      if (inPage()) localStorage.setItem(name, JSON.stringify(message))
    } catch {
      // Full, or forbidden: tabs that are opened later find out by themselves.
    }
  }

  function show(until: Date | null): void {
    if (shown === until) return
    shown = until
    for (const listener of listeners) tell(listener, until)
  }

  /** It never makes a wait shorter. */
  function close(waitMs: Milliseconds, newStatus: number, newCode?: string): void {
    closedAt = wallNow()
    const newUntilMs = monotonicNow() + waitMs
    if (gate === 'closed' && newUntilMs <= untilMs) return
    gate = 'closed'
    status = newStatus
    code = newCode
    untilMs = newUntilMs
    cancelOpening()
    cancelOpening = alarm(waitMs, () => {
      gate = 'half-open'
      pump()
    })
    show(dateIn(waitMs))
    pump()
  }

  function open(): void {
    cancelOpening()
    gate = 'open'
    show(null)
    pump()
  }

  /** Sends what may be sent; called whenever something has changed. */
  function pump(): void {
    if (gate !== 'open') allowed = 1
    if (gate === 'closed')
      jobs = jobs.filter((job) => {
        job.heldSince ??= monotonicNow()
        const mayWait = untilMs - job.heldSince <= maxWaitMs
        if (!mayWait) job.giveUp(waitError(untilMs - monotonicNow(), status, code))
        return mayWait
      })
    // Until something waits for it there is nothing to show.
    if (gate === 'half-open') jobs[0] ? probe() : show(null)
    while (gate === 'open' && jobs[0] && active < allowed && minute.length < perMinute) send(jobs.shift()!)
  }

  async function send(job: Job): Promise<boolean> {
    job.heldSince = undefined
    active++
    if (perMinute < Infinity)
      minute.push(
        alarm(MINUTE_MS, () => {
          minute.shift()
          pump()
        }),
      )
    const isWelcome = await job.send()
    active--
    if (isWelcome && allowed < maxConcurrent) allowed++
    pump()
    return isWelcome
  }

  async function probe(): Promise<void> {
    if (isProbing || minute.length >= perMinute) return
    isProbing = true
    const isMine = await turn.take()
    const job = isMine && gate === 'half-open' && jobs.shift()
    const at = wallNow()
    const end = (isWelcome?: boolean) => {
      if (endProbe !== end) return
      endProbe = undefined
      cancelDeadline()
      isProbing = false
      if (isWelcome && gate === 'half-open') {
        say({ at })
        open()
      }
      turn.give()
      pump()
    }
    const cancelDeadline = alarm(PROBE_DEADLINE_MS, end)
    endProbe = end
    if (job) end(await send(job))
    else if (isMine || gate !== 'half-open') end()
    else {
      // Another tab tries. Its outcome is told to us; if it dies, its turn is free.
      cancelDeadline()
      isProbing = false
      cancelLook?.()
      cancelLook = alarm(LOOK_AGAIN_MS, pump)
    }
  }

  try {
    if (inPage()) hear(JSON.parse(localStorage.getItem(name)!))
  } catch {
    // No note, rubbish, or forbidden.
  }

  return {
    add(job: Job): void {
      jobs.splice(jobs.findLastIndex(({ order }) => order < job.order) + 1, 0, job)
      pump()
    },

    drop(job: Job): void {
      jobs = jobs.filter((other) => other !== job)
    },

    /** Sends a job past line and gate: its page is going away, and with it every chance to wait. */
    sendNow: send,

    /** The server wants us to wait: closes the gate here and in the other tabs. */
    refused(waitMs: Milliseconds, status: number, code: string | undefined): void {
      close(waitMs, status, code)
      say({ at: wallNow(), waitMs, status })
    },

    /** When the gate opens; null while it is open, or nothing waits for it to be tried. Right also after the wall clock was set. */
    waitingUntil(): Date | null {
      const exact = dateIn(untilMs - monotonicNow())
      if (shown && Math.abs(+exact - +shown) > 1000) shown = exact
      return shown
    },

    onWait(listener: (until: Date | null) => void): () => void {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },

    end(error: ApiError): void {
      for (const job of jobs.splice(0)) job.giveUp(error)
      // Whoever waits for the gate finds out that the client was closed.
      open()
      endProbe?.()
      for (const cancel of [cancelLook, ...minute]) cancel?.()
      post()
      turn.give(true)
      listeners.clear()
    },
  }
}
