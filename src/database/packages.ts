import { codeOf } from '../errors/code-of.ts'
import { ConfigError } from '../errors/errors.ts'

// The packages of a database, loaded when one is opened. Each import stands in a `try` of its own: bundlers then take a
// package that is not installed for one that may be missing, and build the apps that use no database (webpack, unlike esbuild, does not look for a `catch`).

export async function loadKysely(): Promise<typeof import('kysely')> {
  try {
    return await import('kysely')
  } catch (error) {
    return missing('kysely', error)
  }
}

export async function loadPg(): Promise<typeof import('pg')> {
  try {
    return await import('pg')
  } catch (error) {
    return missing('pg', error)
  }
}

function missing(name: string, cause: unknown): never {
  // Bundlers that could not find the package throw errors of their own, with the code of CommonJS or none.
  const code = codeOf(cause)
  if (code !== undefined && code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause
  throw new ConfigError('database', `with a database the package ${name} is needed: npm install ${name}`, { cause })
}
