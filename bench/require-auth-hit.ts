// What does requireAuth cost on a fresh hit, beside reading the session?
import { createHoldfast } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'
import { judge, race, table } from './figures.ts'

await using simulator = await startSimulator({ users: 1, guildsPerUser: 100 })
const [user] = simulator.users
const session = { userId: user!.id, accessToken: user!.accessToken }
const resolve = async () => session
await using holdfast = createHoldfast({ discord: { baseUrl: simulator.url }, session: resolve })

const request = new Request('http://dashboard.example/guilds')
const guild = user!.guilds.find((guild) => guild.owner) ?? user!.guilds[0]!
const asked = guild.owner ? { guild: guild.id, permissions: 'ManageGuild' as const } : { guild: guild.id }
await holdfast.requireAuth(request)

const times = await race({
  'the session resolver alone': resolve,
  'requireAuth(request)': () => holdfast.requireAuth(request),
  'requireAuth(request, { guild, permissions })': () => holdfast.requireAuth(request, asked),
})
const resolver = times['the session resolver alone']!
table(
  ['fresh hit, 100 guilds', 'ns', 'of our own, ns'],
  Object.entries(times).map(([name, ns]) => [name, ns, ns - resolver]),
)
judge([
  { name: 'requireAuth', value: (times['requireAuth(request)']! - resolver) / 1000, unit: 'µs', target: 3 },
  {
    name: 'requireAuth with a guild and a permission',
    value: (times['requireAuth(request, { guild, permissions })']! - resolver) / 1000,
    unit: 'µs',
    target: 3,
  },
])
