import { actionAuth, pageAuth } from 'holdfast/next'
import { revalidatePath } from 'next/cache'
import { holdfast } from '../lib/holdfast.js'

const names = new Map() // your database

async function rename(guild, form) {
  'use server'
  const auth = await actionAuth({ holdfast, guild, permissions: 'ManageGuild' })
  if (!auth) throw new Error('signed out')
  names.set(auth.guild.id, String(form.get('name')))
  revalidatePath('/')
}

export default async function Page() {
  const auth = await pageAuth({ holdfast })
  if (!auth) return <a href="/auth/discord">Sign in with Discord</a>
  return [...auth.guilds].map(({ id, name }) => (
    <form key={id} action={rename.bind(null, id)}>
      {names.get(id) ?? name} of {auth.user.username}
      {auth.guilds.can(id, 'ManageGuild') && <input name="name" aria-label="New name, then Enter" />}
    </form>
  ))
}
