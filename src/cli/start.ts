import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { systemClock } from 'holdfast'
import { type Simulator, startSimulator } from 'holdfast/simulator'
import { type Dashboard, startDashboard } from './dashboard.ts'
import { type Answered, plot } from './plot.ts'
import { PHASES, phaseAt } from './story.ts'
import { ProgressBar, table } from './terminal.ts'
import { planVisits, type Visit } from './visits.ts'
import { readWords } from './words.ts'

/** What a run of the story did to users and to Discord. */
interface Outcome {
  readonly answers: readonly Answered[]
  readonly visits: number
  readonly calls: number
  readonly rateLimited: number
  readonly errors: number
  readonly medianMs: number
  readonly slowestMs: number
  readonly stale: number
}

/** A page that has not come by then is an error for whoever waits. */
const VISITOR_GIVES_UP_MS = 15_000

/** The timeline is compressed: a run is two hours of it, so an hour, the fresh time, is half a run. */
const HOUR_SHARE = 0.5

const NUMBERS = {
  seconds: { min: 10, max: 90, fallback: 30 },
  users: { min: 1, max: 1000, fallback: 200 },
  seed: { min: 0, max: 2 ** 31, fallback: 1 },
}

/** `holdfast start`: the dashboard, to sign in to and to make trouble in, while the story is told in the terminal. */
export async function start(words: readonly string[]): Promise<number> {
  const options = readWords(words, NUMBERS, ['once'], ['plot'])
  const baseUrl = process.env.DISCORD_API_BASE_URL
  if (baseUrl !== undefined) return startAgainst(baseUrl, options.once)
  if (options.once) return tellStory(options)
  const dashboard = await startDashboard('server.js', { PORT: process.env.PORT ?? '3000' })
  try {
    process.stdout.write(`
  open ${dashboard.url}/

Sign in, make trouble, and watch. Meanwhile the same story in numbers; Ctrl+C ends all of it.

`)
    const ended = interrupted()
    await Promise.race([ended, tellStory(options)])
    process.stdout.write(`\nThe dashboard is still at ${dashboard.url}/\n`)
    await ended
    return 0
  } finally {
    await dashboard.stop()
  }
}

/** `holdfast story`: an outage, played twice in the terminal. */
export async function story(words: readonly string[]): Promise<number> {
  return tellStory(readWords(words, NUMBERS, [], ['plot']))
}

async function tellStory(options: {
  readonly seconds: number
  readonly users: number
  readonly seed: number
  readonly plot?: string | undefined
}): Promise<number> {
  const lengthMs = options.seconds * 1000
  const visits = planVisits({ users: options.users, lengthMs, seed: options.seed })
  process.stdout.write(
    `${visits.length} page views by ${options.users} users in ${options.seconds} s (an hour is ${(HOUR_SHARE * options.seconds).toFixed(0)} s), twice. Seed ${options.seed}, no token needed.\n\n`,
  )
  const plain = await play('plain.js', 'plain fetch', visits, options, {})
  await plain.end()
  const held = await play('server.js', 'Holdfast', visits, options, {
    DISCORD_GUILD_CACHE_FRESH_MINUTES: String((HOUR_SHARE * lengthMs) / 60_000),
    DISCORD_GUILD_CACHE_STALE_HOURS: String((24 * HOUR_SHARE * lengthMs) / 3_600_000),
  })
  try {
    process.stdout.write(`${compare(plain.outcome, held.outcome)}\n`)
    if (options.plot !== undefined) {
      const runs = [
        { title: 'plain fetch with a Retry-After loop', answers: plain.outcome.answers },
        { title: 'Holdfast', answers: held.outcome.answers },
      ]
      await writeFile(options.plot, plot(runs, PHASES, lengthMs))
    }
    return 0
  } finally {
    await held.end()
  }
}

