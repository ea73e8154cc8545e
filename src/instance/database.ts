import type { DatabaseConfig } from '../config/database.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'

/** The one database of an instance. Its code is loaded when somebody first needs it; undefined where none is configured. */
export function sharedDatabase(config: DatabaseConfig | undefined, events: Events) {
  if (!config) return undefined
  let opening: Promise<Database> | undefined
  const open = () => {
    opening ??= import('../database/database.ts').then(({ Database }) => new Database(config, events))
    return opening
  }
  return {
    open,
    async close(): Promise<void> {
      await (await opening)?.close()
    },
  }
}
