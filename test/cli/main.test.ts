import { describe, expect, test } from 'vitest'
import { run } from './command.ts'

describe('holdfast', () => {
  test.each([[[]], [['help']], [['--help']], [['-h']]])('%j says what there is, and ends well', async (words) => {
    const { code, out, err } = await run(words)
    expect([code, err]).toEqual([0, ''])
    for (const name of ['start', 'simulate', 'doctor', '--once', '--seconds', '--users', '--seed', '--port'])
      expect(out).toContain(name)
  })

  test.each(['strat', 'constructor', '__proto__', '--version'])(
    'an unknown command (%s) is exit code 2, with what there is',
    async (word) => {
      const { code, out, err } = await run([word])
      expect([code, out]).toEqual([2, ''])
      expect(err).toContain(`unknown command ${word}`)
      expect(err).toContain('holdfast <command>')
    },
  )

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
