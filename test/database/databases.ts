import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'

/** An empty database for one test. */
export interface TestDatabase {
  readonly url: string
  /** Rows of a statement, asked past the library; `?` stands for a parameter. */
  query(sql: string, parameters?: readonly unknown[]): Promise<Array<Record<string, unknown>>>
  drop(): Promise<void>
}

let made = 0

async function sqlite(): Promise<TestDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'))
  const path = join(folder, 'vault.db')
  const { DatabaseSync } = await import('node:sqlite')
  return {
    url: `sqlite:${path}`,
    async query(sql, parameters = []) {
      const database = new DatabaseSync(path)
      try {
        return database.prepare(sql).all(...(parameters as string[])) as Array<Record<string, unknown>>
      } finally {
        database.close()
      }
    },
    drop: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

async function postgres(): Promise<TestDatabase> {
  const server = inject('postgresUrl')!
  const name = `holdfast_${process.pid}_${++made}`
  const ask = async (url: string, sql: string, parameters: readonly unknown[] = []) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      let index = 0
      return (
        await client.query(
          sql.replace(/\?/g, () => `$${++index}`),
          [...parameters],
        )
      ).rows
    } finally {
      await client.end()
    }
  }
  await ask(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    query: (sql, parameters) => ask(url.href, sql, parameters),
    drop: async () => void (await ask(server, `drop database ${name} with (force)`)),
  }
}

/** Every database there is here: [name, how to make one]. */
export const DATABASES: ReadonlyArray<readonly [string, () => Promise<TestDatabase>]> = [
  ['SQLite', sqlite],
  ...(inject('postgresUrl') ? [['PostgreSQL', postgres] as const] : []),
]

/** Stands between a client and a server, and can hold its tongue or hang up. */
export async function wireTo(
  url: string,
): Promise<{ url: string; freeze(): void; cut(): void; mend(): void; close(): void }> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let state: 'open' | 'frozen' | 'cut' = 'open'
  const server = createServer((client) => {
    if (state === 'cut') return client.destroy()
    const upstream = connect(Number(target.port), target.hostname)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('data', (data) => void (state === 'open' && other.write(data)))
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    return undefined
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const own = new URL(url)
  own.port = String((server.address() as { port: number }).port)
  const hangUp = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: own.href,
    freeze: () => {
      state = 'frozen'
    },
    cut: () => {
      state = 'cut'
      hangUp()
    },
    mend: () => {
      state = 'open'
      hangUp()
    },
    close: () => {
      hangUp()
      server.close()
    },
  }
}
