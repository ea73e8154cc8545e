import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { OPTION_TABLES } from '../../docs/reference/option-tables.ts'
import { pages } from '../../docs/reference/write.ts'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'

const source = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

describe('the reference', () => {
  it.each(Object.keys(pages))('%s is what npm run docs writes from the source', (file) => {
    expect(source(`docs/reference/${file}`)).toBe(pages[file]!())
  })

  it('names every code that the source throws, and no other', () => {
    const thrown = new Set<string>()
    for (const file of readdirSync(new URL('../../src', import.meta.url), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || file === 'error-codes.ts' || file.startsWith('simulator')) continue
      for (const [code] of source(`src/${file}`).matchAll(
        /(?<=')[A-Z]+(_[A-Z]+)+(?=')|(?<=')(CLOSED|TIMEOUT|SUPERSEDED)(?=')|(?<=')(UNAUTHENTICATED|FORBIDDEN)(?=')/g,
      ))
        thrown.add(code)
    }
    for (const code of Object.keys(ERROR_CODES))
      expect(thrown, `${code} is documented and never thrown`).toContain(code)
  })
})

describe('the page of options', () => {
  it('has every function and door that checks options, once', () => {
    const checked: string[] = []
    for (const file of readdirSync(new URL('../../src', import.meta.url), { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.ts') && file !== 'config/options.ts')
        for (const [, of] of source(`src/${file}`).matchAll(/\boptionsOf\(\s*'([^']+)'/g)) checked.push(of!)
    // A part of other tables, which is checked again where it is read.
    const listed = checked.filter((of) => of !== 'redis').sort()
    expect(OPTION_TABLES.map(({ of }) => of).sort()).toEqual(listed)
  })
})

describe('the documents', () => {
  const documents = [
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    ...readdirSync(new URL('../../docs', import.meta.url), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.md'))
      .map((file) => `docs/${file}`),
  ]

  it.each(documents)('%s has no dead link into the repository', (file) => {
    const broken: string[] = []
    for (const [, target] of source(file).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target!)) continue
      const url = new URL(target!, new URL(`../../${file}`, import.meta.url))
      try {
        readdirSync(url)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') broken.push(target!)
      }
    }
    expect(broken).toEqual([])
  })

  it('name a version that is the package’s', async () => {
    const { VERSION } = await import('../../src/discord/user-agent.ts')
    expect(VERSION).toBe(JSON.parse(source('package.json')).version)
  })
})
