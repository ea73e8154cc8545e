import { actionAuth, pageAuth } from 'holdfast/next'
import { holdfast } from '../lib/holdfast.js'

async function greet() {
  'use server'
  const auth = await actionAuth({ holdfast })
  if (!auth) throw new Error('signed out')
}

export default async function Page() {
  const auth = await pageAuth({ holdfast })
  if (!auth) return <a href="/auth/discord?returnTo=/">Sign in with Discord</a>
  return (
    <main>
      <h1>{auth.user.username}</h1>
      <ul>
        {[...auth.guilds].map(({ id, name }) => (
          <li key={id}>{name}</li>
        ))}
      </ul>
      <form action={greet}>
        <button type="submit">Greet</button>
      </form>
    </main>
  )
}
