import { batch, type Clock, createOwnerQuota } from 'holdfast'
import { createVirtualClock } from 'holdfast/simulator'
import { Refused, seeded } from './upstream.ts'

// Upstreams as they are met: they count in different windows, tell of them in different words, are near and far, and
// others spend the same quota. Each seed draws one, and a batch that spends some windows of it.

export const WINDOWS = ['first-call', 'calendar', 'sliding'] as const
export const HEADERS = [
  'exact',
  'rounded up',
  'missing on some',
  'none',
  'rounded down',
  'to the nearest',
  'zeros',
  'epoch',
  'nonsense',
] as const
export const WAYS = ['steady', 'slow down', 'slower up'] as const

export interface Kind {
  readonly window: (typeof WINDOWS)[number]
  readonly headers: (typeof HEADERS)[number]
  readonly way: (typeof WAYS)[number]
  readonly strangers: boolean
}

export interface Judged {
  readonly kind: Kind
  /** Windows of the upstream, in which we called. */
  readonly windows: number
  readonly refusals: number
  /** The most of our calls, refused or not, that arrived in one window, beyond its limit. */
  readonly over: number
  readonly unanswered: number
  /** How much of what the limit allows was used, where nothing else held the calls up. */
  readonly share: number | undefined
}

const HOLD_UP_MS = 3_000
/** So many windows are spent. */
const SPENT = 6
/** A batch that takes longer than so many windows never ends. */
const ENDLESS = 400

/** What a seed draws. */
export function kindOf(seed: number): Kind {
  const random = seeded(seed * 7919)
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!
  return { window: one(WINDOWS), headers: one(HEADERS), way: one(WAYS), strangers: random() < 0.25 }
}

/** Where answers tell no more and no less than is so, and can be understood. */
export function tellsTheTruth({ headers }: Kind): boolean {
  return headers === 'exact' || headers === 'rounded up' || headers === 'missing on some'
}

/** Spends some windows of the upstream that a seed draws. */
export async function spendWindows(seed: number, kind: Kind = kindOf(seed)): Promise<Judged> {
  const random = seeded(seed)
  const clock = createVirtualClock()
  const limit = 5 + Math.floor(20 * random())
  const windowMs = [5_000, 10_000, 20_000, 60_000][Math.floor(4 * random())]!
  const concurrency = [2, 8, 64][Math.floor(3 * random())]!
  // What is done with an answer before the next request goes: some batches spend no window in full.
  const workMs = random() < 0.5 ? 0 : (2 * windowMs * concurrency * random()) / limit
  const nearMs = 5 + 75 * random()
  const upstream = new Upstream(kind, { clock, random, limit, windowMs, nearMs })
  const quota = createOwnerQuota({ limit, windowMs, clock })
  let settled = false
  let doneAt = 0
  const running = batch(
    Array.from({ length: SPENT * limit + 1 }, (_, index) => index),
    {
      keys: [{ key: 'key', owner: 'owner' }],
      quota,
      concurrency,
      maxAttempts: 1_000,
      sendTimeoutMs: 1e9,
      send: async (_index, _key, { learn }) => {
        try {
          learn((await upstream.call()) as Parameters<typeof learn>[0])
        } catch (error) {
          if (error instanceof Refused && error.said) learn(error.said)
          throw error
        }
        doneAt = clock.monotonic()
        if (workMs > 0) await clock.sleep(workMs * random())
      },
    },
  ).finally(() => {
    settled = true
  })
  while (!settled && clock.monotonic() < ENDLESS * windowMs) {
    if (kind.strangers) upstream.meetStrangers(Math.round(0.3 * limit * random() * (1_000 / windowMs)))
    await clock.advance(1_000)
  }
  const results = settled ? await running : []
  await quota.close()
  const counts = upstream.countsByWindow()
  return {
    kind,
    windows: counts.length,
    refusals: upstream.refusals,
    over: Math.max(0, ...counts.map((count) => count - limit)),
    unanswered: SPENT * limit + 1 - results.filter(({ status }) => status === 'fulfilled').length,
    // The last one is the first of its window.
    share: workMs > 0 || kind.strangers ? undefined : (SPENT * windowMs - upstream.headStartMs) / doneAt,
  }
}

/** What each kind comes to: windows called in, 429s, and the share used where nothing but the limit held calls up. */
export function byKind(all: readonly Judged[]) {
  const kinds = new Map<string, Judged[]>()
  for (const judged of all) {
    const { window, headers, strangers } = judged.kind
    const name = `${window}, ${headers}${strangers ? ', strangers' : ''}`
    kinds.set(name, [...(kinds.get(name) ?? []), judged])
  }
  return [...kinds]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, ofKind]) => {
      const shares = ofKind.flatMap(({ share }) => share ?? [])
      return {
        name,
        kind: ofKind[0]!.kind,
        windows: sum(ofKind.map(({ windows }) => windows)),
        refusals: sum(ofKind.map(({ refusals }) => refusals)),
        share: shares.length > 0 ? sum(shares) / shares.length : undefined,
      }
    })
}

