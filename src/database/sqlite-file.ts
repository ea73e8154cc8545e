import { open, stat } from 'node:fs/promises'
import { codeOf } from '../errors/code-of.ts'
import { HoldfastError } from '../errors/errors.ts'

/** Every SQLite database begins with this (sqlite.org/fileformat2.html, 1.3). */
const HEADER = 'SQLite format 3\u0000'
/** Where in the header a program leaves its name, a big-endian number. */
const APPLICATION_ID_AT = 68
/** Ours: 'Hfst'. */
export const APPLICATION_ID = 0x48667374

/**
 * Looks at a file before SQLite opens it, because opening may write: a folder, a file that is no database, and a database
 * that carries another program's name are refused with DATABASE_FOREIGN, and stay as they are. A file that is not there,
 * or empty, passes: it becomes a database of ours.
 */
export async function refuseForeignFile(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) throw foreign('a folder')
    const file = await open(path, 'r')
    try {
      const header = Buffer.alloc(100)
      const { bytesRead } = await file.read(header, 0, header.length, 0)
      if (bytesRead === 0) return
      if (bytesRead < header.length || header.toString('latin1', 0, HEADER.length) !== HEADER)
        throw foreign('no SQLite database')
      const name = header.readUInt32BE(APPLICATION_ID_AT)
      if (name !== 0 && name !== APPLICATION_ID) throw foreign("another program's database")
    } finally {
      await file.close()
    }
  } catch (error) {
    // What cannot be looked at cannot be opened either, and that says more.
    if (error instanceof HoldfastError) throw error
    if (!['ENOENT', 'EACCES', 'EPERM', 'ENOTDIR'].includes(codeOf(error) ?? '')) throw error
  }
}

/** Which file a path leads to now; undefined where there is none. */
export async function fileIdentity(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path)
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}

export function foreign(what: string): HoldfastError {
  return new HoldfastError(
    'DATABASE_FOREIGN',
    `the path of the database leads to ${what}; it was left as it is. Give Holdfast a file of its own`,
  )
}
