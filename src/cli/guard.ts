import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { type ExplainedRule, explainGuard, type GuardOptions } from 'holdfast'
import { table } from './terminal.ts'

const USAGE = "takes a FILE that exports rules, and a PATH: holdfast guard ./guard.js 'POST /api/chat'"

/** `guard [FILE] [PATH]`: the rules as the guard reads them, which one a path has, and why. */
export async function guard(words: readonly string[]): Promise<number> {
  const paths = words.filter((word) => /^([A-Z]+ +)?\/|^[A-Z]+$/.test(word) && !isFile(word))
  const files = words.filter((word) => !paths.includes(word))
  const asked = paths.length > 0 ? paths.join(' ') : undefined
  const isNoPath = asked !== undefined && !/^([A-Z]+ +)?\/\S*$/.test(asked)
  if (files.length > 1 || isNoPath || words.some((word) => word.startsWith('-'))) throw new Error(USAGE)
  const options = files[0] === undefined ? {} : optionsIn(files[0])
  const { rules, path } = explainGuard(options, asked)
  const print = (text: string) => process.stdout.write(`${text}\n`)
  if (!path) {
    print(table(['pattern, the most specific first', 'without a user', 'signed in'], rules.map(row)))
    return 0
  }
  print(`${path.method} ${path.readings === 'any' ? '(any path)' : path.readings.join('\n  or ')}`)
  print(`  ${path.free ?? path.rule.pattern}: ${path.why}`)
  if (path.free) return 0
  print(`  without a user: ${path.rule.anonymous.join(' and ')}`)
  print(`  signed in:      ${path.rule.signedIn.join(' and ')}`)
  if (path.rule.byCaller) print('  the rule is a function: these are the limits of somebody of whom nothing is known')
  return 0
}

const isFile = (word: string) => /\.[cm]?[jt]s$/.test(word)

const row = ({ pattern, isDefault, byCaller, anonymous, signedIn }: ExplainedRule) => [
  `${pattern}${isDefault ? ' (default)' : ''}${byCaller ? ' (by caller)' : ''}`,
  anonymous.join(' and '),
  signedIn.join(' and '),
]

/** What a module says of a guard: its options, or rules alone. */
function optionsIn(file: string): GuardOptions {
  const module = load(file)
  const found = module.guard ?? module.rules ?? module.default
  if (typeof found !== 'object' || found === null)
    throw new Error(`${file} exports no rules: export const rules = { '/api/*': '60/minute' }`)
  // Patterns begin with a slash, a method or a star; options never do.
  const isRules = module.guard === undefined && Object.keys(found).every((name) => /^(\*|\/|[A-Z]+ )/.test(name))
  return isRules ? { rules: found as NonNullable<GuardOptions['rules']> } : (found as GuardOptions)
}

/** Loads modules of both kinds; what it loads is the user's to say. */
function load(file: string): Record<string, unknown> {
  if (!existsSync(file)) throw new Error(`${file}: there is no such file`)
  try {
    return createRequire(import.meta.url)(resolve(file)) as Record<string, unknown>
  } catch (error) {
    throw new Error(`${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`)
  }
}
