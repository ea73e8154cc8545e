import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'
import type { Milliseconds } from '../time/clock.ts'
import { isRecord } from './resources/call.ts'
import { toGuild } from './world/guild.ts'
import { toBotUser, toMember } from './world/user-objects.ts'
import type { World } from './world/world.ts'

/** Discord's gateway for one bot: version 10, JSON, without compression (Events, "Gateway"). */
export interface Gateway {
  /** Takes over an HTTP connection that asks for a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Tells every session that is interested. */
  dispatch(event: string, guildId: string | null, data: object): void
  close(): void
}

const HEARTBEAT_MS = 41_250
/** One identify every five seconds (max_concurrency 1). */
const IDENTIFY_EVERY_MS = 5000
/** Events that a session can hear again after it was away. */
const MOST_REMEMBERED = 1000
const MOST_SESSIONS = 100

/** What the simulator dispatches, and the intents that hear it: in guilds, and in conversations. */
const INTENTS: Readonly<Record<string, readonly [guild: number, conversation: number]>> = {
  GUILD: [1 << 0, 0],
  CHANNEL: [1 << 0, 0],
  GUILD_MEMBER: [1 << 1, 0],
  GUILD_BAN: [1 << 2, 0],
  MESSAGE: [1 << 9, 1 << 12],
  MESSAGE_REACTION: [1 << 10, 1 << 13],
}
const MESSAGE_CONTENT = 1 << 15

interface Session {
  readonly id: string
  readonly intents: number
  socket: WebSocket | undefined
  seq: number
  readonly sent: Array<{ seq: number; text: string }>
}

