import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SharedKey } from '../../src/cache/shared-tier.ts'
import { startRedisServer } from '../support/redis-server.ts'
import type { Room } from './room.ts'

/** A server with a folder of its own, for as long as a test lasts. */
export async function ownServer(args: readonly string[] = []) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
  const server = await startRedisServer(['--dir', folder, ...args])
  return Object.assign(server, {
    folder,
    [Symbol.asyncDispose]: async () => {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  })
}

export const STALE = 600_000
export const guildsOf = (user: string): SharedKey => ({
  id: `\0u${user.length}:${user}guilds`,
  user,
  label: 'guilds',
  version: 'json',
})

export async function store({ entries }: Room, key: SharedKey, text: string, staleMs = STALE): Promise<void> {
  const begun = await entries.begin(key, 60_000, staleMs)
  if (begun?.kind !== 'load') throw new Error(`got ${JSON.stringify(begun)} instead of leave to load`)
  if (!(await entries.write(key, begun.ticket, text, staleMs))) throw new Error('not written')
}

export const textOf = async ({ entries }: Room, key: SharedKey) => (await entries.read(key))?.value?.text
