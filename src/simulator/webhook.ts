import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { alarm, type Clock, type Milliseconds } from '../time/clock.ts'
import type { Application } from './world/application.ts'

/** What one webhook delivery says; Discord's webhook event bodies, version 1. */
export type WebhookBody =
  | { readonly type: 0 }
  | { readonly type: 1; readonly event: { readonly type: string; readonly data: unknown } }

/** What an endpoint answered; status 0 when nobody did within 3 s, or the simulator closed. */
export interface Delivered {
  readonly status: number
  readonly text: string
}

/** Sends what Discord would send to an app's endpoints, signed (Ed25519). */
export interface Deliveries {
  /** One signed POST. Never rejects for what the receiver does. */
  post(url: string, text: string, forged?: boolean): Promise<Delivered>
  /**
   * A webhook event; one that is not answered with 2xx is sent again, after 10 s, 20 s, 40 s and so on, for ten
   * minutes. Resolves with the first answer's status.
   */
  event(url: string, body: WebhookBody, forged?: boolean): Promise<number>
}

/** Discord waits this long for the answer. */
const ANSWER_WITHIN_MS = 3000
const FIRST_RETRY_MS = 10_000
const RETRY_FOR_MS = 600_000
/** No app's answer to an interaction is longer. */
const MAX_ANSWER_BYTES = 1024 * 1024

export function createDeliveries(application: Application, clock: Clock, closed: AbortSignal): Deliveries {
  function post(url: string, text: string, forged = false): Promise<Delivered> {
    if (closed.aborted) return Promise.resolve({ status: 0, text: '' })
    const target = new URL(url)
    const timestamp = String(Math.floor(clock.now() / 1000))
    const signature = application.sign(timestamp + text + (forged ? ' ' : ''))
    const send = target.protocol === 'https:' ? httpsRequest : httpRequest
    return new Promise((resolve) => {
      const finish = (status: number, answer = '') => {
        cancel()
        closed.removeEventListener('abort', giveUp)
        resolve({ status, text: answer })
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
          const chunks: Buffer[] = []
          let size = 0
          response.on('data', (chunk: Buffer) => {
            size += chunk.length
            if (size <= MAX_ANSWER_BYTES) chunks.push(chunk)
          })
          // Only when the connection has ended is there nothing left to close.
          response.once('close', () => finish(response.statusCode ?? 0, Buffer.concat(chunks).toString()))
          response.on('error', () => {})
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

  function again(url: string, text: string, waitMs: Milliseconds, spentMs: Milliseconds): void {
    if (closed.aborted || spentMs + waitMs > RETRY_FOR_MS) return
    const cancel = alarm(clock, waitMs, async () => {
      closed.removeEventListener('abort', cancel)
      const { status } = await post(url, text)
      if (status < 200 || status > 299) again(url, text, waitMs * 2, spentMs + waitMs)
    })
    closed.addEventListener('abort', cancel, { once: true })
  }

  return {
    post,
    async event(url, body, forged = false) {
      const timestamp = new Date(clock.now()).toISOString()
      const event = body.type === 1 ? { event: { type: body.event.type, timestamp, data: body.event.data } } : {}
      const text = JSON.stringify({ version: 1, application_id: application.id, type: body.type, ...event })
      const { status } = await post(url, text, forged)
      if (body.type === 1 && (status < 200 || status > 299)) again(url, text, FIRST_RETRY_MS, 0)
      return status
    },
  }
}
