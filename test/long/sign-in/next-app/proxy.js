import { guardProxy } from 'holdfast/next'
import { NextResponse } from 'next/server'

const MANY = { limit: 1_000_000, windowMs: 3_600_000 }

export const proxy = guardProxy(
  {
    remoteAddress: () => '127.0.0.1',
    trustProxy: 'loopback',
    shedding: false,
    publicPaths: ['/open/*', '/api/heap'],
    rules: {
      '/api/chat': { name: 'chat', ...MANY },
      '/dl/*': { name: 'dl', ...MANY },
      'POST /api/only-post': { name: 'only-post', ...MANY },
      '/api/once': { name: 'once', limit: 100, windowMs: 3_600_000 },
    },
  },
  (request) => {
    const { pathname } = request.nextUrl
    if (pathname === '/old') return NextResponse.redirect(new URL('/new', request.url))
    if (pathname === '/renamed') return NextResponse.rewrite(new URL('/api/once', request.url))
    if (pathname === '/silent') return undefined
    const headers = new Headers(request.headers)
    headers.set('x-composed', 'yes')
    return NextResponse.next({ request: { headers }, headers: { 'x-from-proxy': 'yes' } })
  },
)

export const config = {
  matcher: ['/', '/((?!_next/static|favicon\\.ico|.*\\.(?:png|jpg|jpeg|gif|svg|webp|avif|ico|css|js|woff2?)$).*)'],
}
