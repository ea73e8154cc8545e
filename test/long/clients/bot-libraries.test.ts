import { type Simulator, startSimulator } from 'holdfast/simulator'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { client, install } from './installed.ts'

let simulator: Simulator
let end: () => void
let channel: string
let guild: string
beforeAll(install, 120_000)
beforeEach(async () => {
  simulator = await startSimulator({ users: 3 })
  end = simulator.intercept()
  guild = simulator.guilds[0]!.id
  channel = simulator.guilds[0]!.channels[0]!.id
})
afterEach(async () => {
  end()
  await simulator.close()
})

const refused = () => simulator.calls.filter(({ status }) => status === 429).length
const posted = () => simulator.calls.filter(({ method, status }) => method === 'POST' && status === 200).length

describe('reading, writing, uploading and waiting', () => {
  it.each(['@discordjs/rest', '@discordjs/rest-next'])('with %s', async (name) => {
    const { REST } = await client(name)
    const isNext = name.endsWith('next')
    const rest = new REST({ version: '10', ...(isNext ? {} : { api: simulator.url.replace(/\/v10$/, '') }) })
    if (isNext) rest.options.api = simulator.url.replace(/\/v10$/, '')
    rest.setToken(simulator.botToken)
    expect(await rest.get('/users/@me')).toMatchObject({ id: simulator.botId })
    const files = [{ name: 'a.txt', data: Buffer.from('hello'), contentType: 'text/plain' }]
    const sent = await rest.post(`/channels/${channel}/messages`, { body: { content: 'file' }, files })
    expect(sent).toMatchObject({ content: 'file', attachments: [{ filename: 'a.txt', size: 5 }] })
    await Promise.all(
      Array.from({ length: 8 }, (_, nth) =>
        rest.post(`/channels/${channel}/messages`, { body: { content: String(nth) } }),
      ),
    )
    expect(posted()).toBe(9)
    await expect(rest.get('/channels/1')).rejects.toMatchObject({ code: 10003, status: 404 })
    await expect(rest.post(`/channels/${channel}/messages`, { body: {} })).rejects.toMatchObject({ code: 50006 })
    simulator.fault('rate-limit', { retryAfterMs: 400, times: 1 })
    const before = Date.now()
    expect(await rest.get('/users/@me')).toMatchObject({ id: simulator.botId })
    expect(Date.now() - before).toBeGreaterThanOrEqual(395)
    rest.clearHashSweeper?.()
    rest.clearHandlerSweeper?.()
  })

  it('with @discordeno/rest', async () => {
    const { createRestManager } = await client('@discordeno/rest')
    const rest = createRestManager({
      token: simulator.botToken,
      applicationId: simulator.clientId,
      baseUrl: simulator.url.replace(/\/v10$/, ''),
      version: 10,
    })
    const sent = await rest.sendMessage(channel, {
      content: 'hello',
      files: [{ name: 'a.txt', blob: new Blob(['hello']) }],
    })
    expect(sent).toMatchObject({ content: 'hello', attachments: [{ filename: 'a.txt' }] })
    expect(await rest.getGuild(guild)).toMatchObject({ id: guild })
    await Promise.all(Array.from({ length: 7 }, (_, nth) => rest.sendMessage(channel, { content: String(nth) })))
    expect(await rest.getMessages(channel, { limit: 100 })).toHaveLength(8)
    await expect(rest.getChannel('1')).rejects.toThrow()
  })

  it('with eris', async () => {
    const { default: eris } = await client('eris')
    const bot = eris(`Bot ${simulator.botToken}`, { restMode: true, intents: [] })
    bot.on('error', () => {})
    const sent = await bot.createMessage(
      channel,
      { content: `<@${simulator.users[0]!.id}>`, embeds: [{ title: 'x' }] },
      [{ name: 'a.txt', file: Buffer.from('hello') }],
    )
    expect(sent.mentions.map(({ id }: { id: string }) => id)).toEqual([simulator.users[0]!.id])
    expect(sent.attachments).toMatchObject([{ filename: 'a.txt' }])
    await Promise.all(Array.from({ length: 7 }, (_, nth) => bot.createMessage(channel, String(nth))))
    expect(await bot.getMessages(channel, { limit: 50 })).toHaveLength(8)
    expect((await bot.getRESTGuild(guild)).name).toBe(simulator.guilds[0]!.name)
    expect((await bot.getRESTGuildMembers(guild, { limit: 10 })).length).toBeGreaterThan(0)
    await expect(bot.getRESTChannel('1')).rejects.toMatchObject({ code: 10003 })
    expect(refused()).toBe(0)
  })

  it('with oceanic.js', async () => {
    const { Client } = await client('oceanic.js')
    const bot = new Client({ auth: `Bot ${simulator.botToken}` })
    await bot.restMode()
    const read = await bot.rest.guilds.get(guild)
    expect(read.name).toBe(simulator.guilds[0]!.name)
    const sent = await bot.rest.channels.createMessage(channel, {
      content: 'hello',
      files: [{ name: 'a.txt', contents: Buffer.from('hello') }],
    })
    expect([...sent.attachments.values()]).toMatchObject([{ filename: 'a.txt' }])
    await Promise.all(
      Array.from({ length: 7 }, (_, nth) => bot.rest.channels.createMessage(channel, { content: String(nth) })),
    )
    expect(await bot.rest.channels.getMessages(channel, { limit: 50 })).toHaveLength(8)
    await expect(bot.rest.channels.get('1')).rejects.toMatchObject({ code: 10003 })
    expect(refused()).toBe(0)
  })
})

describe('discord.js 14', () => {
  it('logs in at the gateway, knows its guilds, hears a message and answers it', async () => {
    const { Client } = await client('discord.js')
    const bot = new Client({
      intents: ['Guilds', 'GuildMessages', 'MessageContent'],
      rest: { api: new URL('/api', simulator.url).href },
    })
    const heard = new Promise<{ content: string; reply(text: string): Promise<unknown> }>((resolve) =>
      bot.on('messageCreate', resolve),
    )
    const ready = new Promise((resolve) => bot.once('clientReady', resolve))
    await bot.login(simulator.botToken)
    await ready
    expect(bot.guilds.cache.size).toBe(simulator.guilds.length)
    expect(bot.channels.cache.get(channel).name).toBe('general')
    simulator.say(simulator.users[0]!.id, channel, 'ping')
    const message = await heard
    expect(message.content).toBe('ping')
    await message.reply('pong')
    const listed = await bot.channels.cache.get(channel).messages.fetch({ limit: 10 })
    expect(listed.map(({ content }: { content: string }) => content)).toEqual(['pong', 'ping'])
    await bot.destroy()
  })
})
