import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeAgent, headers, method, send, target, WALK_AROUNDS } from '../../doors/bypass/targets.ts'
import type { Browser } from '../../sign-in/browser.ts'
import { type NextProject, newNextProject, type RunningNext } from './next-project.ts'

const EXAMPLE = fileURLToPath(new URL('../../../examples/next/', import.meta.url))
const MORE = fileURLToPath(new URL('./next-app/', import.meta.url))

/** More by hand: HOLDFAST_FUZZ_RUNS=50000. */
const RUNS = Number(process.env.HOLDFAST_FUZZ_RUNS ?? 2_000)
/** More by hand: HOLDFAST_HEAP_REQUESTS=11000. */
const REQUESTS = Number(process.env.HOLDFAST_HEAP_REQUESTS ?? 3_000)

let project: NextProject
beforeAll(() => {
  project = newNextProject()
}, 600_000)
afterAll(() => {
  closeAgent()
  project?.remove()
})

const matcherIn = (file: string) => /matcher: (\[.*\])/.exec(readFileSync(file, 'utf8'))?.[1]

test('examples/next has at most 60 lines, and the matcher of the guide', () => {
  const files = readdirSync(EXAMPLE, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /^(?!node_modules|\.next).*\.js$/.test(name),
  )
  const lines = files.flatMap((name) => readFileSync(join(EXAMPLE, name), 'utf8').trim().split('\n'))
  expect(lines.length).toBeLessThanOrEqual(60)
  const matcher = matcherIn(`${EXAMPLE}proxy.js`)
  expect(matcher).toBeDefined()
  expect(matcherIn(`${MORE}proxy.js`)).toBe(matcher)
  const guide = fileURLToPath(new URL('../../../docs/guides/rate-limits.md', import.meta.url))
  expect(readFileSync(guide, 'utf8')).toContain(`matcher: ${matcher}`)
})

/** The form of a page that renames a guild, as a browser without scripts sends it. */
async function submitRename(browser: Browser, page: string, guild: string, name: string, origin?: string) {
  const html = await (await browser.send(page)).text()
  const form = [...html.matchAll(/<form[\s\S]*?<\/form>/g)].map(([text]) => text).find((text) => text.includes(guild))
  const fields = new FormData()
  const plain = (text: string) => text.replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&#x27;', "'")
  for (const [, field, value = ''] of form!.matchAll(/<input type="hidden" name="([^"]*)"(?: value="([^"]*)")?/g))
    fields.append(plain(field!), plain(value))
  fields.append('name', name)
  return browser.send(page, { method: 'POST', body: fields, ...(origin !== undefined && { headers: { origin } }) })
}

