import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { MAIN, run } from './command.ts'

/** Its output goes to a reader that leaves at once, as `head -c 0` does. */
async function piped(words: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let err = ''
  child.stderr.on('data', (chunk) => (err += chunk))
  const [code] = await once(child, 'close')
  return { code, err }
}

describe('holdfast', () => {
  test.each([[[]], [['help']], [['--help']], [['-h']]])('%j says what there is, and ends well', async (words) => {
    const { code, out, err } = await run(words)
    expect([code, err]).toEqual([0, ''])
    for (const name of ['start', 'simulate', 'doctor', '--once', '--seconds', '--users', '--seed', '--port'])
      expect(out).toContain(name)
  })

  test.each(['strat', 'constructor', '__proto__', '--verzion'])(
    'an unknown command (%s) is exit code 2, with what there is',
    async (word) => {
      const { code, out, err } = await run([word])
      expect([code, out]).toEqual([2, ''])
      expect(err).toContain(`unknown command ${word}`)
      expect(err).toContain('holdfast <command>')
    },
  )

  test('says its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(await run(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' })
  })

  test.each(['start', 'story', 'simulate', 'doctor'])(
    '%s --help says its words, and does nothing else',
    async (name) => {
      const { code, out, err } = await run([name, '--help'])
      expect([code, err]).toEqual([0, ''])
      expect(out).toMatch(new RegExp(`^holdfast ${name}: `))
      expect(out).toContain('--')
    },
  )

  test('ends quietly when whoever reads has read enough', async () => {
    const { code, err } = await piped(['help'])
    expect([code, err]).toEqual([0, ''])
  })

  test.each<[string[], string[]]>([
    [
      ['start', '--seconds', '9'],
      ['--seconds', '10', '90'],
    ],
    [
      ['start', '--seconds', 'ten'],
      ['--seconds', '10', '90'],
    ],
    [
      ['start', '--seconds', '10.5'],
      ['--seconds', 'whole number'],
    ],
    [
      ['start', '--users', '0'],
      ['--users', '1', '1000'],
    ],
    [
      ['start', '--users', '1001'],
      ['--users', '1', '1000'],
    ],
    [
      ['start', '--users='],
      ['--users', '1', '1000'],
    ],
    [
      ['start', '--seed=-1'],
      ['--seed', '0'],
    ],
    [
      ['simulate', '--port', '65536'],
      ['--port', '0', '65535'],
    ],
    [
      ['simulate', '--guilds', '201'],
      ['--guilds', '0', '200'],
    ],
    [
      ['simulate', '--latency', '1e9'],
      ['--latency', '60000'],
    ],
    [['start', '--second', '30'], ["'--second'"]],
    [['start', 'now'], ["'now'"]],
    [['simulate', '--once'], ["'--once'"]],
    [['doctor', '--fix'], ["'--fix'"]],
  ])('%j is exit code 1, with one sentence that names the word and what it takes', async (words, said) => {
    const { code, out, err } = await run(words)
    expect([code, out]).toEqual([1, ''])
    for (const part of said) expect(err).toContain(part)
    expect(err.startsWith(`holdfast ${words[0]}: `)).toBe(true)
    // A sentence, no stack.
    expect(err.trim().split('\n')).toHaveLength(1)
  })
})
