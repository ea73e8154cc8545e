import '../config/runtime.ts'

import { AsyncLocalStorage } from 'node:async_hooks'
import { type Channel, type TracingChannelSubscribers, tracingChannel } from 'node:diagnostics_channel'
import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { codeOf } from '../errors/code-of.ts'
import { TRACED_STEPS, type TraceContext, type TracedStep } from '../events/trace.ts'
import type { Holdfast } from '../instance/holdfast.ts'
import { partsOf } from '../instance/parts.ts'

/**
 * Spans for each request through the line, as children of whatever span is active: `holdfast.requireAuth`, below it
 * `holdfast.memberships`, below that a client span for each call to Discord (`GET /users/@me/guilds`). Uses only
 * OpenTelemetry's API package (an optional peer): without an SDK nothing is recorded. The returned function ends it.
 * Attributes hold no ids and no tokens; an error is told by its code.
 */
export function instrument(holdfast: Holdfast): () => void {
  // The instance as its own steps name it.
  const instance = partsOf(holdfast)!.events
  instrumented.set(instance, (instrumented.get(instance) ?? 0) + 1)
  stopListening ??= listen()
  let ended = false
  return () => {
    if (ended) return
    ended = true
    const times = instrumented.get(instance)! - 1
    if (times > 0) instrumented.set(instance, times)
    else instrumented.delete(instance)
    if (instrumented.size > 0) return
    stopListening?.()
    stopListening = undefined
  }
}

/** Instances that are traced, and how often that was asked for. */
const instrumented = new Map<object, number>()
let stopListening: (() => void) | undefined
/** The span that what is done now belongs to. A store of our own, because OpenTelemetry's API offers none to bind. */
const current = new AsyncLocalStorage<Span | undefined>()

/** Listens for all instances at once: a channel binds a store once, however many would like to. */
function listen(): () => void {
  const spans = new WeakMap<TraceContext, Span>()
  const ends = TRACED_STEPS.map((step) => {
    const start = tracingChannel(`holdfast:${step}`).start as Channel<unknown, TraceContext>
    start.bindStore(current, (traced) => {
      const parent = current.getStore()
      if (!instrumented.has(traced.instance)) return parent
      const span = startSpan(step, traced, parent)
      spans.set(traced, span)
      return span
    })
    const subscribers = {
      asyncEnd(traced: TraceContext) {
        const span = spans.get(traced)
        if (span) endSpan(span, traced.error)
      },
    } as TracingChannelSubscribers<TraceContext>
    const channel = tracingChannel<unknown, TraceContext>(`holdfast:${step}`)
    channel.subscribe(subscribers)
    return () => {
      start.unbindStore(current)
      channel.unsubscribe(subscribers)
    }
  })
  return () => {
    for (const end of ends) end()
  }
}

function startSpan(step: TracedStep, { attributes }: TraceContext, parent: Span | undefined): Span {
  const isCall = step === 'discord-fetch'
  const name = isCall ? String(attributes['http.route']) : step === 'require-auth' ? 'requireAuth' : step
  return trace
    .getTracer('holdfast')
    .startSpan(
      isCall ? name : `holdfast.${name}`,
      { kind: isCall ? SpanKind.CLIENT : SpanKind.INTERNAL, attributes: { ...attributes } },
      parent ? trace.setSpan(context.active(), parent) : context.active(),
    )
}

function endSpan(span: Span, error: unknown): void {
  if (error !== undefined) {
    span.setAttribute('error.type', codeOf(error) ?? 'unknown')
    span.setStatus({ code: SpanStatusCode.ERROR })
  }
  span.end()
}
