// A user's 100 guilds from Redis, at concurrency 32, and one look at a permission: what does it cost beside a plain GET
// of Discord's own list, and beside Keyv? Values are compressed unless `compress: false` is said; both are read here.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import KeyvRedis, { createClient } from '@keyv/redis'
import { createHoldfast, type Holdfast } from 'holdfast'
import Keyv from 'keyv'
import { startRedisServer } from '../test/support/redis-server.ts'
import { judge, median, table } from './figures.ts'

const USERS = 1_000
const GUILDS = 100
const CONCURRENCY = 32
const ROUNDS = 15
const MANAGE_GUILD = 1n << 5n

const FEATURES = ['COMMUNITY', 'NEWS', 'ANIMATED_ICON', 'INVITE_SPLASH', 'ROLE_ICONS', 'SOUNDBOARD', 'PREVIEW_ENABLED']

/** As Discord sends a guild of the list, with counts; about 275 bytes. */
function guild(nth: number) {
  const hex = (salt: number) => ((((nth + 1) * 2654435761 * salt) % 2 ** 32) >>> 0).toString(16).padStart(8, '0')
  return {
    id: String(80351110224678912n + BigInt(nth) * 7919n * 4194304n),
    name: `The guild of things number ${nth}`,
    icon: nth % 5 === 0 ? null : hex(1) + hex(3) + hex(5) + hex(7),
    banner: nth % 5 === 1 ? hex(11) + hex(13) + hex(17) + hex(19) : null,
    owner: nth % 50 === 0,
    permissions: nth % 10 === 0 ? '2251799813685247' : '2222085186636353',
    features: FEATURES.filter((_, place) => (nth >> place) % 3 === 0),
    approximate_member_count: 5 + (nth % 5000),
    approximate_presence_count: 1 + (nth % 500),
  }
}
type List = ReturnType<typeof guild>[]
const pool = Array.from({ length: 5_000 }, (_, nth) => guild(nth))
const listOf = (user: number): List =>
  Array.from({ length: GUILDS }, (_, place) => pool[(user * 37 + place * 49) % pool.length]!)
const asked = Array.from({ length: USERS }, (_, user) => listOf(user)[(user * 7) % GUILDS]!.id)

/** Calls once for every user, `CONCURRENCY` at a time. */
async function inParallel(call: (user: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (let user = next++; user < USERS; user = next++) await call(user)
    }),
  )
}

// A Discord that knows nothing but lists: it is asked once for each of them, and not while anything is measured.
const discord = createServer((request, response) => {
  const user = Number(request.headers.authorization?.split('-').at(-1))
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(listOf(user)))
}).listen(0, '127.0.0.1')
await once(discord, 'listening')
const { port } = discord.address() as { port: number }

const server = await startRedisServer()
async function connected(compress: boolean): Promise<Holdfast> {
  const holdfast = createHoldfast({
    discord: { baseUrl: `http://127.0.0.1:${port}` },
    // Whether somebody else keeps the machine busy for 100 ms is not the question.
    redis: { url: server.url, readTimeoutMs: 2_000, compress, namespace: compress ? 'compressed' : 'plain' },
    secret: 'a secret of at least thirty-two bytes',
    // So small that every reading comes from Redis.
    cache: { maxEntries: CONCURRENCY },
  })
  while (holdfast.stats().redis !== 'up') await sleep(10)
  return holdfast
}

const users = Array.from({ length: USERS }, (_, user) => ({ userId: String(user + 1), accessToken: `token-${user}` }))
for (const compress of [false, true]) {
  const writer = await connected(compress)
  await inParallel((user) => writer.memberships(users[user]!))
  await writer.close()
}

const raw = await createClient({ url: server.url }).connect()
const keyv = new Keyv(new KeyvRedis(server.url))
for (let user = 0; user < USERS; user++) {
  await raw.set(`guilds:${user}`, JSON.stringify(listOf(user)))
  await keyv.set(`guilds:${user}`, listOf(user))
}

function mayManage(list: List | undefined, id: string): boolean {
  const found = list?.find((guild) => guild.id === id)
  return found !== undefined && (found.owner || (BigInt(found.permissions) & MANAGE_GUILD) !== 0n)
}

async function ask(holdfast: Holdfast, user: number): Promise<boolean> {
  const { guilds, source } = await holdfast.memberships(users[user]!)
  if (source !== 'redis') throw new Error(`an answer came from ${source}`)
  return guilds.can(asked[user]!, 'ManageGuild')
}

const FIRST_SIGHT = 'holdfast, just started'
const holdfast = await connected(false)
const compressing = await connected(true)
let newcomer = holdfast
const contestants: Record<string, (user: number) => Promise<boolean>> = {
  holdfast: (user) => ask(holdfast, user),
  'holdfast, compressed': (user) => ask(compressing, user),
  [FIRST_SIGHT]: (user) => ask(newcomer, user),
  '@redis/client GET + JSON.parse': async (user) =>
    mayManage(JSON.parse((await raw.get(`guilds:${user}`))!), asked[user]!),
  'keyv + @keyv/redis': async (user) => mayManage(await keyv.get(`guilds:${user}`), asked[user]!),
}
const yes = Array.from({ length: USERS }, (_, user) => mayManage(listOf(user), asked[user]!))

const times: Record<string, number[]> = {}
const cpus: Record<string, number[]> = {}
for (let round = -4; round < ROUNDS; round++) {
  for (const [name, mayManage] of Object.entries(contestants)) {
    if (name === FIRST_SIGHT) newcomer = await connected(false)
    const cpu = process.cpuUsage()
    const began = performance.now()
    await inParallel(async (user) => {
      if ((await mayManage(user)) !== yes[user]) throw new Error(`${name} is wrong about user ${user}`)
    })
    const tookMs = performance.now() - began
    const used = process.cpuUsage(cpu)
    if (name === FIRST_SIGHT) await newcomer.close()
    if (round < 0) continue
    ;(times[name] ??= []).push((tookMs * 1000) / USERS)
    ;(cpus[name] ??= []).push((used.user + used.system) / USERS)
  }
}
await holdfast.close()
await compressing.close()
raw.destroy()
await keyv.disconnect()
await server.stop()
discord.close()

const medians = Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]))
const ours = medians.holdfast!
const theirs = medians['@redis/client GET + JSON.parse']!
const bytes = JSON.stringify(listOf(0)).length
table(
  [`100 guilds from Redis, ${Math.round(bytes / 1000)} kB as Discord sends them`, 'µs', 'CPU µs', '× holdfast'],
  Object.entries(medians).map(([name, us]) => [name, us, median(cpus[name]!), us / ours]),
)
judge([
  { name: 'raw GET + JSON.parse', value: theirs / ours, unit: '× ours', target: 2.5, atLeast: true },
  { name: 'plain Keyv', value: medians['keyv + @keyv/redis']! / ours, unit: '× ours', target: 12, atLeast: true },
  { name: 'a compressed list', value: medians['holdfast, compressed']! / theirs, unit: '× raw', target: 2.5 },
])
