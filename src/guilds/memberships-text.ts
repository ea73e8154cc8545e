import type { GuildRecord } from './guild-table.ts'
import { newRecord } from './guild-table.ts'
import { packStandings, type Standings } from './standings.ts'

/**
 * Memberships as text, for where they are kept outside the process: three lines. What is asked most stands together,
 * and is searched as it is; the rest is not even parsed before somebody looks at it.
 *
 *     ,<id>:<0 or 1 for the owner><permissions, decimal>,…,
 *     JSON of the names
 *     JSON of the icons, in the same order
 */
export type MembershipsText = string

export const TEXT_VERSION = 'm1'

/** A list taken apart: its guilds, and what the user is in them, in the same order. */
export interface ReadList {
  readonly records: readonly GuildRecord[]
  readonly standings: Standings
}

const ONE = '1'.charCodeAt(0)
const DECIMAL = /^\d{1,40}$/

export const isDecimal = (text: unknown): text is string => typeof text === 'string' && DECIMAL.test(text)

export function writeText(
  size: number,
  at: (place: number) => { id: string; name: string; icon: string | null; owner: boolean; permissions: bigint },
): MembershipsText {
  let standings = ','
  const names: string[] = []
  const icons: Array<string | null> = []
  for (let place = 0; place < size; place++) {
    const { id, name, icon, owner, permissions } = at(place)
    standings += `${id}:${owner ? 1 : 0}${permissions},`
    names.push(name)
    icons.push(icon)
  }
  return `${standings}\n${JSON.stringify(names)}\n${JSON.stringify(icons)}`
}

/** Throws TypeError for what no `writeText` wrote; the lines themselves are vouched for by the seal around them. */
export function checkText(text: string): void {
  const first = text.indexOf('\n')
  const second = text.indexOf('\n', first + 1)
  if (
    first < 1 ||
    second < 0 ||
    second === first + 1 ||
    second === text.length - 1 ||
    text.indexOf('\n', second + 1) >= 0
  )
    throw new TypeError('memberships have three lines')
  if (text.charCodeAt(0) !== COMMA || text.charCodeAt(first - 1) !== COMMA) throw new TypeError('memberships were cut')
}

const COMMA = ','.charCodeAt(0)

/** One guild's cell, as it stands in the text; undefined where the user is not in it. */
export function standingInText(
  text: MembershipsText,
  guildId: string,
): { readonly owner: boolean; readonly permissions: bigint } | undefined {
  // Only an id: what has more in it could begin in one guild's cell and end in another's.
  if (!DECIMAL.test(guildId)) return undefined
  const end = text.indexOf('\n')
  const at = text.lastIndexOf(`,${guildId}:`, end)
  if (at < 0) return undefined
  const cell = text.slice(at + guildId.length + 2, text.indexOf(',', at + 1))
  return { owner: cell.charCodeAt(0) === ONE, permissions: BigInt(cell.slice(1)) }
}

export function readText(text: MembershipsText): ReadList {
  const [standings, namesText, iconsText] = text.split('\n') as [string, string, string]
  const names: string[] = JSON.parse(namesText)
  const icons: Array<string | null> = JSON.parse(iconsText)
  const cells = standings.slice(1, -1).split(',')
  const count = standings.length < 2 ? 0 : cells.length
  const records: GuildRecord[] = []
  for (let place = 0; place < count; place++) {
    const cell = cells[place]!
    // Copied: a slice would keep the whole text alive.
    const id = copied(cell.slice(0, cell.indexOf(':')))
    records.push(newRecord(id, names[place]!, icons[place] ?? null))
  }
  return {
    records,
    standings: packStandings(
      count,
      (place) => cells[place]!.slice(cells[place]!.indexOf(':') + 2),
      (place) => cells[place]!.charCodeAt(cells[place]!.indexOf(':') + 1) === ONE,
    ),
  }
}

const copied = (digits: string): string => Buffer.from(digits, 'latin1').toString('latin1')
