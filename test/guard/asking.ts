import {
  createGuard,
  type GuardDecision,
  type GuardOptions,
  type GuardRequest,
  type HoldfastEvent,
} from '../../src/index.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

/** A request as a door would hand it over. */
export function ask(
  method: string,
  path: string,
  more: Partial<Omit<GuardRequest, 'header'>> & { headers?: Record<string, string> } = {},
): GuardRequest {
  const { headers = {}, ...rest } = more
  return { method, path, remoteAddress: '203.0.113.7', header: (name) => headers[name] ?? null, ...rest }
}

export const PAGE = { accept: 'text/html,*/*;q=0.8', 'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate' }

/** A guard in virtual time, and what it said. */
export function guarded(options: GuardOptions = {}) {
  const clock = createVirtualClock()
  const events: HoldfastEvent[] = []
  // Who listens hears of everything that passed, too: tests of refusals do not look at it.
  const on = (event: HoldfastEvent) => event.type !== 'guard.passed' && events.push(event)
  const guard = createGuard({ clock, shedding: false, on, ...options })
  const statuses = async (times: number, request: () => GuardRequest): Promise<Array<number>> => {
    const found: number[] = []
    for (let time = 0; time < times; time++) {
      const decision = await guard.check(request())
      found.push(decision.action === 'pass' ? 200 : decision.status)
    }
    return found
  }
  return { clock, events, guard, statuses }
}

export const header = (decision: GuardDecision, name: string) => decision.headers.find(([key]) => key === name)?.[1]

export const passes = (statuses: readonly number[]) => statuses.filter((status) => status === 200).length
