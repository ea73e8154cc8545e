// The control panel's routes. They are there with the simulator only, and change something only for the page itself.
const MOST_BYTES = 200

/** `GET /laboratory/stream`: samples, as server-sent events. `POST /laboratory/trouble`: `{ "trouble": "ban" }`. */
export async function answerLaboratory(laboratory, pathname, request, response, origin) {
  if (pathname === '/laboratory/stream' && request.method === 'GET') return stream(laboratory, response)
  if (pathname === '/laboratory/trouble' && request.method === 'POST') {
    if (request.headers.origin !== origin) return end(response, 403)
    let text = ''
    for await (const chunk of request) {
      text += chunk
      if (text.length > MOST_BYTES) return end(response, 413)
    }
    try {
      laboratory.setTrouble(JSON.parse(text).trouble)
    } catch {
      return end(response, 400)
    }
    return end(response, 204)
  }
  end(response, 404)
}

function stream(laboratory, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const tell = (name, value) => response.write(`event: ${name}\ndata: ${JSON.stringify(value)}\n\n`)
  tell('past', { samples: laboratory.samples, totals: laboratory.totals, trouble: laboratory.trouble })
  response.once(
    'close',
    laboratory.listen((sample) => tell('sample', { sample, totals: laboratory.totals })),
  )
}

function end(response, status) {
  response.writeHead(status, { 'cache-control': 'no-store' }).end()
}
