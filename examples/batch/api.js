// A small API that counts: so many calls a minute for each user, whichever of the user's keys they come with. One item
// of it is broken, and one key is revoked after a while.
import { createServer } from 'node:http'

const BROKEN_ITEM = '13'
const REVOKED = { key: 'key-2-of-ann', afterCalls: 60 }

export async function startApi({ users, limit, windowMs }) {
  const windows = new Map()
  const api = { calls: 0, refused: 0, url: '', most: 0, close: () => server.close() }

  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://api.example')
    const user = users[searchParams.get('key')]
    if (!user) return send(response, 403, { error: 'Incorrect key' })
    if (pathname === '/key/owner') return send(response, 200, { user })

    api.calls++
    const isRevoked = searchParams.get('key') === REVOKED.key && api.calls > REVOKED.afterCalls
    if (isRevoked) return send(response, 403, { error: 'This key was revoked' })
    const now = performance.now()
    let window = windows.get(user)
    // A window begins with its first call.
    if (!window || now >= window.endsAt) windows.set(user, (window = { used: 0, endsAt: now + windowMs }))
    const headers = {
      'x-ratelimit-limit': limit,
      'x-ratelimit-reset-after': ((window.endsAt - now) / 1000).toFixed(3),
    }
    if (window.used >= limit) {
      api.refused++
      return send(
        response,
        429,
        { error: 'Too many requests' },
        {
          ...headers,
          'x-ratelimit-remaining': 0,
          'retry-after': Math.ceil((window.endsAt - now) / 1000),
        },
      )
    }
    window.used++
    const item = pathname.slice('/item/'.length)
    if (item === BROKEN_ITEM) return send(response, 500, { error: 'This item is broken' })
    api.most = Math.max(api.most, window.used)
    send(
      response,
      200,
      { item, price: pathname.length * 7 },
      { ...headers, 'x-ratelimit-remaining': limit - window.used },
    )
  })

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  api.url = `http://127.0.0.1:${server.address().port}`
  return api
}

function send(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
