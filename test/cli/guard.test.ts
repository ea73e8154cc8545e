import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { run } from './command.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-guard-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, text: string) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const rules = file(
  'rules.mjs',
  `export const rules = {
    'POST /api/chat': ['5/minute', { name: 'chat', limit: 100, windowMs: 'month' }],
    '/api/*': ({ plan }) => plan === 'pro' ? '600/minute' : { limit: 60, windowMs: 60000, kind: 'sliding' },
  }`,
)

describe('holdfast guard', () => {
  test('shows the rules as the guard reads them, the most specific first', async () => {
    const { code, out, err } = await run(['guard', rules])
    expect([code, err]).toEqual([0, ''])
    expect(out.indexOf('POST /api/chat')).toBeLessThan(out.indexOf('/api/* (by caller)'))
    for (const text of ['5/minute and chat: 100/month', '60/minute sliding', '* (default)', 'default: 100/900000 ms'])
      expect(out).toContain(text)
  })

  test.each<[string[], string[]]>([
    [
      ['POST', '/api/chat'],
      ['POST /api/chat', 'the most specific pattern that means it', '5/minute and chat: 100/month'],
    ],
    [['GET /api/chat'], ['/api/*', 'somebody of whom nothing is known']],
    [['/guilds'], ['default', 'no pattern of yours means it']],
    [['POST /x/..%2fapi/chat'], ['or /api/chat', 'the limits of each hold', '5/minute']],
    [['/health'], ['health', 'answered whatever happens']],
    [['OPTIONS', '/api/chat'], ['OPTIONS has no limit']],
  ])('%j: says what holds, and why', async (path, expected) => {
    const { code, out } = await run(['guard', rules, ...path])
    expect(code).toBe(0)
    for (const text of expected) expect(out).toContain(text)
  })

  test('options and rules may be exported, and what cannot be used is told', async () => {
    const options = file('guard.mjs', "export const guard = { rules: { '/a': '1/day' }, publicPaths: ['/open'] }")
    expect((await run(['guard', options, '/open'])).out).toContain('a public path')
    const nothing = await run(['guard', file('nothing.mjs', 'export const x = 1')])
    expect([nothing.code, nothing.err]).toEqual([1, expect.stringContaining('exports no rules')])
    const wrong = await run(['guard', file('wrong.mjs', "export const rules = { '/a': '1/week' }")])
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('1/week')])
    for (const [module, words] of [
      [join(folder, 'none.mjs'), 'none.mjs: there is no such file'],
      [file('syntax.mjs', 'export const ('), 'syntax.mjs cannot be loaded: '],
      [file('throws.mjs', "throw new Error('no database')"), 'throws.mjs cannot be loaded: no database'],
      [file('typo.mjs', 'export const guard = { rulez: {} }'), 'did you mean rules?'],
      [file('later.mjs', "export const rules = { '/a': async () => '1/day' }"), 'a promise is no limit'],
    ] as const)
      expect(await run(['guard', module, '/a'])).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringMatching(new RegExp(`^holdfast guard: .*${words}`)),
      })
  })

  test.each([[['--what']], [['GET']], [['GET', 'POST', '/a']], [['/a', '/b']], [['get', '/a']], [['http://x/a']]])(
    'what is no file and no path is told how to ask: %j',
    async (words) => {
      const { code, out, err } = await run(['guard', rules, ...words])
      expect([code, out, err]).toEqual([1, '', expect.stringContaining("holdfast guard ./guard.js 'POST /api/chat'")])
    },
  )
})
