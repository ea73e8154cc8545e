import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { createGuard, type GuardOptions } from 'holdfast'
import { guard as guardMiddleware } from 'holdfast/express'

/** A request as the server saw it, before the guard. */
export interface Seen {
  readonly atMs: number
  readonly method: string
  readonly path: string
  /** Which tab sent it, where the page says so. */
  readonly tab: string | undefined
  /** What it was answered with; undefined while it is not. */
  status?: number
  answeredAtMs?: number
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void | Promise<void>

/** `holdfast/browser` as a page loads it, from the source; or other code that may import it, and React. */
export async function bundle(contents = "export * from 'holdfast/browser'"): Promise<string> {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: 'ts' },
    alias: { 'holdfast/browser': `${root}src/browser/browser.ts`, 'holdfast/react': `${root}src/browser/react.ts` },
    define: { 'process.env.NODE_ENV': '"development"' },
    bundle: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  })
  return outputFiles[0]!.text
}

/**
 * A real server behind Holdfast's own guard: `/` is an empty page that has loaded `holdfast/browser` into `window.holdfast`;
 * everything below `/api` goes through the guard to `handler`.
 */
export async function startTabsServer(options: {
  rules: NonNullable<GuardOptions['rules']>
  handler?: Handler
  port?: number
  script?: string
}) {
  const script = options.script ?? (await bundle())
  const seen: Seen[] = []
  const core = createGuard({ rules: options.rules, shedding: false })
  const middleware = guardMiddleware({ guard: core }) as unknown as (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ) => void
  const server = createServer(async (request, response) => {
    const path = request.url ?? '/'
    if (path === '/holdfast.js') {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(script)
      return
    }
    if (!path.startsWith('/api')) {
      // No favicon is asked for: the page names an empty one.
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end(
          '<!doctype html><link rel="icon" href="data:,"><title>tab</title><script type="module">import * as holdfast from "/holdfast.js"; window.holdfast = holdfast</script>',
        )
      return
    }
    const tab = request.headers['x-tab']
    const entry: Seen = {
      atMs: performance.now(),
      method: request.method!,
      path,
      tab: tab === undefined ? undefined : String(tab),
    }
    seen.push(entry)
    response.once('finish', () => {
      Object.assign(entry, { status: response.statusCode, answeredAtMs: performance.now() })
    })
    let body = ''
    request.setEncoding('utf8')
    for await (const chunk of request) body += chunk
    middleware(request, response, (error) => {
      if (error) throw error
      void (options.handler ?? ((_request, response) => json(response, { ok: true })))(request, response, body)
    })
  })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    script,
    seen,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await core.close()
    },
  }
}

export function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
