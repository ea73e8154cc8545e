import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { FRAMEWORKS, type Framework, frameworksOf, type InitPlan, type Project, planInit } from './init-plan.ts'
import { readWords } from './words.ts'

/** `holdfast init`: writes sign-in, one guarded route and .env.example, after showing and asking. Overwrites nothing. */
export async function init(words: readonly string[]): Promise<number> {
  const options = readWords(words, {}, ['yes'], ['framework'])
  const folder = process.cwd()
  const project: Project = { manifest: manifestOf(folder), has: (path) => existsSync(join(folder, path)) }
  const plan = planInit(chosen(options.framework, project), project)
  show(plan)
  if (plan.files.every(({ isThere }) => isThere)) {
    process.stdout.write('Everything is there already; nothing is written.\n')
    return 0
  }
  if (!options.yes && !(await agreed())) {
    process.stdout.write('\nNothing was written.\n')
    return 1
  }
  for (const { path, text, isThere } of plan.files) {
    if (isThere) continue
    await mkdir(dirname(join(folder, path)), { recursive: true })
    // Not even what has appeared since the question was asked is overwritten.
    await writeFile(join(folder, path), text, { flag: 'wx' })
  }
  process.stdout.write(`\nWritten. Then:\n${plan.afterwards.map((line) => `  ${line}\n`).join('')}`)
  return 0
}

function manifestOf(folder: string): Project['manifest'] {
  try {
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    if (typeof manifest === 'object' && manifest !== null) return manifest
  } catch {
    // Said below, in one sentence for whatever is wrong with it.
  }
  throw new Error('there is no package.json that can be read here; run it in the folder of your project')
}

function chosen(asked: string | undefined, project: Project): Framework {
  const known = FRAMEWORKS.find((framework) => framework === asked)
  if (known) return known
  if (asked !== undefined) throw new Error(`--framework takes ${FRAMEWORKS.join(', ')}`)
  const found = frameworksOf(project)
  if (found.length === 1) return found[0]!
  throw new Error(
    found.length === 0
      ? `package.json names none of ${FRAMEWORKS.join(', ')}; install one, or say --framework NAME`
      : `package.json names ${found.join(' and ')}; say which: --framework ${found[0]}`,
  )
}

function show({ framework, files }: InitPlan): void {
  for (const { path, text, isThere } of files)
    process.stdout.write(
      isThere ? `── ${path} is there, and is left as it is\n\n` : `── ${path}\n\n${text.replace(/^(?=.)/gm, '    ')}\n`,
    )
  process.stdout.write(
    `For ${framework}: ${files.filter(({ isThere }) => !isThere).length} new files, nothing is changed.\n`,
  )
}

/** Where nobody can answer, the answer is no. */
async function agreed(): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stdout })
  const closed = new Promise<string>((resolve) => asking.once('close', () => resolve('')))
  try {
    const answer = await Promise.race([asking.question('Write them? [y/N] '), closed])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    asking.close()
  }
}