/** Every promise that is broken: none is, where it holds. */
export function broken(all: readonly Judged[]): readonly string[] {
  const told: string[] = []
  let held = { windows: 0, refusals: 0 }
  for (const { kind, windows, refusals, over, unanswered } of all) {
    const name = JSON.stringify(kind)
    if (unanswered > 0) told.push(`${unanswered} unanswered: ${name}`)
    if (kind.window === 'sliding') continue
    const isTrue = tellsTheTruth(kind) || (kind.window === 'first-call' && kind.headers === 'none')
    if (!isTrue) continue
    if (kind.strangers && tellsTheTruth(kind) && over > 0) told.push(`${over} of our own calls over the limit: ${name}`)
    if (kind.strangers) continue
    if (kind.way === 'slower up') held = { windows: held.windows + windows, refusals: held.refusals + refusals }
    else if (refusals > 0) told.push(`${refusals} 429s: ${name}`)
  }
  if (held.refusals > held.windows / 100)
    told.push(`${held.refusals} 429s in ${held.windows} windows where some calls are held up on their way`)
  for (const { name, windows, refusals } of byKind(all))
    if (refusals > windows) told.push(`${refusals} 429s in ${windows} windows: ${name}`)
  return told
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

class Upstream {
  refusals = 0
  /** A calendar's first window had begun before us. */
  readonly headStartMs: number
  readonly #kind: Kind
  readonly #clock: Clock
  readonly #random: () => number
  readonly #limit: number
  readonly #windowMs: number
  readonly #nearMs: number
  /** When the calls that were let through arrived, whoever made them. */
  #arrivals: number[] = []
  #endsAt: number
  #windows = 0
  /** Our calls by window. */
  readonly #ours = new Map<number, number>()

  constructor(
    kind: Kind,
    options: { clock: Clock; random: () => number; limit: number; windowMs: number; nearMs: number },
  ) {
    this.#kind = kind
    this.#clock = options.clock
    this.#random = options.random
    this.#limit = options.limit
    this.#windowMs = options.windowMs
    this.#nearMs = options.nearMs
    this.headStartMs = kind.window === 'calendar' ? this.#windowMs * this.#random() : 0
    this.#endsAt = kind.window === 'calendar' ? this.#windowMs - this.headStartMs : 0
  }

  countsByWindow(): readonly number[] {
    return [...this.#ours.values()]
  }

  /** Somebody else spends the same quota. */
  meetStrangers(calls: number): void {
    const now = this.#clock.monotonic()
    for (let n = 0; n < calls; n++) {
      this.#roll(now)
      if (this.#arrivals.length < this.#limit) this.#arrivals.push(now)
    }
  }

  async call(): Promise<object> {
    const { way } = this.#kind
    await this.#clock.sleep(this.#travelMs(way === 'slower up' && this.#random() < 0.03))
    const now = this.#clock.monotonic()
    this.#roll(now)
    this.#ours.set(this.#windows, (this.#ours.get(this.#windows) ?? 0) + 1)
    const isRefused = this.#arrivals.length >= this.#limit
    if (isRefused) this.refusals++
    else this.#arrivals.push(now)
    const leftMs = this.#kind.window === 'sliding' ? this.#arrivals[0]! + this.#windowMs - now : this.#endsAt - now
    const said = this.#say(leftMs)
    const retryAfterMs = this.#kind.headers === 'none' ? leftMs : this.#rounded(leftMs)
    await this.#clock.sleep(this.#travelMs(way === 'slow down' && this.#random() < 0.1))
    if (isRefused) throw new Refused(retryAfterMs, said)
    return said
  }

  #travelMs(isHeldUp: boolean): number {
    return this.#nearMs * (0.5 + this.#random()) + (isHeldUp ? HOLD_UP_MS * this.#random() : 0)
  }

  #roll(now: number): void {
    const { window } = this.#kind
    if (window === 'sliding') {
      this.#arrivals = this.#arrivals.filter((at) => at > now - this.#windowMs)
      this.#windows = Math.floor(now / this.#windowMs)
      return
    }
    if (now < this.#endsAt) return
    this.#arrivals = []
    this.#windows++
    if (window === 'first-call') this.#endsAt = now + this.#windowMs
    else while (this.#endsAt <= now) this.#endsAt += this.#windowMs
  }

  #rounded(ms: number): number {
    const { headers } = this.#kind
    if (headers === 'rounded up') return 1000 * Math.ceil(ms / 1000)
    if (headers === 'rounded down') return 1000 * Math.floor(ms / 1000)
    if (headers === 'to the nearest') return 1000 * Math.round(ms / 1000)
    if (headers === 'zeros') return 0
    if (headers === 'nonsense') return 2 * this.#windowMs * this.#random()
    return ms
  }

  #say(leftMs: number): object {
    const { headers } = this.#kind
    const random = this.#random
    const remaining = Math.max(0, this.#limit - this.#arrivals.length)
    if (headers === 'none' || (headers === 'missing on some' && random() < 0.3)) return {}
    if (headers === 'zeros' && random() < 0.5) return { limit: 0, remaining: 0, resetAfterMs: 0 }
    if (headers === 'epoch') return { limit: this.#limit, remaining, resetAfterMs: this.#clock.now() + leftMs }
    if (headers === 'nonsense')
      return {
        remaining: Math.floor(2 * this.#limit * random()),
        resetAfterMs: 3 * this.#windowMs * random() - this.#windowMs,
      }
    return { limit: this.#limit, remaining, resetAfterMs: headers === 'zeros' ? leftMs : this.#rounded(leftMs) }
  }
}
