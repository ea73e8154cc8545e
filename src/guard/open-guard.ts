import type { RequestClass } from '../http/request-class.ts'
import { classify } from './classify.ts'
import type { PassDecision } from './decision.ts'
import type { Guard, GuardStats } from './guard.ts'
import type { GuardRequest } from './guard-request.ts'

/** A guard that is switched off. */
export class OpenGuard implements Guard {
  readonly #apiPrefixes: readonly string[]

  constructor(apiPrefixes: readonly string[]) {
    this.#apiPrefixes = apiPrefixes
  }

  arrive(request: GuardRequest): PassDecision {
    return this.check(request)
  }

  check(request: GuardRequest): PassDecision {
    return new Unread(request, this.#apiPrefixes)
  }

  async peek(): Promise<readonly []> {
    return []
  }

  async reset(): Promise<void> {}

  stats(): GuardStats {
    return { passed: 0, refused: 0, shed: 0, refunded: 0, callers: 0, overflowing: false }
  }

  async close(): Promise<void> {}
}

class Unread implements PassDecision {
  readonly action = 'pass'
  readonly limits = []
  readonly headers = []
  readonly #request: GuardRequest
  readonly #apiPrefixes: readonly string[]

  constructor(request: GuardRequest, apiPrefixes: readonly string[]) {
    this.#request = request
    this.#apiPrefixes = apiPrefixes
  }

  get requestClass(): RequestClass {
    return classify(this.#request, { apiPrefixes: this.#apiPrefixes })
  }

  settle(): void {}
  refund(): void {}
}
