import { tracingChannel } from 'node:diagnostics_channel'

/** The steps of a request through the line that can be traced; each is `holdfast:<step>` for `node:diagnostics_channel`. */
export const TRACED_STEPS = ['require-auth', 'memberships', 'discord-fetch'] as const
export type TracedStep = (typeof TRACED_STEPS)[number]

/** What a subscriber is told of a step. Node adds `result` and `error` when it has ended. */
export interface TraceContext {
  /** Tells instances apart; the same for every step of one. */
  readonly instance: object
  /** Facts about the step, by OpenTelemetry's names where it has some. No ids, no tokens. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly result?: unknown
  readonly error?: unknown
}

const CHANNELS = {
  'require-auth': tracingChannel<unknown, TraceContext>('holdfast:require-auth'),
  memberships: tracingChannel<unknown, TraceContext>('holdfast:memberships'),
  'discord-fetch': tracingChannel<unknown, TraceContext>('holdfast:discord-fetch'),
} as const satisfies Record<TracedStep, unknown>

/**
 * Does `work`, and tells the step's tracing channel when it begins, ends and fails (Node's docs, diagnostics_channel,
 * TracingChannel). Where nobody subscribes this costs one comparison, and `context` is not even made.
 */
export function traced<T>(step: TracedStep, context: () => TraceContext, work: () => Promise<T>): Promise<T> {
  const channel = CHANNELS[step]
  return channel.hasSubscribers ? channel.tracePromise(work, context()) : work()
}
