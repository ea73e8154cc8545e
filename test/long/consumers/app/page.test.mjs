import { createHoldfast, isAuthError } from 'holdfast'
import { startSimulator } from 'holdfast/simulator'

let discord
let holdfast
beforeAll(async () => {
  discord = await startSimulator({ users: 1 })
  holdfast = createHoldfast({ discord: { baseUrl: discord.url, clientId: discord.clientId } })
})
afterAll(async () => {
  await holdfast.close()
  await discord.close()
})

test('who is signed in sees their guilds', async () => {
  const headers = new Headers({ authorization: `Bearer ${discord.users[0].accessToken}` })
  const { guilds } = await holdfast.requireAuth({ headers, method: 'GET' })
  expect(guilds.size).toBe(20)
})

test('who is not is refused, and objects of this realm can be cached', async () => {
  const error = await holdfast.requireAuth({ headers: new Headers(), method: 'GET' }).catch((reason) => reason)
  expect(isAuthError(error)).toBe(true)
  const value = { list: [1, 2], at: 'now' }
  const held = await holdfast.cache.get('settings', { load: async () => value })
  expect(held.value).toEqual(value)
})
