import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { AuthError, createHoldfast } from 'holdfast'
import { instrument } from 'holdfast/opentelemetry'
import { startSimulator } from 'holdfast/simulator'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

const exporter = new InMemorySpanExporter()

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
})
beforeEach(() => exporter.reset())
afterAll(() => {
  trace.disable()
  context.disable()
})

async function open() {
  const discord = await startSimulator({ users: 2 })
  const make = () => createHoldfast({ discord: { baseUrl: discord.url, clientId: discord.clientId } })
  const holdfast = make()
  const asked = (accessToken = discord.users[0]!.accessToken) => ({
    headers: new Headers({ authorization: `Bearer ${accessToken}` }),
    method: 'GET',
  })
  return {
    discord,
    holdfast,
    make,
    asked,
    async [Symbol.asyncDispose]() {
      await holdfast.close()
      await discord.close()
    },
  }
}

const spans = () => exporter.getFinishedSpans()
const named = (name: string) => spans().find((span) => span.name === name)!

describe('instrument', () => {
  test('tells a request through the line as spans that belong to each other, and to the request’s own', async () => {
    await using world = await open()
    const end = instrument(world.holdfast)
    await trace.getTracer('app').startActiveSpan('GET /page', async (page) => {
      await world.holdfast.requireAuth(world.asked())
      page.end()
    })
    end()
    const request = named('holdfast.requireAuth')
    expect(request.parentSpanContext?.spanId).toBe(named('GET /page').spanContext().spanId)
    const memberships = named('holdfast.memberships')
    expect(memberships.parentSpanContext?.spanId).toBe(request.spanContext().spanId)
    const call = named('GET /users/@me/guilds')
    expect(call.kind).toBe(SpanKind.CLIENT)
    expect(call.parentSpanContext?.spanId).toBe(memberships.spanContext().spanId)
    expect(call.attributes).toEqual({ 'http.request.method': 'GET', 'http.route': 'GET /users/@me/guilds' })
    expect(named('GET /oauth2/@me').parentSpanContext?.spanId).toBe(request.spanContext().spanId)
    expect(new Set(spans().map((span) => span.spanContext().traceId)).size).toBe(1)
  })

  test('tells what failed by its code, and no more than that', async () => {
    await using world = await open()
    const end = instrument(world.holdfast)
    await expect(world.holdfast.requireAuth(world.asked('made-up-token-of-nobody'))).rejects.toBeInstanceOf(AuthError)
    end()
    const refused = named('holdfast.requireAuth')
    expect(refused.status.code).toBe(SpanStatusCode.ERROR)
    expect(refused.attributes).toEqual({ 'error.type': 'UNAUTHENTICATED' })
    expect(
      JSON.stringify(spans().map(({ name, attributes, events, status }) => [name, attributes, events, status])),
    ).not.toContain('made-up')
  })

  test('keeps instances apart, and two that are traced at once both are', async () => {
    await using world = await open()
    await using other = world.make()
    await using third = world.make()
    const ends = [instrument(world.holdfast), instrument(other)]
    await world.holdfast.requireAuth(world.asked())
    await other.requireAuth(world.asked(world.discord.users[1]!.accessToken))
    await third.requireAuth(world.asked(world.discord.users[1]!.accessToken)).catch(() => {})
    expect(spans().filter(({ name }) => name === 'holdfast.requireAuth')).toHaveLength(2)
    for (const end of ends) end()
  })

  test('ends when the returned function is called, for the last who asked', async () => {
    await using world = await open()
    const first = instrument(world.holdfast)
    const second = instrument(world.holdfast)
    first()
    first()
    await world.holdfast.requireAuth(world.asked())
    expect(spans().filter(({ name }) => name === 'holdfast.requireAuth')).toHaveLength(1)
    second()
    exporter.reset()
    await world.holdfast.requireAuth(world.asked())
    expect(spans()).toEqual([])
  })
})
