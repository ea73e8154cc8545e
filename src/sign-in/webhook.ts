import type { Signatures } from '../secrets/signature.ts'
import type { Milliseconds } from '../time/clock.ts'
import type { LoginRefusal } from './answers.ts'

/** Discord's events are small. */
const LARGEST_EVENT_BYTES = 256 * 1024
/** Discord delivers again for ten minutes; what is older is a replay. */
const OLDEST_EVENT_MS: Milliseconds = 15 * 60 * 1000

/** What a webhook event asks of us; `ping` and events that we do nothing about ask nothing. */
export type WebhookEvent =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'deauthorized'; readonly userId: string; readonly at: Milliseconds }
  | { readonly kind: 'refused'; readonly reason: LoginRefusal }

/**
 * Reads one of Discord's webhook events: the signature (Ed25519 over timestamp and raw body) before anything else, then
 * its age, then the application it is for. Source: Discord's docs, "Webhook Events".
 */
export function readWebhook(
  body: Uint8Array,
  headers: Headers,
  expected: { readonly signatures: Signatures; readonly clientId: string; readonly now: Milliseconds },
): WebhookEvent {
  const timestamp = headers.get('x-signature-timestamp') ?? ''
  const signature = headers.get('x-signature-ed25519') ?? ''
  const signed = Buffer.concat([Buffer.from(timestamp), body])
  if (timestamp === '' || !expected.signatures.fits(signed, signature)) return refused('signature')
  const sentAt = Number(timestamp) * 1000
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(expected.now - sentAt) > OLDEST_EVENT_MS) return refused('old')
  const event = parse(body)
  if (!event) return refused('body')
  if (event.application_id !== expected.clientId) return refused('application')
  if (event.type === 0) return { kind: 'nothing' }
  if (event.type !== 1) return refused('body')
  const { type, timestamp: happenedAt, data } = event.event ?? {}
  if (type !== 'APPLICATION_DEAUTHORIZED') return { kind: 'nothing' }
  const userId: unknown = data?.user?.id
  const at = typeof happenedAt === 'string' ? Date.parse(happenedAt) : Number.NaN
  if (typeof userId !== 'string' || !/^\d{1,20}$/.test(userId) || Number.isNaN(at)) return refused('body')
  return { kind: 'deauthorized', userId, at }
}

/** The raw body; undefined where it is too large. */
export async function readBody(request: Request): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get('content-length')) > LARGEST_EVENT_BYTES) return undefined
  const chunks: Uint8Array[] = []
  let bytes = 0
  if (request.body)
    for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength
      if (bytes > LARGEST_EVENT_BYTES) return undefined
      chunks.push(chunk)
    }
  return Buffer.concat(chunks)
}

interface Sent {
  readonly application_id?: unknown
  readonly type?: unknown
  readonly event?: {
    readonly type?: unknown
    readonly timestamp?: unknown
    readonly data?: { readonly user?: { readonly id?: unknown } }
  }
}

function parse(body: Uint8Array): Sent | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Sent) : undefined
  } catch {
    return undefined
  }
}

const refused = (reason: LoginRefusal): WebhookEvent => ({ kind: 'refused', reason })
