import type { DiscordRateLimitError } from '../../src/errors/errors.ts'

// Apart from scripted-discord.ts, whose nock changes how every socket of the process is opened.

/** What any error of ours may say. */
export type Failure = DiscordRateLimitError

/** The error of a call that has to fail. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  try {
    await call
  } catch (error) {
    return error as Failure
  }
  throw new Error('it did not fail')
}

/** How a call stands: its value or error where it has ended. */
export function watched<T>(promise: Promise<T>) {
  const state: { done: boolean; value?: T; error?: Failure } = { done: false }
  promise.then(
    (value) => Object.assign(state, { done: true, value }),
    (error) => Object.assign(state, { done: true, error }),
  )
  return state
}
