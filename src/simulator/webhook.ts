import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { alarm, type Clock } from '../time/clock.ts'
import type { Application } from './world/application.ts'

/** What one webhook delivery says; Discord's webhook event bodies, version 1. */
export type WebhookBody =
  | { readonly type: 0 }
  | { readonly type: 1; readonly event: { readonly type: string; readonly data: unknown } }

/** Discord waits this long for the answer. */
const ANSWER_WITHIN_MS = 3000

/**
 * Posts one signed webhook event and resolves to the HTTP status of the answer; 0 when nobody answered within 3 s or
 * the sender was closed. Never rejects for what the receiver does.
 */
export function postWebhook(
  url: string,
  body: WebhookBody,
  application: Application,
  clock: Clock,
  closed: AbortSignal,
  forged = false,
): Promise<number> {
  const target = new URL(url)
  const now = new Date(clock.now()).toISOString()
  const event = body.type === 1 ? { event: { type: body.event.type, timestamp: now, data: body.event.data } } : {}
  const text = JSON.stringify({ version: 1, application_id: application.id, type: body.type, ...event })
  const timestamp = String(Math.floor(clock.now() / 1000))
  const signature = application.sign(timestamp + text + (forged ? ' ' : ''))
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest

  return new Promise((resolve) => {
    const finish = (status: number) => {
      cancel()
      closed.removeEventListener('abort', giveUp)
      resolve(status)
    }
    const request = send(
      target,
      {
        method: 'POST',
        agent: false,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          'user-agent': 'Discord-Webhook/1.0 (+https://discord.com)',
          'x-signature-ed25519': signature,
          'x-signature-timestamp': timestamp,
        },
      },
      (response) => {
        // Only when the connection has ended is there nothing left to close.
        response.once('close', () => finish(response.statusCode ?? 0))
        response.on('error', () => {})
        response.resume()
      },
    )
    const giveUp = () => {
      request.destroy()
      finish(0)
    }
    const cancel = alarm(clock, ANSWER_WITHIN_MS, giveUp)
    closed.addEventListener('abort', giveUp, { once: true })
    request.on('error', () => finish(0))
    request.end(text)
  })
}
