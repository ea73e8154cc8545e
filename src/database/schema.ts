/**
 * The tables, as Kysely knows them. Numbers are doubles and flags 0 or 1, because both databases give those back alike.
 * The ledger's tables are not here: it asks for whole users at once, in SQL of its own.
 */
export interface Tables {
  holdfast_migration: { name: string; at: number }
  /** Texts of the house's own, sealed: the naming key. */
  holdfast_sealed: { name: string; sealed: Uint8Array }
  holdfast_owner_key: {
    id: string
    /** An HMAC of the key. */
    name: string
    owner: string
    sealed: Uint8Array
    version: number
    is_primary: number
    call_limit: number | null
    created_at: number
    last_used_at: number | null
    deleted_at: number | null
  }
}
