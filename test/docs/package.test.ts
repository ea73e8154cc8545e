import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const [{ files }] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' }),
) as [{ files: { path: string }[] }]
const packed = new Set(files.map(({ path }) => path))

/** Where the relative links and pictures of a document of the package lead. */
function targets(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/```[\s\S]*?```/g, '')
  return [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => normalize(join(dirname(file), target)))
}

describe('the package', () => {
  test('has every file that its doors name, their types, the commands, and the guides', () => {
    const named: string[] = Object.values(manifest.exports).flatMap((door) =>
      typeof door === 'string' ? [door] : Object.values(door as Record<string, string>),
    )
    const wanted = [
      ...named,
      ...Object.values<string>(manifest.bin),
      'LICENSE',
      'CHANGELOG.md',
      'docs/guides/sign-in.md',
    ]
    expect(wanted.map((file) => normalize(file)).filter((file) => !packed.has(file))).toEqual([])
  })

  test('has nothing that only the repository needs', () => {
    expect([...packed].filter((file) => /^(test|bench)\/|node_modules|\.env|\.tsbuildinfo/.test(file))).toEqual([])
  })

  test.each(['README.md', ...[...packed].filter((file) => /^docs\/(README|release|guides\/.*)\.?m?d?$/.test(file))])(
    '%s only links to what is in the package',
    (file) => {
      const inPackage = (target: string) =>
        packed.has(target) || [...packed].some((path) => path.startsWith(`${target.replace(/\/$/, '')}/`))
      expect(targets(file).filter((target) => !inPackage(target))).toEqual([])
    },
  )
})

describe('the guides', () => {
  const guides = [...packed].filter((file) => /^docs\/guides\/.*\.md$/.test(file))
  const index = readFileSync(join(root, 'docs/README.md'), 'utf8')

  test.each(guides)('%s is in the index, and says what to do on the worst day', (file) => {
    expect(index).toContain(`(${file.slice('docs/'.length)})`)
    expect(readFileSync(join(root, file), 'utf8')).toMatch(/\n## On the worst day\n\n\S/)
  })
})

describe('the README', () => {
  test('names tests, benches and scripts that there are', () => {
    const paths = [...readme.matchAll(/`((?:test|bench|docs)\/[\w./-]+)`/g)].map(([, path]) => path!)
    expect(paths.length).toBeGreaterThan(10)
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([])
    const benches = [...readme.matchAll(/npm run bench -- ([\w-]+)/g)].map(([, name]) => name!)
    expect(benches.length).toBeGreaterThan(5)
    expect(benches.filter((name) => !existsSync(join(root, 'bench', `${name}.ts`)))).toEqual([])
  })

  test('proves every promise with a test or a bench', () => {
    const section = /## What it promises[^\n]*\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
    const rows = section.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| promise'))
    expect(rows.length).toBeGreaterThanOrEqual(12)
    for (const row of rows) expect(row.split('|')[3]).toMatch(/`test\/|`npm run bench -- /)
  })

  test('shows a table that a script wrote, with its day, seed and command', () => {
    const table = /<!-- outage-table -->\n([\s\S]*?)\n<!-- \/outage-table -->/.exec(readme)?.[1]
    expect(table).toMatch(/plain fetch \| fetch, 60 s cache \| Holdfast/)
    expect(table).toMatch(/^\| errors shown to users \| [\d,]+ \| [\d,]+ \| 0 \|$/m)
    expect(table).toMatch(/Measured on \d{4}-\d\d-\d\d with Node [\d.]+, seed \d+: `npm run bench -- outage-table`/)
  })

  test('has install and code before anything else, and no words of the house', () => {
    expect(readme.indexOf('npm install holdfast')).toBeLessThan(readme.indexOf('|'))
    expect(readme.replace(/```[\s\S]*?```/g, '')).not.toMatch(/\brooms?\b|\bthe line\b|says no\b/i)
  })
})
