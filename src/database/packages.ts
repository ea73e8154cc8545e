import { codeOf } from '../errors/code-of.ts'
import { ConfigError } from '../errors/errors.ts'

// The packages of a database, loaded when one is opened. Each import carries its own `catch`: a bundler then takes a
// package that is not installed for one that may be missing, and builds the apps that use no database.

export function loadKysely(): Promise<typeof import('kysely')> {
  return import('kysely').catch((error: unknown) => missing('kysely', error))
}

export function loadPg(): Promise<typeof import('pg')> {
  return import('pg').catch((error: unknown) => missing('pg', error))
}

function missing(name: string, cause: unknown): never {
  // Bundlers that could not find the package throw errors of their own, with the code of CommonJS or none.
  const code = codeOf(cause)
  if (code !== undefined && code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause
  throw new ConfigError('database', `with a database the package ${name} is needed: npm install ${name}`, { cause })
}
