import { describe, expect, it } from 'vitest'
import { createVirtualClock, type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { bot, send, textChannel, visit } from './visitor.ts'

const at = (simulator: Simulator, rest = '', nth = 0) => `/channels/${textChannel(simulator, nth)}/messages${rest}`
const post = (simulator: Simulator, body: unknown, nth = 0) => send(simulator, 'POST', at(simulator, '', nth), body)
const get = (simulator: Simulator, path: string) => visit(simulator, path, { as: bot(simulator) })

/** A simulator whose limits no test of this file reaches. */
async function open() {
  const clock = createVirtualClock()
  const simulator = await startSimulator({ clock, botGlobalPerSecond: Infinity })
  return { clock, simulator, [Symbol.asyncDispose]: () => simulator.close() }
}

describe('a message', () => {
  it('is kept with its embeds, and read back, edited and deleted', async () => {
    await using world = await open()
    const { simulator } = world
    const embeds = [{ title: 'One', fields: [{ name: 'a', value: 'b' }] }]
    const { status, json } = await post(simulator, { content: `hi <@${simulator.users[0]!.id}>`, embeds, nonce: '7' })
    expect(status).toBe(200)
    expect(json).toMatchObject({
      type: 0,
      channel_id: textChannel(simulator),
      author: { id: simulator.botId, bot: true },
      embeds: [{ type: 'rich', ...embeds[0] }],
      mentions: [{ id: simulator.users[0]!.id }],
      attachments: [],
      components: [],
      edited_timestamp: null,
      pinned: false,
      tts: false,
      mention_everyone: false,
      nonce: '7',
    })
    expect((await get(simulator, at(simulator, `/${json.id}`))).json).toEqual(json)
    const edited = await send(simulator, 'PATCH', at(simulator, `/${json.id}`), { content: 'changed' })
    expect(edited.json).toMatchObject({ id: json.id, content: 'changed', embeds: [{ title: 'One' }] })
    expect(edited.json.edited_timestamp).not.toBe(null)
    const gone = await visit(simulator, at(simulator, `/${json.id}`), { as: bot(simulator), method: 'DELETE' })
    expect(gone.status).toBe(204)
    expect(await get(simulator, at(simulator, `/${json.id}`))).toMatchObject({ status: 404, json: { code: 10008 } })
  })

  it('can be read page by page, in both directions, newest first', async () => {
    await using world = await open()
    const { simulator, clock } = world
    const ids: string[] = []
    for (let nth = 0; nth < 12; nth++) {
      ids.push((await post(simulator, { content: String(nth) })).json.id)
      await clock.advance(1000)
    }
    const page = async (query: string) => {
      await clock.advance(1000)
      const { json } = await get(simulator, at(simulator, `?${query}`))
      return json.map(({ content }: { content: string }) => Number(content))
    }
    expect(await page('')).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    expect(await page('limit=3')).toEqual([11, 10, 9])
    expect(await page(`limit=3&before=${ids[9]}`)).toEqual([8, 7, 6])
    expect(await page(`limit=3&after=${ids[2]}`)).toEqual([5, 4, 3])
    expect(await page(`limit=4&around=${ids[5]}`)).toEqual([6, 5, 4, 3])
    expect((await get(simulator, at(simulator, '?limit=101'))).json.code).toBe(50035)
  })

  it('carries files, which can be fetched; payload_json alone says the rest', async () => {
    await using world = await open()
    const { simulator } = world
    const form = new FormData()
    const payload = { content: 'see', attachments: [{ id: 0, description: 'words' }] }
    form.set('payload_json', JSON.stringify(payload))
    form.set('content', 'ignored')
    form.set('files[0]', new Blob(['hello file'], { type: 'text/plain' }), 'a "b".txt')
    const sent = await visit(simulator, at(simulator), { as: bot(simulator), method: 'POST', body: form })
    expect(sent.status).toBe(200)
    expect(sent.json).toMatchObject({
      content: 'see',
      attachments: [{ filename: 'a "b".txt', size: 10, content_type: 'text/plain', description: 'words' }],
    })
    const file = await fetch(sent.json.attachments[0].url)
    expect([file.status, file.headers.get('content-type'), await file.text()]).toEqual([
      200,
      'text/plain',
      'hello file',
    ])
    expect(simulator.calls.at(-1)!.body).toEqual({
      ...payload,
      files: [{ name: 'files[0]', filename: 'a "b".txt', contentType: 'text/plain', size: 10 }],
    })
    const large = new FormData()
    large.set('files[0]', new Blob([new Uint8Array(10 * 1024 * 1024 + 1)]), 'large.bin')
    const refused = await visit(simulator, at(simulator), { as: bot(simulator), method: 'POST', body: large })
    expect([refused.status, refused.json.code]).toEqual([413, 40005])
  })

  it('replies to another, and reacts', async () => {
    await using world = await open()
    const { simulator } = world
    const first = (await post(simulator, { content: 'first' })).json
    const reply = await post(simulator, { content: 'second', message_reference: { message_id: first.id } })
    expect(reply.json).toMatchObject({ type: 19, referenced_message: { id: first.id } })
    const lost = await post(simulator, { content: 'x', message_reference: { message_id: '1' } })
    expect(lost.json.errors.message_reference._errors[0].code).toBe('MESSAGE_REFERENCE_UNKNOWN_MESSAGE')
    const reaction = at(simulator, `/${first.id}/reactions/${encodeURIComponent('👍')}/@me`)
    expect((await visit(simulator, reaction, { as: bot(simulator), method: 'PUT' })).status).toBe(204)
    const seen = await get(simulator, at(simulator, `/${first.id}`))
    expect(seen.json.reactions).toMatchObject([{ count: 1, me: true, emoji: { id: null, name: '👍' } }])
    const odd = at(simulator, `/${first.id}/reactions/nonsense/@me`)
    await world.clock.advance(250)
    expect((await visit(simulator, odd, { as: bot(simulator), method: 'PUT' })).json.code).toBe(10014)
  })

  it.each<[string, unknown, number, number, string?]>([
    ['nothing', {}, 400, 50006],
    ['empty embeds', { embeds: [] }, 400, 50006],
    ['too long a content', { content: 'x'.repeat(2001) }, 400, 50035, 'content._errors.0.code=BASE_TYPE_MAX_LENGTH'],
    ['an object as content', { content: {} }, 400, 50035, 'content._errors.0.code=STRING_TYPE_CONVERT'],
    [
      'eleven embeds',
      { embeds: Array(11).fill({ title: 'x' }) },
      400,
      50035,
      'embeds._errors.0.code=BASE_TYPE_MAX_LENGTH',
    ],
    [
      'a field without a value',
      { embeds: [{ fields: [{ name: 'a' }] }] },
      400,
      50035,
      'embeds.0.fields.0.value._errors.0.code=BASE_TYPE_REQUIRED',
    ],
    [
      'too large embeds',
      { embeds: Array(2).fill({ description: 'x'.repeat(4000) }) },
      400,
      50035,
      'embeds._errors.0.code=MAX_EMBED_SIZE_EXCEEDED',
    ],
    ['embeds that are no list', { embeds: 5 }, 400, 50035, 'embeds._errors.0.code=LIST_TYPE_CONVERT'],
    [
      'fields that are no list',
      { embeds: [{ fields: 5 }] },
      400,
      50035,
      'embeds.0.fields._errors.0.code=LIST_TYPE_CONVERT',
    ],
    ['a text as embed', { embeds: ['x'] }, 400, 50035, 'embeds.0._errors.0.code=DICT_TYPE_CONVERT'],
  ])('with %s is refused', async (_name, body, status, code, where) => {
    await using world = await open()
    const answer = await post(world.simulator, body)
    expect([answer.status, answer.json.code]).toEqual([status, code])
    if (where === undefined) return
    const [path, value] = where.split('=')
    const found = path!.split('.').reduce((tree, name) => tree?.[name], answer.json.errors)
    expect(found).toBe(value)
  })

  it('has no way to where there is none: 10003, 50001, 50013, 50005', async () => {
    await using world = await open()
    const { simulator } = world
    const guild = simulator.guilds.find(({ channels }) => channels[0]!.id === textChannel(simulator))!
    expect((await send(simulator, 'POST', '/channels/1/messages', { content: 'x' })).json.code).toBe(10003)
    const message = (await post(simulator, { content: 'mine' })).json
    const webhook = (await send(simulator, 'POST', `/channels/${textChannel(simulator)}/webhooks`, { name: 'Hook' }))
      .json
    const foreign = await send(simulator, 'POST', `/webhooks/${webhook.id}/${webhook.token}?wait=true`, {
      content: 'its',
    })
    expect((await send(simulator, 'PATCH', at(simulator, `/${foreign.json.id}`), { content: 'x' })).json.code).toBe(
      50005,
    )
    simulator.joinGuild(simulator.botId, { ...guild, permissions: String(1 << 10) })
    expect((await post(simulator, { content: 'x' })).json).toEqual({ message: 'Missing Permissions', code: 50013 })
    simulator.joinGuild(simulator.botId, { ...guild, permissions: '0' })
    expect((await get(simulator, at(simulator, `/${message.id}`))).json).toEqual({
      message: 'Missing Access',
      code: 50001,
    })
    simulator.leaveGuild(simulator.botId, guild.id)
    expect((await get(simulator, at(simulator))).json.code).toBe(50001)
  })

  it('obeys the channel’s overwrites', async () => {
    await using world = await open()
    const { simulator } = world
    const guild = simulator.guilds.find(({ channels }) => channels[0]!.id === textChannel(simulator))!
    simulator.joinGuild(simulator.botId, { ...guild, permissions: String((1n << 10n) | (1n << 11n) | (1n << 28n)) })
    expect((await post(simulator, { content: 'x' })).status).toBe(200)
    const overwrite = `/channels/${textChannel(simulator)}/permissions/${guild.id}`
    expect((await send(simulator, 'PUT', overwrite, { type: 0, deny: '2048' })).status).toBe(204)
    expect((await post(simulator, { content: 'x' })).json.code).toBe(50013)
    const own = `/channels/${textChannel(simulator)}/permissions/${simulator.botId}`
    expect((await send(simulator, 'PUT', own, { type: 1, allow: '2048' })).status).toBe(204)
    expect((await post(simulator, { content: 'x' })).status).toBe(200)
  })
})

describe('webhooks', () => {
  it('write without a bot, under their own name, and may be read and changed by their token', async () => {
    await using world = await open()
    const { simulator } = world
    const hook = (await send(simulator, 'POST', `/channels/${textChannel(simulator)}/webhooks`, { name: 'Hook' })).json
    expect(hook.url).toBe(`${new URL(simulator.url).origin}/api/webhooks/${hook.id}/${hook.token}`)
    const execute = (query: string, body: unknown) =>
      visit(simulator, `/webhooks/${hook.id}/${hook.token}${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect((await execute('', { content: 'quiet' })).status).toBe(204)
    const { json } = await execute('?wait=true', { content: 'loud', username: 'Somebody' })
    expect(json).toMatchObject({ webhook_id: hook.id, author: { id: hook.id, username: 'Somebody' } })
    expect((await get(simulator, at(simulator, `/${json.id}`))).json.content).toBe('loud')
    const wrong = await visit(simulator, `/webhooks/${hook.id}/wrong`)
    expect([wrong.status, wrong.json]).toEqual([401, { message: 'Invalid Webhook Token', code: 50027 }])
    expect((await visit(simulator, '/webhooks/1/x')).json.code).toBe(10015)
    expect(JSON.stringify(simulator.calls)).not.toContain(hook.token)
    expect(
      (await send(simulator, 'POST', `/channels/${textChannel(simulator)}/webhooks`, { name: 'Discord' })).json.code,
    ).toBe(50035)
    expect((await visit(simulator, `/webhooks/${hook.id}/${hook.token}`, { method: 'DELETE' })).status).toBe(204)
    expect((await execute('', { content: 'x' })).status).toBe(404)
  })
})
