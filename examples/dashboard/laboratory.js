// What `npm start` shows: two simulated Discords in the same trouble, the same visitors on both, one app with Holdfast and
// one without. Samples once a second; the page draws them.
import { startSimulator } from 'holdfast/simulator'
import { fetchGuilds } from './plain-guilds.js'

const VISITORS = 20
const GUILDS = 12
/** Page views a second, on each side. */
const VIEWS = 16
const KEPT = 120
/** A page that has not come by then is an error for whoever waits. */
const GIVES_UP_MS = 10_000

/** What can be done to Discord. Each returns what a simulator's `fault` takes. */
export const TROUBLES = {
  throttle: ['rate-limit', { retryAfterMs: 12_000 }],
  ban: ['ban', { retryAfterMs: 60_000 }],
  break: ['server-error', {}],
  hang: ['hang', {}],
}

/** One of the two sides: its Discord, and how its users fare. */
class Side {
  #open = new Set()
  #callsSeen = 0
  #now = blank()

  constructor(simulator, visit) {
    this.simulator = simulator
    this.visit = visit
  }

  async view(visitor) {
    const view = { at: performance.now() }
    this.#open.add(view)
    let outcome
    try {
      outcome = await this.visit(this.simulator.users[visitor].accessToken, AbortSignal.timeout(GIVES_UP_MS))
    } catch {
      outcome = 'error'
    }
    this.#open.delete(view)
    this.#now.views++
    if (outcome === 'error') this.#now.errors++
    if (outcome === 'stale') this.#now.stale++
    this.#now.slowestMs = Math.max(this.#now.slowestMs, performance.now() - view.at)
  }

  /** What happened since the last sample; who still waits counts with how long. */
  sample() {
    const { calls } = this.simulator
    // The oldest are forgotten after hours.
    if (calls.length < this.#callsSeen) this.#callsSeen = calls.length
    const fresh = calls.slice(this.#callsSeen)
    this.#callsSeen = calls.length
    const waitingMs = [...this.#open].reduce((most, { at }) => Math.max(most, performance.now() - at), 0)
    const sample = {
      ...this.#now,
      slowestMs: Math.round(Math.max(this.#now.slowestMs, waitingMs)),
      calls: fresh.length,
      limited: fresh.filter(({ status }) => status === 429).length,
    }
    this.#now = blank()
    return sample
  }
}

const blank = () => ({ views: 0, errors: 0, stale: 0, slowestMs: 0 })

/** Starts both Discords. `begin` starts the visitors, once the app with Holdfast listens at `url`. */
export async function openLaboratory() {
  const options = { users: VISITORS, guildsPerUser: GUILDS, seed: 11, latencyMs: [30, 90] }
  const [held, plain] = await Promise.all([startSimulator(options), startSimulator(options)])
  const samples = []
  const listeners = new Set()
  const totals = {
    held: { views: 0, errors: 0, stale: 0, calls: 0, limited: 0 },
    plain: { views: 0, errors: 0, stale: 0, calls: 0, limited: 0 },
  }
  let trouble = 'none'
  let heal = () => {}
  const timers = []

  const setTrouble = (name) => {
    heal()
    heal = () => {}
    trouble = Object.hasOwn(TROUBLES, name) ? name : 'none'
    if (trouble === 'none') return
    const ends = [held, plain].map((simulator) => simulator.fault(...TROUBLES[trouble]))
    heal = () => {
      for (const end of ends) end()
    }
  }

  return {
    discord: held,
    get trouble() {
      return trouble
    },
    setTrouble,
    samples,
    totals,
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    begin(url) {
      const sides = {
        held: new Side(held, async (token, signal) => {
          const response = await fetch(`${url}/api/guilds`, { headers: { authorization: `Bearer ${token}` }, signal })
          const body = await response.json()
          return response.ok ? (body.stale ? 'stale' : 'fresh') : 'error'
        }),
        plain: new Side(plain, async (token) => {
          await fetchGuilds(plain.url, `Bearer ${token}`)
          return 'fresh'
        }),
      }
      let turn = 0
      timers.push(
        setInterval(() => {
          // In an order that comes round, a little out of step: as visitors come.
          const visitor = (turn++ * 7) % VISITORS
          for (const side of Object.values(sides)) void side.view(visitor)
        }, 1000 / VIEWS),
        setInterval(() => {
          const sample = { at: Date.now(), trouble, held: sides.held.sample(), plain: sides.plain.sample() }
          for (const side of ['held', 'plain'])
            for (const name in totals[side]) totals[side][name] += sample[side][name]
          samples.push(sample)
          if (samples.length > KEPT) samples.shift()
          for (const listener of listeners) listener(sample)
        }, 1000),
      )
    },
    async close() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all([held.close(), plain.close()])
    },
  }
}
