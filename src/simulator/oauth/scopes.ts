import type { OAuth2Scopes } from 'discord-api-types/v10'

/** Every scope of Discord's documentation; true: any application may ask for it, false: only after Discord approved. */
const SCOPES: Readonly<Record<`${OAuth2Scopes}`, boolean>> = {
  'activities.read': false,
  'activities.write': false,
  'applications.builds.read': true,
  'applications.builds.upload': false,
  'applications.commands': true,
  'applications.commands.permissions.update': true,
  'applications.commands.update': true,
  'applications.entitlements': true,
  'applications.store.update': true,
  bot: true,
  connections: true,
  'dm_channels.read': false,
  email: true,
  'gdm.join': true,
  guilds: true,
  'guilds.join': true,
  'guilds.members.read': true,
  identify: true,
  'identify.premium': true,
  'messages.read': true,
  'relationships.read': false,
  'role_connections.write': true,
  rpc: false,
  'rpc.activities.write': false,
  'rpc.notifications.read': false,
  'rpc.voice.read': false,
  'rpc.voice.write': false,
  voice: false,
  'webhook.incoming': true,
}

/** What an application may ask for that Discord has approved nothing for. */
export const OPEN_SCOPES: readonly string[] = Object.entries(SCOPES).flatMap(([name, open]) => (open ? [name] : []))

export function isScope(name: string): boolean {
  return Object.hasOwn(SCOPES, name)
}

/** The scopes of a request, apart; Discord takes spaces and plus signs. */
export function scopesOf(text: string | null): ReadonlySet<string> {
  return new Set((text ?? '').split(/[ +]+/).filter(Boolean))
}
