// What apps do without Holdfast: fetch, and a loop that does what Retry-After says.
const TRIES = 4
const TIMEOUT_MS = 10_000

export async function fetchGuilds(api, authorization) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${api}/users/@me/guilds`, {
      headers: { authorization, 'user-agent': 'DiscordBot (https://example.com, 1.0.0)' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (response.ok) return response.json()
    if (response.status !== 429 || attempt === TRIES) {
      await response.body?.cancel()
      throw new Error(`Discord answered ${response.status}`)
    }
    const seconds = Number(response.headers.get('retry-after') ?? 1)
    await response.body?.cancel()
    // Nobody waits longer for a page.
    if (seconds > TIMEOUT_MS / 1000) throw new Error(`Discord asks for ${seconds} s`)
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  }
}
