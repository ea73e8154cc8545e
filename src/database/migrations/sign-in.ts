import type { Migration } from './migration.ts'

/** The tables of the login (`sign-in-rows.ts`). Session ids, states and codes are only there as hashes; tokens only sealed. */
export const signIn: Migration = async ({ database, sql, kind }) => {
  const bytes = sql.raw(kind === 'postgres' ? 'bytea' : 'blob')
  await sql`create table holdfast_session (
    id_hash text not null primary key,
    user_id text not null,
    created_at double precision not null,
    seen_at double precision not null
  )`.execute(database)
  await sql`create index holdfast_session_user on holdfast_session (user_id)`.execute(database)
  await sql`create index holdfast_session_created on holdfast_session (created_at)`.execute(database)
  await sql`create table holdfast_token (
    user_id text not null primary key,
    row_id text not null,
    version integer not null,
    sealed ${bytes} not null,
    signed_in_at double precision not null
  )`.execute(database)
  await sql`create table holdfast_refresh (
    user_id text not null primary key,
    holder text not null,
    until_at double precision not null
  )`.execute(database)
  await sql`create table holdfast_attempt (
    attempt text not null primary key,
    code text not null,
    state text not null,
    outcome ${bytes},
    until_at double precision not null
  )`.execute(database)
}
