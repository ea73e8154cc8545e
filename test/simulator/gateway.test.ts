import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createVirtualClock, type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { send, visit } from './visitor.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests read many shapes of JSON
type Payload = { op: number; t: string | null; s: number | null; d: any }

/** A bot's connection: every payload it got, and one that fits as soon as it is there. */
async function connect(simulator: Simulator) {
  const { json } = await visit(simulator, '/gateway')
  const socket = new WebSocket(`${json.url}/?v=10&encoding=json`)
  const payloads: Payload[] = []
  socket.on('message', (bytes) => payloads.push(JSON.parse(String(bytes))))
  const closed = once(socket, 'close').then(([code]) => code as number)
  await once(socket, 'open')
  const got = async (fits: (payload: Payload) => boolean): Promise<Payload> => {
    await expect.poll(() => payloads.some(fits), { interval: 1, timeout: 5000 }).toBe(true)
    return payloads.find(fits)!
  }
  const say = (op: number, d: unknown) => socket.send(JSON.stringify({ op, d }))
  await got(({ op }) => op === 10)
  return { socket, payloads, closed, got, say }
}
const identify = (simulator: Simulator, intents: number) => ({ token: simulator.botToken, intents, properties: {} })

describe('the gateway', () => {
  it('says hello, knows the bot, tells its guilds, answers heartbeats, and dispatches what is written', async () => {
    await using simulator = await startSimulator({ users: 2 })
    const bot = await connect(simulator)
    expect(bot.payloads[0]!.d.heartbeat_interval).toBe(41_250)
    bot.say(1, null)
    await bot.got(({ op }) => op === 11)
    bot.say(2, identify(simulator, (1 << 0) | (1 << 9) | (1 << 15)))
    const ready = await bot.got(({ t }) => t === 'READY')
    expect(ready.d).toMatchObject({ v: 10, user: { id: simulator.botId }, application: { id: simulator.clientId } })
    const guild = simulator.guilds[0]!
    const created = await bot.got(({ t, d }) => t === 'GUILD_CREATE' && d.id === guild.id)
    expect(created.d.channels.map(({ id }: { id: string }) => id)).toEqual(guild.channels.map(({ id }) => id))
    const channel = guild.channels[0]!.id
    simulator.say(simulator.users[0]!.id, channel, 'hello bot')
    const heard = await bot.got(({ t }) => t === 'MESSAGE_CREATE')
    expect(heard.d).toMatchObject({ content: 'hello bot', guild_id: guild.id, author: { id: simulator.users[0]!.id } })
    await send(simulator, 'POST', `/channels/${channel}/messages`, { content: 'hello' })
    await bot.got(({ t, d }) => t === 'MESSAGE_CREATE' && d.content === 'hello')
    expect(() => simulator.say('1', channel, 'x')).toThrow(/no user/)
    expect(() => simulator.say(simulator.users[0]!.id, '1', 'x')).toThrow(/no channel "1"/)
    bot.socket.close()
  })

  it('shows content only to who has the intent, and nothing to who has none', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ users: 1, clock })
    const blind = await connect(simulator)
    blind.say(2, identify(simulator, 1 << 9))
    await blind.got(({ t }) => t === 'READY')
    await clock.advance(5000)
    const deaf = await connect(simulator)
    deaf.say(2, identify(simulator, 0))
    await deaf.got(({ t }) => t === 'READY')
    simulator.say(simulator.users[0]!.id, simulator.guilds[0]!.channels[0]!.id, 'secret')
    expect((await blind.got(({ t }) => t === 'MESSAGE_CREATE')).d.content).toBe('')
    expect(deaf.payloads.map(({ t }) => t)).toEqual([null, 'READY'])
  })

  it('lets a session be resumed, with what was missed', async () => {
    await using simulator = await startSimulator({ users: 1 })
    const first = await connect(simulator)
    first.say(2, identify(simulator, 1 << 9))
    const { session_id } = (await first.got(({ t }) => t === 'READY')).d
    first.socket.terminate()
    await first.closed
    simulator.say(simulator.users[0]!.id, simulator.guilds[0]!.channels[0]!.id, 'missed')
    const second = await connect(simulator)
    second.say(6, { token: simulator.botToken, session_id, seq: 1 })
    await second.got(({ t }) => t === 'RESUMED')
    expect(second.payloads.map(({ t }) => t)).toEqual([null, 'MESSAGE_CREATE', 'RESUMED'])
    const stranger = await connect(simulator)
    stranger.say(6, { token: simulator.botToken, session_id: 'nonsense', seq: 1 })
    expect((await stranger.got(({ op }) => op === 9)).d).toBe(false)
  })

  it('refuses a second identify within five seconds', async () => {
    const clock = createVirtualClock()
    await using simulator = await startSimulator({ clock })
    const [one, two] = [await connect(simulator), await connect(simulator)]
    one.say(2, identify(simulator, 0))
    await one.got(({ t }) => t === 'READY')
    two.say(2, identify(simulator, 0))
    expect((await two.got(({ op }) => op === 9)).d).toBe(false)
    await clock.advance(5000)
    two.say(2, identify(simulator, 0))
    await two.got(({ t }) => t === 'READY')
  })

  it.each<[string, number, (simulator: Simulator) => string[]]>([
    ['no JSON', 4002, () => ['{']],
    ['an unknown opcode', 4001, () => ['{"op":99}']],
    ['something before identify', 4003, () => ['{"op":8,"d":{}}']],
    ['a wrong token', 4004, () => ['{"op":2,"d":{"token":"x","intents":0}}']],
    ['no intents', 4013, ({ botToken }) => [JSON.stringify({ op: 2, d: { token: botToken } })]],
    ['identify twice', 4005, (simulator) => Array(2).fill(JSON.stringify({ op: 2, d: identify(simulator, 0) }))],
  ])('closes on %s with %i', async (_name, code, texts) => {
    await using simulator = await startSimulator()
    const bot = await connect(simulator)
    for (const text of texts(simulator)) bot.socket.send(text)
    expect(await bot.closed).toBe(code)
  })

  it('ends with the simulator', async () => {
    const simulator = await startSimulator()
    const bot = await connect(simulator)
    await simulator.close()
    expect(await bot.closed).toBe(1006)
  })
})
