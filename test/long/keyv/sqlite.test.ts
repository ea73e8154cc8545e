import { DatabaseSync } from 'node:sqlite'
import Keyv from 'keyv'
import { describe } from 'vitest'
import { sharedTierContract } from '../../contracts/shared-tier.ts'
import { openStoreMembers } from '../../keyv/members.ts'

let opened = 0
const prefix = () => `t${++opened}:`

describe('a store that was handed in', () => {
  const database = new DatabaseSync(':memory:')
  database.exec('CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT, ends INTEGER)')
  const sqlite = {
    get: async (key: string) => {
      const row = database.prepare('SELECT value FROM entries WHERE key = ? AND ends > ?').get(key, Date.now())
      return row?.value
    },
    set: async (key: string, value: string, lasts = 0) => {
      database.prepare('INSERT OR REPLACE INTO entries VALUES (?, ?, ?)').run(key, value, Date.now() + lasts)
      return true
    },
    clear: async () => database.exec('DELETE FROM entries'),
    delete: async (key: string) => database.prepare('DELETE FROM entries WHERE key = ?').run(key).changes > 0,
  }
  const onSqlite = new Keyv({ store: sqlite })
  sharedTierContract('a Keyv on SQLite', (count) => openStoreMembers(count, onSqlite, prefix()), { lesser: true })
})
