import type { Logger } from '../events/events.ts'
import type { ProxySign } from './client-address.ts'

const WORDS: Readonly<Record<Exclude<ProxySign, 'named'>, string>> = {
  'untrusted header':
    'requests carry X-Forwarded-For, and trustProxy is not set: if a proxy of yours writes it, name it in trustProxy, or all your visitors share one limit',
  'other peer':
    'requests carry X-Forwarded-For and come from an address that trustProxy does not name: if that is a proxy of yours, name it there, or all its visitors share one limit; if it is not, your app can be reached past your proxy',
  'no header':
    'trustProxy names a proxy, and what comes from it says of nobody for whom it speaks: let it send X-Forwarded-For (or the header of its platform), or all its visitors share one limit',
}

/** A health check or a look from the machine itself names nobody either; visitors come in numbers. */
const SILENT_REQUESTS = 100

/**
 * Says, once for each kind of trouble, that what arrives contradicts what was said about proxies: through the logger,
 * and as a warning of the process, because without a logger all visitors would share one limit in silence.
 */
export function proxyWarning(logger: Logger | undefined): (sign: ProxySign) => void {
  const said = new Set<ProxySign>()
  let silent = 0
  return (sign) => {
    if (sign === 'named') {
      silent = Number.NEGATIVE_INFINITY
      return
    }
    if (said.has(sign) || (sign === 'no header' && ++silent < SILENT_REQUESTS)) return
    said.add(sign)
    logger?.warn({}, WORDS[sign])
    process.emitWarning(`holdfast guard: ${WORDS[sign]}`, { type: 'HoldfastWarning', code: 'HOLDFAST_TRUST_PROXY' })
  }
}
