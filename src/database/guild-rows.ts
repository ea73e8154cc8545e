/** A guild of a list; its name is null where its row is gone. */
interface GuildInText {
  readonly id: string
  readonly standing: string
  readonly name: string | null
  readonly icon: string | null
}

/** The guilds that a query gathered as one JSON text of four columns: ids and standings in one text each, names, icons. */
export function guildsInText(text: unknown): readonly GuildInText[] {
  const columns = JSON.parse(typeof text === 'string' ? text : '[]')
  const [ids, standings, names, icons] = columns as [string | null, string | null, (string | null)[], (string | null)[]]
  // Of no rows a database makes no text.
  if (!ids || !standings) return []
  const standingOf = standings.split(',')
  return ids.split(',').map((id, place) => ({
    id,
    standing: standingOf[place]!,
    name: names[place] ?? null,
    icon: icons[place] ?? null,
  }))
}
