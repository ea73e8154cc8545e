import { once } from 'node:events'
import { createServer } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { QueryClient, QueryObserver } from '@tanstack/query-core'
import { createGuard } from 'holdfast'
import { type ApiClient, createApiClient, isRateLimitError } from 'holdfast/browser'
import { guard as guardMiddleware } from 'holdfast/express'
import ky from 'ky'
import createOpenApi from 'openapi-fetch'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** One item, as an OpenAPI schema says it. */
interface Paths {
  '/items/{id}': {
    get: {
      parameters: { path: { id: string } }
      responses: { 200: { content: { 'application/json': { id: string } } } }
    }
    put: {
      parameters: { path: { id: string } }
      requestBody: { content: { 'application/json': { name: string } } }
      responses: { 200: { content: { 'application/json': { id: string; body?: string } } } }
    }
  }
}

describe('as the fetch of other clients, against a server behind the guard', () => {
  let client: ApiClient
  let baseUrl: string
  let calls: string[]
  let end: () => Promise<void>
  beforeEach(async () => {
    calls = []
    const core = createGuard({ rules: { '*': { name: 'all', limit: 2, windowMs: 1000 } }, shedding: false })
    const middleware = guardMiddleware({ guard: core }) as unknown as (...words: unknown[]) => void
    const server = createServer(async (request, response) => {
      calls.push(`${request.method} ${request.url}`)
      let body = ''
      for await (const chunk of request) body += chunk
      middleware(request, response, () => {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ id: request.url!.split('/').at(-1), ...(body && { body }) }))
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    baseUrl = `http://127.0.0.1:${(server.address() as { port: number }).port}`
    client = createApiClient({ baseUrl })
    end = async () => {
      client.close()
      server.closeAllConnections()
      server.close()
      await core.close()
    }
  })
  afterEach(() => end())

  it('TanStack Query: nothing fails, its own retries are not needed, and it may cancel', async () => {
    const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } })
    const read = (id: number) =>
      queries.fetchQuery({
        queryKey: ['item', id],
        queryFn: ({ signal }) => client.json<{ id: string }>(`/items/${id}`, { signal }),
      })
    const items = await Promise.all([1, 2, 3].map(read))
    expect(items.map(({ id }) => id)).toEqual(['1', '2', '3'])
    expect(calls.filter((call) => call === 'GET /items/3').length).toBeLessThanOrEqual(2)
    const observer = new QueryObserver(queries, {
      queryKey: ['item', 4],
      queryFn: ({ signal }) => client.json('/items/4', { signal }),
    })
    const unsubscribe = observer.subscribe(() => {})
    const before = calls.length
    unsubscribe()
    expect(calls.length).toBe(before)
    queries.clear()
  })

  it('TanStack Query: a wait that is too long is an error that it can show', async () => {
    const hasty = createApiClient({ baseUrl, maxWaitMs: 0 })
    const queries = new QueryClient({
      defaultOptions: { queries: { retry: (_count, error) => !isRateLimitError(error) } },
    })
    const results = await Promise.allSettled(
      [1, 2, 3].map((id) => queries.fetchQuery({ queryKey: [id], queryFn: () => hasty.json(`/items/${id}`) })),
    )
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(calls).toHaveLength(3)
    hasty.close()
    queries.clear()
  })

  it('ky: GET and POST come through, with the body and once each', async () => {
    const api = ky.create({ baseUrl, fetch: client.fetch, retry: 0 })
    const items = await Promise.all([1, 2, 3].map((id) => api.get(`items/${id}`).json<{ id: string }>()))
    expect(items.map(({ id }) => id)).toEqual(['1', '2', '3'])
    const saved = await Promise.all(
      [4, 5].map((id) => api.post(`items/${id}`, { json: { name: 'x' } }).json<{ body: string }>()),
    )
    expect(saved.map(({ body }) => body)).toEqual(['{"name":"x"}', '{"name":"x"}'])
    await expect(api.get('items/6', { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
  })

  it('ky: five identical GETs are one call, with a body for each', async () => {
    const api = ky.create({ baseUrl, fetch: client.fetch })
    const items = await Promise.all(Array.from({ length: 5 }, () => api.get('items/1').json<{ id: string }>()))
    expect(items).toEqual(Array(5).fill({ id: '1' }))
    expect(calls).toEqual(['GET /items/1'])
  })

  it('openapi-fetch: GET and PUT come through, with the body', async () => {
    const api = createOpenApi<Paths>({ baseUrl, fetch: client.fetch })
    const answers = await Promise.all(['1', '2', '3'].map((id) => api.GET('/items/{id}', { params: { path: { id } } })))
    expect(answers.map(({ data }) => data?.id)).toEqual(['1', '2', '3'])
    const put = await api.PUT('/items/{id}', { params: { path: { id: '9' } }, body: { name: 'y' } })
    expect(put.data?.body).toBe('{"name":"y"}')
  })

  it('memory stays flat over 10 000 requests, with one signal for all of them', async () => {
    client.close()
    const { signal } = new AbortController()
    const flat = createApiClient({ baseUrl, fetch: async () => new Response('{"a":1}') })
    const round = async (count: number) => {
      for (let number = 0; number < count; number += 50)
        await Promise.all(Array.from({ length: 50 }, (_, more) => flat.json(`/${(number + more) >> 1}`, { signal })))
    }
    const heap = () => {
      collectGarbage()
      return process.memoryUsage().heapUsed
    }
    await round(2000)
    const before = heap()
    await round(10_000)
    const grownBytes = heap() - before
    flat.close()
    // A tenth of a kilobyte a request would be a megabyte.
    expect(grownBytes).toBeLessThan(1_000_000)
  })
})
