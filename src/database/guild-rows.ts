/** A guild of a list, as the query for it makes one: its name and icon are null where their row is gone. */
export type GuildRow = readonly [id: string, standing: string, name: string | null, icon: string | null]

/** The guilds that a query gathered as one JSON text. */
export function guildRows(text: unknown): readonly GuildRow[] {
  return JSON.parse(typeof text === 'string' ? text : '[]')
}
