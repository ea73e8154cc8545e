import type { RawBuilder } from 'kysely'
import type { SqlKind } from '../config/database.ts'

type Sql = typeof import('kysely').sql

// What the two databases say differently when whole lists are given to one statement. Ids and standings are digits, and
// stay text on our side: JavaScript's numbers have no room for them.

/** A list of whole numbers as a table with the column `value`. */
export function numbers(sql: Sql, kind: SqlKind, values: readonly (string | number)[]): RawBuilder<unknown> {
  const list = values.join(',')
  return kind === 'postgres'
    ? sql`(select unnest(${`{${list}}`}::bigint[]) as value)`
    : sql`(select value from json_each(${`[${list}]`}))`
}

export interface MembershipRow {
  readonly no: number
  readonly guildId: string
  readonly standing: string
}

/** Memberships as a table with the columns `no`, `guild_id` and `standing`. */
export function memberships(sql: Sql, kind: SqlKind, rows: readonly MembershipRow[]): RawBuilder<unknown> {
  if (kind === 'postgres') {
    const column = (name: keyof MembershipRow) => `{${rows.map((row) => row[name]).join(',')}}`
    return sql`(select * from unnest(${column('no')}::bigint[], ${column('guildId')}::bigint[], ${column('standing')}::bigint[]) as n (no, guild_id, standing))`
  }
  const text = `[${rows.map(({ no, guildId, standing }) => `[${no},${guildId},${standing}]`).join(',')}]`
  return sql`(select json_extract(value, '$[0]') as no, json_extract(value, '$[1]') as guild_id, json_extract(value, '$[2]') as standing from json_each(${text}))`
}

export interface NamedRow {
  readonly id: string
  readonly name: string | null
  readonly icon: string | null
}

/** Guilds as a table with the columns `id`, `name` and `icon`. */
export function named(sql: Sql, kind: SqlKind, rows: readonly NamedRow[]): RawBuilder<unknown> {
  const text = JSON.stringify(rows.map(({ id, name, icon }) => ({ id, name, icon })))
  return kind === 'postgres'
    ? sql`(select id, name, icon from jsonb_to_recordset(${text}::jsonb) as n (id bigint, name text, icon text))`
    : sql`(select cast(json_extract(value, '$.id') as integer) as id, json_extract(value, '$.name') as name, json_extract(value, '$.icon') as icon from json_each(${text}))`
}

/** A text that every database can keep: no NUL, no half of a surrogate pair. */
export function storable(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed()
}
