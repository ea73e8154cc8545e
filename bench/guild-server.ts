import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'

/** Answers each user's guild list, drawn Zipf(1) from 50 000 guilds, without limits; a process of its own. */
export async function startGuildServer(): Promise<{ url: string; [Symbol.asyncDispose](): Promise<void> }> {
  const child = spawn(process.execPath, [import.meta.filename], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return {
    url: `http://127.0.0.1:${Number(line)}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    },
  }
}

const GUILDS = 50_000
const PER_USER = 100
const DISTINCT_USERS = 10_100
/** The last nine digits of the first user's id. */
const FIRST_USER = 299_117_000

/** Small, fast, and the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Rank of a draw from Zipf(1): how often each is drawn is one over its rank. */
function zipf(sums: Float64Array, draw: number): number {
  let low = 0
  let high = sums.length - 1
  const sought = draw * sums[high]!
  while (low < high) {
    const middle = (low + high) >> 1
    if (sums[middle]! < sought) low = middle + 1
    else high = middle
  }
  return low
}

function serve() {
  const sums = new Float64Array(GUILDS)
  for (let rank = 0, sum = 0; rank < GUILDS; rank++) {
    sum += 1 / (rank + 1)
    sums[rank] = sum
  }
  /** Beyond the first users lists come again: what is asked there is how many there are. */
  const again = new Map<number, string>()
  const server = createServer((request, response) => {
    const user = Number(request.headers.authorization?.slice(-9) ?? 0) - FIRST_USER
    const seed = user < DISTINCT_USERS ? user : DISTINCT_USERS + (user % 500)
    const body = again.get(seed) ?? listOf(seed)
    if (user >= DISTINCT_USERS) again.set(seed, body)
    response.setHeader('content-type', 'application/json')
    response.end(body)
  })
  const listOf = (seed: number): string => {
    const next = random(seed + 1)
    const drawn = new Set<number>()
    while (drawn.size < PER_USER) drawn.add(zipf(sums, next()))
    const guilds = [...drawn].map((rank) => ({
      id: String(175_928_847_299_117_063n + BigInt(rank) * 1_234_567_891n),
      name: `${rank % 10 === 0 ? '🦊 ' : ''}Guild number ${rank}`,
      icon: rank % 4 === 0 ? null : `a${rank.toString(16).padStart(31, '0')}`,
      banner: null,
      owner: next() < 0.02,
      permissions: String(Math.floor(next() * 2 ** 50)),
      features: ['COMMUNITY', 'NEWS', 'INVITE_SPLASH', 'ANIMATED_ICON'],
    }))
    return JSON.stringify(guilds)
  }
  // A busy machine must not find a connection closed that it has just begun to use.
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => console.log((server.address() as { port: number }).port))
}

if (process.argv[1] === import.meta.filename) serve()
