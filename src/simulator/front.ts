import type { Answer } from './answer.ts'
import { notFound } from './answer.ts'
import { preflightLines } from './cross-origin.ts'
import type { Incoming, Ruling } from './exchange.ts'
import type { Messages } from './world/messages.ts'

/** What is asked of the simulator itself, and not of Discord's API: no limits, no faults, not in the ledger. */
export type Front = (incoming: Incoming) => Ruling | Promise<Ruling> | undefined

export function createFront(
  messages: Messages,
  levers: (incoming: Incoming) => Answer | Promise<Answer> | undefined,
): Front {
  const file = (path: string): Answer | undefined => {
    const id = /^\/attachments\/\d+\/(\d+)\/[^/]+$/.exec(path)?.[1]
    if (id === undefined) return undefined
    const stored = messages.file(id)
    if (!stored) return notFound
    return {
      status: 200,
      type: stored.contentType ?? 'application/octet-stream',
      body: stored.data,
      // A file is what somebody sent: it is never run as a page of the simulator's own.
      headers: [
        'content-security-policy',
        'sandbox',
        'x-content-type-options',
        'nosniff',
        'access-control-allow-origin',
        '*',
      ],
      origin: 'discord',
    }
  }

  return (incoming) => {
    const { method, path, headers } = incoming
    const isPreflight = method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
    if (isPreflight && !path.startsWith('/_simulator'))
      return rulingOf({ status: 204, type: null, body: '', headers: preflightLines(headers), origin: 'discord' })
    const answer = levers(incoming) ?? (method === 'GET' ? file(path) : undefined)
    return answer instanceof Promise ? answer.then(rulingOf) : answer && rulingOf(answer)
  }
}

function rulingOf({ status, type, body, headers }: Answer): Ruling {
  const lines = [...headers]
  if (type !== null) lines.push('content-type', type)
  if (status !== 204) lines.push('content-length', String(Buffer.byteLength(body)))
  return { status, headers: lines, body, delivery: 'whole', paceMs: 0, delayMs: 0 }
}
