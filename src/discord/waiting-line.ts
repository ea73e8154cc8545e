import { LazySet } from '../concurrency/lazy-set.ts'
import type { Priority } from './call.ts'

/** What waits in a line. */
interface InLine {
  readonly call: { readonly priority: Priority }
}

export const PRIORITIES: readonly Priority[] = ['login', 'page', 'background']

/**
 * Whose turn it is where several priorities wait: the best one, but of eight turns one is the background's and one the
 * pages', so that nobody starves behind an endless line of better ones.
 */
export function orderOfTurn(turn: number): readonly Priority[] {
  if (turn % 8 === 7) return BACKGROUND_FIRST
  return turn % 8 === 3 ? PAGE_FIRST : PRIORITIES
}

const BACKGROUND_FIRST: readonly Priority[] = ['background', 'page', 'login']
const PAGE_FIRST: readonly Priority[] = ['page', 'login', 'background']

/** The calls that wait for one bucket: by priority, and of one priority in order of arrival. Joining, leaving and being next cost the same however long the line is. */
export class WaitingLine<Waiter extends InLine> {
  readonly #waiters: Readonly<Record<Priority, LazySet<Waiter>>> = {
    login: new LazySet(),
    page: new LazySet(),
    background: new LazySet(),
  }
  #turn = 0

  get size(): number {
    return this.#waiters.login.size + this.#waiters.page.size + this.#waiters.background.size
  }

  /** How many of this priority wait. */
  waiting(priority: Priority): number {
    return this.#waiters[priority].size
  }

  /** How many go before somebody who joins now with this priority; of every eight, two may be of a lesser one. */
  ahead(priority: Priority): number {
    const { login, page, background } = this.#waiters
    if (priority === 'login') return login.size
    return priority === 'page' ? login.size + page.size : login.size + page.size + background.size
  }

  join(waiter: Waiter): void {
    this.#waiters[waiter.call.priority].add(waiter)
  }

  leave(waiter: Waiter): void {
    this.#waiters[waiter.call.priority].delete(waiter)
  }

  /** Takes out whose turn it is. */
  next(): Waiter | undefined {
    for (const priority of orderOfTurn(this.#turn++)) {
      for (const waiter of this.#waiters[priority]) {
        this.#waiters[priority].delete(waiter)
        return waiter
      }
    }
    return undefined
  }

  *[Symbol.iterator](): IterableIterator<Waiter> {
    for (const priority of PRIORITIES) yield* this.#waiters[priority]
  }
}