/** Plays the story for one dashboard. */
async function play(
  file: 'server.js' | 'plain.js',
  title: string,
  visits: readonly Visit[],
  options: { readonly seconds: number; readonly users: number; readonly seed: number },
  environment: Readonly<Record<string, string>>,
): Promise<{ outcome: Outcome; simulator: Simulator; dashboard: Dashboard; end(): Promise<void> }> {
  const simulator = await startSimulator({
    users: options.users,
    guildsPerUser: 40,
    seed: options.seed,
    latencyMs: [30, 90],
  })
  const dashboard = await startDashboard(file, {
    DISCORD_API_BASE_URL: simulator.url,
    DISCORD_CLIENT_ID: simulator.clientId,
    ...environment,
  }).catch(async (error) => {
    await simulator.close()
    throw error
  })
  const end = async () => {
    await dashboard.stop()
    await simulator.close()
  }
  const bar = new ProgressBar(process.stderr, title.padEnd(11))
  const lengthMs = options.seconds * 1000
  const began = systemClock.monotonic()
  const answers: Answered[] = []
  let errors = 0
  let stale = 0
  const duringOutage: number[] = []
  const open: Promise<void>[] = []
  let phase = PHASES[0]!
  let endPhase = phase.begin(simulator, lengthMs * phase.share)
  for (const visit of visits) {
    const waitMs = visit.atMs - (systemClock.monotonic() - began)
    if (waitMs > 1) await systemClock.sleep(waitMs)
    const next = phaseAt(visit.atMs / lengthMs)
    if (next !== phase) {
      endPhase()
      phase = next
      endPhase = phase.begin(simulator, lengthMs * phase.share)
    }
    bar.draw(visit.atMs / lengthMs, phase.name, `${errors} errors, ${stale} stale`)
    const { outage } = phase
    const token = simulator.users[visit.user]!.accessToken
    open.push(
      visitPage(`${dashboard.url}/api/guilds`, token).then((answer) => {
        const outcome = answer.status !== 200 ? 'error' : answer.stale ? 'stale' : 'fresh'
        if (outcome === 'error') errors++
        if (outcome === 'stale') stale++
        answers.push({ atMs: visit.atMs, outcome })
        if (outage) duringOutage.push(answer.tookMs)
      }),
    )
  }
  endPhase()
  bar.draw(1, 'the last pages', `${errors} errors, ${stale} stale`)
  await Promise.all(open)
  bar.end()
  duringOutage.sort((a, b) => a - b)
  const { calls } = simulator
  const outcome = {
    answers,
    visits: visits.length,
    calls: calls.length,
    rateLimited: calls.filter((call) => call.status === 429).length,
    errors,
    stale,
    medianMs: duringOutage[Math.floor(duringOutage.length / 2)] ?? 0,
    slowestMs: duringOutage.at(-1) ?? 0,
  }
  return { outcome, simulator, dashboard, end }
}

function visitPage(url: string, token: string): Promise<{ status: number; tookMs: number; stale: boolean }> {
  const began = systemClock.monotonic()
  return new Promise((resolve) => {
    const done = (status: number, stale: boolean) => resolve({ status, tookMs: systemClock.monotonic() - began, stale })
    const asked = request(
      url,
      { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(VISITOR_GIVES_UP_MS) },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (chunk) => {
          body += chunk
        })
        response.on('end', () => done(response.statusCode ?? 0, body.includes('"stale":true')))
        response.on('error', () => done(0, false))
      },
    )
    asked.on('error', () => done(0, false))
    asked.end()
  })
}

function compare(plain: Outcome, held: Outcome): string {
  const ms = (value: number) => (value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`)
  const count = (value: number) => value.toLocaleString('en-US')
  return table(
    ['', 'plain fetch', 'Holdfast'],
    [
      ['calls sent to Discord', count(plain.calls), count(held.calls)],
      ['429s received', count(plain.rateLimited), count(held.rateLimited)],
      ['errors shown to users', count(plain.errors), count(held.errors)],
      ['slowest answer during the outage', ms(plain.slowestMs), ms(held.slowestMs)],
      ['median answer during the outage', ms(plain.medianMs), ms(held.medianMs)],
      ['stale answers served', count(plain.stale), count(held.stale)],
    ],
  )
}

/** With a base URL given there is no trouble to play: the dashboard is started against it. */
async function startAgainst(baseUrl: string, once: boolean): Promise<number> {
  const dashboard = await startDashboard('server.js', process.env.PORT ? { PORT: process.env.PORT } : {})
  process.stdout.write(`DISCORD_API_BASE_URL is set, so the dashboard talks to ${baseUrl}, and no outage is played.

  ${dashboard.url}/healthz
  curl -H "Authorization: Bearer $TOKEN" ${dashboard.url}/api/guilds
`)
  const { status } = await visitPage(`${dashboard.url}/healthz`, 'none')
  if (!once) await interrupted()
  await dashboard.stop()
  return status === 200 ? 0 : 1
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
}