export function createGateway(world: World, botToken: string, url: () => string, now: () => Milliseconds): Gateway {
  const sessions = new Map<string, Session>()
  const sockets = new Set<WebSocket>()
  let server: WebSocketServer | undefined
  let lastIdentifyAt = Number.NEGATIVE_INFINITY
  let closed = false

  function tell(session: Session, event: string, data: unknown): void {
    const text = JSON.stringify({ t: event, s: ++session.seq, op: 0, d: data })
    session.sent.push({ seq: session.seq, text })
    if (session.sent.length > MOST_REMEMBERED) session.sent.shift()
    session.socket?.send(text)
  }

  const { people, channels, application } = world
  const botGuilds = () => people.membershipsOf(people.bot.id)

  function toGuildCreate(guildId: string): object {
    const ids = people.membersOf(guildId)
    const members = ids.map((id) => toMember(people.somebody(id)!, people.member(id, guildId)!))
    return {
      ...toGuild(people.guilds.get(guildId)!, false),
      joined_at: people.member(people.bot.id, guildId)?.joinedAt,
      large: false,
      unavailable: false,
      member_count: members.length,
      voice_states: [],
      members,
      channels: channels.of(guildId),
      threads: [],
      presences: [],
      stage_instances: [],
      guild_scheduled_events: [],
      soundboard_sounds: [],
    }
  }

  function identify(socket: WebSocket, data: unknown): Session | undefined {
    if (!isRecord(data) || data.token !== botToken) {
      socket.close(4004, 'Authentication failed.')
      return undefined
    }
    if (!Number.isInteger(data.intents)) {
      socket.close(4013, 'Invalid intent(s).')
      return undefined
    }
    if (now() - lastIdentifyAt < IDENTIFY_EVERY_MS) {
      socket.send(JSON.stringify({ op: 9, d: false, s: null, t: null }))
      return undefined
    }
    lastIdentifyAt = now()
    const session: Session = { id: world.newToken(32), intents: Number(data.intents), socket, seq: 0, sent: [] }
    if (sessions.size >= MOST_SESSIONS) sessions.delete(sessions.keys().next().value!)
    sessions.set(session.id, session)
    tell(session, 'READY', {
      v: 10,
      user: toBotUser(people.bot),
      guilds: botGuilds().map(({ id }) => ({ id, unavailable: true })),
      session_id: session.id,
      resume_gateway_url: url(),
      application: { id: application.id, flags: 0 },
      private_channels: [],
      user_settings: {},
      shard: Array.isArray(data.shard) ? data.shard : [0, 1],
    })
    if (session.intents & 1) for (const { id } of botGuilds()) tell(session, 'GUILD_CREATE', toGuildCreate(id))
    return session
  }

  function resume(socket: WebSocket, data: unknown): Session | undefined {
    const session = isRecord(data) && data.token === botToken ? sessions.get(String(data.session_id)) : undefined
    const seq = isRecord(data) ? Number(data.seq) : Number.NaN
    const oldest = session?.sent[0]?.seq ?? 1
    if (!session || !(seq >= oldest - 1 && seq <= session.seq)) {
      socket.send(JSON.stringify({ op: 9, d: false, s: null, t: null }))
      return undefined
    }
    session.socket = socket
    for (const missed of session.sent.filter((one) => one.seq > seq)) socket.send(missed.text)
    tell(session, 'RESUMED', {})
    return session
  }

  function members(session: Session, data: unknown): void {
    if (!isRecord(data)) return
    const guildId = String(data.guild_id)
    const wanted = data.user_ids === undefined ? undefined : [data.user_ids].flat().map(String)
    const query = String(data.query ?? '').toLowerCase()
    const found = people.membersOf(guildId).filter((id) => {
      const user = people.somebody(id)
      return wanted ? wanted.includes(id) : user?.username.toLowerCase().startsWith(query)
    })
    tell(session, 'GUILD_MEMBERS_CHUNK', {
      guild_id: guildId,
      members: found.map((id) => toMember(people.somebody(id)!, people.member(id, guildId)!)),
      chunk_index: 0,
      chunk_count: 1,
      not_found: wanted?.filter((id) => !found.includes(id)) ?? [],
      ...(data.nonce === undefined ? {} : { nonce: data.nonce }),
    })
  }

  function open(socket: WebSocket): void {
    let session: Session | undefined
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      if (session?.socket === socket) session.socket = undefined
    })
    socket.send(JSON.stringify({ op: 10, d: { heartbeat_interval: HEARTBEAT_MS }, s: null, t: null }))
    socket.on('message', (bytes) => {
      let payload: unknown
      try {
        payload = JSON.parse(String(bytes))
      } catch {
        return socket.close(4002, 'Error while decoding payload.')
      }
      if (!isRecord(payload)) return socket.close(4002, 'Error while decoding payload.')
      const { op, d } = payload
      if (op === 1) return socket.send(JSON.stringify({ op: 11, d: null, s: null, t: null }))
      if (op === 2 || op === 6) {
        if (session) return socket.close(4005, 'Already authenticated.')
        session = op === 2 ? identify(socket, d) : resume(socket, d)
        return
      }
      if (op !== 3 && op !== 4 && op !== 8) return socket.close(4001, 'Unknown opcode.')
      if (!session) return socket.close(4003, 'Not authenticated.')
      if (op === 8) members(session, d)
    })
  }

  /** Without the intent a bot reads only what it wrote, what mentions it, and what was written to it alone. */
  function withoutContent(session: Session, guildId: string | null, data: object): object {
    if (session.intents & MESSAGE_CONTENT || guildId === null || !('author' in data)) return data
    const { author, mentions } = data as { author: { id: string }; mentions?: ReadonlyArray<{ id: string }> }
    if (author.id === people.bot.id || mentions?.some(({ id }) => id === people.bot.id)) return data
    return { ...data, content: '', embeds: [], attachments: [], components: [] }
  }

  return {
    upgrade(request, socket, head) {
      const encoding = new URLSearchParams(request.url?.split('?', 2)[1]).get('encoding') ?? 'json'
      const accept = (ws: typeof import('ws')) => {
        if (closed) return void socket.destroy()
        server ??= new ws.WebSocketServer({ noServer: true, maxPayload: 4096 * 4 })
        server.handleUpgrade(request, socket, head, (opened) =>
          encoding === 'json' ? open(opened) : opened.close(4012, 'Only JSON is simulated.'),
        )
      }
      loadWs().then(accept, () =>
        socket.end(
          'HTTP/1.1 501 Not Implemented\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nThe gateway needs the package ws: npm install --save-dev ws\n',
        ),
      )
    },
    dispatch(event, guildId, data) {
      if (sessions.size === 0) return
      const name = Object.keys(INTENTS)
        .filter((prefix) => event.startsWith(prefix))
        .sort((a, b) => b.length - a.length)[0]
      const intent = name === undefined ? 0 : INTENTS[name]![guildId === null ? 1 : 0]
      if (guildId !== null && !people.member(people.bot.id, guildId) && event !== 'GUILD_DELETE') return
      for (const session of sessions.values())
        if (session.intents & intent) tell(session, event, withoutContent(session, guildId, data))
    },
    close() {
      closed = true
      for (const socket of sockets) socket.terminate()
      server?.close()
    },
  }
}

/** Loaded at the first connection. In a `try`, so that bundlers take it for a package that may be missing. */
async function loadWs(): Promise<typeof import('ws')> {
  try {
    return await import('ws')
  } catch (error) {
    throw new Error('the gateway needs the package ws', { cause: error })
  }
}