/** The whole way of somebody through the example. */
async function journey(app: RunningNext, basePath: string) {
  const browser = app.browser()
  const home = basePath || '/'
  expect(await (await browser.send(home)).text()).toContain('Sign in with Discord')
  expect((await browser.send(`${basePath}/api/guilds`)).status).toBe(401)
  const back = await browser.signIn(home, `${basePath}/auth`)
  expect([back.status, back.headers.get('location')]).toEqual([303, home])
  const user = app.discord.users[0]!
  const before = app.discord.calls.length
  const [page, list] = await Promise.all([browser.send(home), browser.send(`${basePath}/api/guilds`)])
  expect(await page.text()).toContain(user.username)
  expect(((await list.json()) as { guilds: unknown[] }).guilds.length).toBe(user.guilds.length)
  // Two bundles, one instance: one call for both.
  expect(app.discord.calls.slice(before).filter(({ route }) => route === '/users/@me/guilds').length).toBe(1)

  // A server action: for who manages the guild, from this site, and for nobody else.
  const mine = user.guilds.find(({ owner }) => owner)!
  const shown = async () => (await browser.send(home)).text()
  await submitRename(browser, home, mine.id, 'from elsewhere', 'https://evil.example')
  // Next lets in what names no origin, as a frame of another site can; actionAuth() does not.
  await submitRename(browser, home, mine.id, 'from elsewhere', 'null')
  expect(await shown()).not.toContain('from elsewhere')
  expect((await submitRename(browser, home, mine.id, 'renamed here')).status).toBe(200)
  expect(await shown()).toContain('renamed here')
  app.discord.leaveGuild(user.id, mine.id)

  // Chunks and files are not asked about; pages and routes are.
  const chunk = /\/_next\/static\/[^"]+\.js/.exec(await shown())![0]
  expect((await browser.send(chunk)).headers.has('ratelimit')).toBe(false)
  expect((await browser.send(home)).headers.has('ratelimit')).toBe(true)
  expect((await browser.send(`${basePath}/api/guilds`)).headers.get('ratelimit-policy')).toContain('q=60')

  expect((await browser.send(`${basePath}/auth/logout`, { method: 'POST' })).status).toBe(303)
  expect((await browser.send(`${basePath}/api/guilds`)).status).toBe(401)
  expect(app.said()).not.toContain('second Holdfast instance')
}

describe('examples/next, built by webpack, below a basePath', () => {
  beforeAll(() => {
    const file = join(project.folder, 'next.config.js')
    const plain = readFileSync(file, 'utf8')
    writeFileSync(file, plain.replace('export default {', "export default {\n  basePath: '/app',"))
    project.build('--webpack')
    return () => writeFileSync(file, plain)
  }, 300_000)

  test('signs in, knows who, changes what is theirs, and limits what is asked', async () => {
    await using app = await project.start('/app')
    await journey(app, '/app')
  })
})

describe('the same, built by Turbopack, with more routes and a proxy of its own behind the guard', () => {
  beforeAll(() => {
    cpSync(MORE, project.folder, { recursive: true })
    project.build()
  }, 300_000)

  const walked = (asked: string, verb: string): [string, string, Record<string, string>] => [asked, verb, {}]
  test('whatever the target: where a handler ran, its limit was charged', async () => {
    await using app = await project.start('', { RATE_LIMIT_MAX: '1000000' })
    const ran = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(target, method, headers, async (asked, verb, sent) => {
        const answer = await send(app.port, asked, verb, sent)
        if (answer?.ran === undefined) return
        ran.set(answer.ran, (ran.get(answer.ran) ?? 0) + 1)
        expect(answer.charged, `${verb} ${asked} ran ${answer.ran}`).toContain(answer.ran)
      }),
      {
        numRuns: RUNS,
        examples: [...WALK_AROUNDS.map((walk) => walked(walk, 'GET')), walked('/api/only-post', 'POST')],
      },
    )
    // So that it cannot pass by nobody having come in.
    expect([...ran.keys()].sort()).toEqual(['chat', 'dl', 'only-post'])
    expect(Math.min(ran.get('chat')!, ran.get('dl')!)).toBeGreaterThan(2)
  })

  test('a proxy behind the guard changes headers, redirects and rewrites; the route takes over the decision, and settles it', async () => {
    await using app = await project.start()
    const browser = app.browser()
    const once = await browser.send('/api/once')
    expect([once.status, await once.json(), once.headers.get('x-from-proxy')]).toEqual([
      200,
      { composed: 'yes' },
      'yes',
    ])
    const left = (answer: Response) => Number(/r=(\d+)/.exec(answer.headers.get('ratelimit')!)![1])
    const second = await browser.send('/api/once')
    expect([second.status, left(second)]).toEqual([200, left(once) - 1])
    // Refunded, which only the decision's owner can do: 409.
    expect((await browser.send('/api/once?status=409')).status).toBe(409)
    expect(left(await browser.send('/api/once'))).toBe(left(second) - 1)
    const old = await browser.send('/old')
    expect([old.status, new URL(old.headers.get('location')!, app.url).pathname]).toEqual([307, '/new'])
    expect(old.headers.has('ratelimit')).toBe(true)
    expect(await (await browser.send('/renamed')).json()).toEqual({ composed: null })
    // What a client writes under the decision's name is worth nothing.
    const forged = await browser.send('/api/once', { headers: { 'x-holdfast-decision': 'x' } })
    expect([forged.status, left(forged)]).toEqual([200, left(second) - 2])
    expect((await browser.send('/silent')).status).toBe(404)
  })

  test('pictures count for who asks for them, and what the optimizer fetches for itself for nobody', async () => {
    // A hundred pictures of twenty visitors: ten times the limit, were they all one visitor's.
    await using app = await project.start('', { RATE_LIMIT_MAX: '5' })
    const picture = async (visitor: number, name: string) => {
      const url = `/_next/image?url=${encodeURIComponent(`/pictures/${name}`)}&w=640&q=75`
      const answer = await app.browser(`198.51.100.${visitor}`).send(url, { headers: { accept: 'image/webp,*/*' } })
      await answer.arrayBuffer()
      return answer.status
    }
    for (let visitor = 0; visitor < 20; visitor++)
      for (let nth = 0; nth < 5; nth++)
        expect([visitor, nth, await picture(visitor, `${visitor}-${nth}`)]).toEqual([visitor, nth, 200])
    expect((await app.browser('198.51.100.200').send('/')).status).toBe(200)
    const file = await app.browser('198.51.100.200').send('/logo.png')
    expect([file.status, file.headers.has('ratelimit')]).toEqual([200, false])
    // The visitor who asks for ten times as many is one.
    const statuses = new Set<number>()
    for (let nth = 0; nth < 60; nth++) statuses.add(await picture(99, `99-${nth}`))
    expect([...statuses]).toEqual([200, 429])
  })

  test('thousands of requests that no route settles leave nothing behind on the heap', async () => {
    await using app = await project.start('', { RATE_LIMIT_MAX: '1000000' })
    const dispatcher = new Agent({ connections: 8 })
    const requests = async (count: number) => {
      let left = count
      const one = async () => {
        while (left-- > 0) {
          const answer = await undiciFetch(`${app.url}/dl/file`, { dispatcher })
          await answer.arrayBuffer()
          expect(answer.status).toBe(200)
        }
      }
      await Promise.all(Array.from({ length: 8 }, one))
    }
    const heap = async () => Number(await (await fetch(`${app.url}/api/heap`)).text()) / 2 ** 20
    await requests(1_000)
    const before = await heap()
    await requests(REQUESTS)
    const after = await heap()
    await dispatcher.close()
    process.stdout.write(
      `heap after 1000 requests ${before.toFixed(1)} MB, after ${REQUESTS} more ${after.toFixed(1)} MB\n`,
    )
    // A request that is kept alive is 6 kB.
    expect((after - before) * 2 ** 20).toBeLessThan(REQUESTS * 2_500)
  })
})
