import type { RawBuilder } from 'kysely'
import type { SqlKind } from '../config/database.ts'

type Sql = typeof import('kysely').sql

// What the two databases say differently when whole lists are given to one statement. Ids and standings are digits, and
// stay text on our side: JavaScript's numbers have no room for them.

/** A whole number as a parameter; SQLite is given all numbers as floating ones. */
export function whole({ sql, kind }: { readonly sql: Sql; readonly kind: SqlKind }, value: number | string) {
  const rounded = typeof value === 'number' ? Math.round(value) : value
  return kind === 'postgres' ? sql`${rounded}::bigint` : sql`cast(${rounded} as integer)`
}

/** A list of whole numbers as a table with the column `value`. */
export function numbers(sql: Sql, kind: SqlKind, values: readonly (string | number)[]): RawBuilder<unknown> {
  const list = values.join(',')
  return kind === 'postgres'
    ? sql`(select unnest(${`{${list}}`}::bigint[]) as value)`
    : sql`(select value from json_each(${`[${list}]`}))`
}

type NumberType = 'bigint' | 'smallint' | 'double precision'

/** Columns of numbers, all of one length, as a table of their rows. */
export function numberRows<Column extends string>(
  sql: Sql,
  kind: SqlKind,
  types: Readonly<Record<Column, NumberType>>,
  columns: Readonly<Record<Column, readonly (string | number)[]>>,
): RawBuilder<unknown> {
  const names = Object.keys(types) as Column[]
  if (kind === 'postgres') {
    const lists = names.map((name) => sql`${`{${columns[name].join(',')}}`}::${sql.raw(types[name])}[]`)
    return sql`(select * from unnest(${sql.join(lists)}) as n (${sql.raw(names.join(', '))}))`
  }
  const lists = names.map((name) => columns[name])
  const rows = lists[0]!.map((_, place) => `[${lists.map((list) => list[place]).join(',')}]`)
  const cells = names.map((name, place) => `json_extract(value, '$[${place}]') as ${name}`)
  return sql`(select ${sql.raw(cells.join(', '))} from json_each(${`[${rows.join(',')}]`}))`
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
