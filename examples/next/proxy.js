import { guardProxy } from 'holdfast/next'
import { holdfast } from './lib/holdfast.js'

// Behind a reverse proxy on this machine, which says who asks in X-Forwarded-For.
const remoteAddress = () => '127.0.0.1'
export const proxy = guardProxy({ holdfast, remoteAddress, trustProxy: 'loopback', rules: { '/api/*': '60/minute' } })

// Chunks and files of `public` cost nothing, and are not asked about.
export const config = {
  matcher: ['/', '/((?!_next/static|favicon\\.ico|.*\\.(?:png|jpg|jpeg|gif|svg|webp|avif|ico|css|js|woff2?)$).*)'],
}
