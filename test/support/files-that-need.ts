import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** What only a test does that asks for a server, another process, a browser or the built package. */
const SERVERS = /\binject\(|['"]node:(child_process|worker_threads|cluster)['"]|['"]playwright-core['"]|\bdist\//

/** What only a test does that makes up answers at the wire: from then on its worker's sockets are nock's. */
const NOCK = /['"]nock['"]/

/** Whole lines of rooms, with an app and a Discord that are asked over HTTP. */
const JOURNEY = /[\\/]journeys[\\/]/

/**
 * The test files below a folder that need servers or processes, as paths: they say so themselves, or a file of the tests
 * that they import does. So do the journeys, which take longer than a unit may. The others run without any set-up.
 */
export function filesThatNeedServers(folder: string): string[] {
  return filesThat(folder, SERVERS, (file) => JOURNEY.test(file))
}

/** The test files below a folder, as paths, that make up Discord's answers at the wire, or import a file that does. */
export function filesThatNeedNock(folder: string): string[] {
  return filesThat(folder, NOCK)
}

function filesThat(folder: string, say: RegExp, also: (file: string) => boolean = () => false): string[] {
  const known = new Map<string, boolean>()
  const holds = (file: string): boolean => {
    const before = known.get(file)
    if (before !== undefined) return before
    // A circle of imports ends here.
    known.set(file, false)
    const text = readFileSync(file, 'utf8')
    const found =
      say.test(text) ||
      [...text.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)]
        .map(([, path]) => resolve(dirname(file), path!))
        .some((path) => path.startsWith(folder) && existsSync(path) && holds(path))
    known.set(file, found)
    return found
  }
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') && !/[\\/]?(node_modules|long)[\\/]/.test(file))
    .map((file) => join(folder, file))
    .filter((file) => also(file) || holds(file))
}
