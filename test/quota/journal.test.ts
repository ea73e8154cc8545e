import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { appendFile, chmod, mkdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { type BatchOptions, batch, batchStream, createOwnerQuota, type HoldfastError } from 'holdfast'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const KEYS = [{ key: 'the-secret-key-of-ann', owner: 'ann' }]
const numbers = (n: number) => Array.from({ length: n }, (_, index) => index)

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'))
  path = join(folder, 'answers.jsonl')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

type Send = (request: never, key: string, context: { signal: AbortSignal }) => Promise<unknown>
type Outcome = { status: string; value?: unknown; reason?: unknown }

/** One program after another, each with a quota of its own, that asks for the same with the same journal. */
const HOW = {
  batch: async (requests: readonly unknown[], send: Send, options: object): Promise<Outcome[]> =>
    batch(requests, { ...settings(send), ...options }),
  batchStream: async (requests: readonly unknown[], send: Send, options: object): Promise<Outcome[]> => {
    const results: Outcome[] = []
    for await (const { index, request: _, ...result } of batchStream(requests, { ...settings(send), ...options }))
      results[index] = result
    return results
  },
}
function settings(send: Send): BatchOptions<unknown, unknown> {
  const quota = createOwnerQuota({ limit: 100_000, windowMs: 60_000 })
  return { keys: KEYS, quota, send: send as never, journal: path }
}

const codeOf = (error: unknown) => (error as HoldfastError).code ?? error
const outcomes = (results: readonly Outcome[]) =>
  results.map((result) => (result.status === 'fulfilled' ? result.value : codeOf(result.reason)))
const failure = (running: Promise<unknown>) =>
  running.then(
    () => 'resolved',
    (error: unknown) => error,
  )
const never = () => Promise.reject(new Error('was sent'))
const lines = () => readFileSync(path, 'utf8').split('\n')

describe.each(['batch', 'batchStream'] as const)('a journal of %s', (how) => {
  const run = HOW[how]

  test('answers the same requests again without sending', async () => {
    const requests = [{ item: 1 }, 'two', 3, null, [4]]
    const first = await run(requests, async (request) => ({ got: request, text: 'a\nb\u2028"\u00e4\ud800' }), {})
    const second = await run(requests, never, {})
    expect(second).toEqual(first)
    expect(outcomes(second)[0]).toEqual({ got: { item: 1 }, text: 'a\nb\u2028"\u00e4\ud800' })
  })

  test('keeps what a send that returns nothing resolves with', async () => {
    await run([1, 2], async () => {}, {})
    expect(await run([1, 2], never, {})).toEqual([
      { status: 'fulfilled', value: undefined },
      { status: 'fulfilled', value: undefined },
    ])
  })

  test('sends again what was rejected, and nothing else', async () => {
    const send = async (n: number) => {
      if (n % 3 === 0) throw new Error('not today')
      return n
    }
    await run(numbers(20), send, {})
    const sent: number[] = []
    const again = async (n: number) => {
      sent.push(n)
      return n
    }
    expect(outcomes(await run(numbers(20), again, {}))).toEqual(numbers(20))
    expect(sent).toEqual([0, 3, 6, 9, 12, 15, 18])
    expect(outcomes(await run(numbers(20), never, {}))).toEqual(numbers(20))
  })

  test('takes requests that were added at the end', async () => {
    await run(numbers(3), async (n) => n, {})
    const sent: number[] = []
    await run(numbers(5), async (n) => sent.push(n), {})
    expect(sent).toEqual([3, 4])
  })

  test('rejects a result that JSON would change with its place, and does not send it again', async () => {
    const odd: ReadonlyArray<readonly [unknown, string]> = [
      [{ at: new Date(0) }, 'result.at is no plain object, but a Date'],
      [[1, new Map()], 'result[1] is no plain object, but a Map'],
      [Number.NaN, 'result is NaN'],
      [{ list: [-0] }, 'result.list[0] is -0'],
      [{ gone: undefined }, 'result.gone is undefined'],
      [10n, 'result is a bigint'],
      [Array(3), 'result is a list with holes'],
      [Object.assign([1], { name: 'x' }), 'result is a list with holes, or with names'],
      [{ toJSON: 5 }, 'result has a toJSON'],
      [
        {
          get now() {
            throw new Error('secret')
          },
        },
        'result has a property that is a symbol, hidden, or computed',
      ],
      [{ [Symbol('s')]: 1 }, 'result has a property that is a symbol'],
      [Object.create(null), 'result is no plain object'],
      [circle(), 'nested too deeply, or within itself'],
      [Symbol('no'), 'result is a symbol'],
    ]
    const send = async (index: number) => (index < odd.length ? odd[index]![0] : 'plain')
    const first = await run(numbers(odd.length + 1), send, {})
    expect(outcomes(first)).toEqual([...odd.map(() => 'BATCH_RESULT_NOT_JSON'), 'plain'])
    for (const [index, [, words]] of odd.entries()) expect(String(first[index]!.reason)).toContain(words)
    const second = await run(numbers(odd.length + 1), never, {})
    expect(outcomes(second)).toEqual(outcomes(first))
    expect(second.map(({ reason }) => String(reason))).toEqual(first.map(({ reason }) => String(reason)))
  })

  test('rejects a request that has no JSON, unsent; the others go', async () => {
    const requests = [circle(), 10n, () => 1, undefined, Symbol('s'), 'plain']
    for (const _ of ['first', 'second'])
      expect(outcomes(await run(requests, async (request) => request, {}))).toEqual([
        ...Array(5).fill('INVALID_OPTION'),
        'plain',
      ])
  })

  test('goes on where its last line was cut, wherever that was', async () => {
    await run(numbers(4), async (n) => ({ answer: n, text: 'ää\n' }), { concurrency: 1 })
    const whole = readFileSync(path)
    const lastLine = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    for (const at of [0, 1, 20, 60, lastLine, lastLine + 1, whole.length - 9, whole.length - 1]) {
      writeFileSync(path, whole)
      await truncate(path, at)
      const sent: number[] = []
      const results = await run(
        numbers(4),
        async (n: number) => {
          sent.push(n)
          return { answer: n, text: 'ää\n' }
        },
        {},
      )
      expect(outcomes(results)).toEqual(numbers(4).map((n) => ({ answer: n, text: 'ää\n' })))
      expect(sent, `cut at ${at}`).toEqual(at < lastLine ? expect.any(Array) : [3])
      expect(readFileSync(path, 'utf8').split('\n').filter(Boolean)).toHaveLength(5)
    }
  })

  test('is refused where it is another batch’s, and left as it is', async () => {
    await run(numbers(5), async (n) => n, {})
    const before = readFileSync(path, 'utf8')
    for (const others of [
      ['other', 1, 2, 3, 4],
      [0, 1, 2, 'other', 4],
      [1, 0, 2, 3, 4],
    ])
      expect(await failure(run(others, never, {}))).toMatchObject({ code: 'BATCH_JOURNAL_FOREIGN' })
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  test('is refused where the first request is another one, before anything is sent or written', async () => {
    await run(numbers(2), (n: number) => (n === 0 ? Promise.reject(new Error('no')) : Promise.resolve(n)), {})
    const before = readFileSync(path, 'utf8')
    expect(await failure(run(['other', 7, 8, 9], never, {}))).toMatchObject({ code: 'BATCH_JOURNAL_FOREIGN' })
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  test('is refused where it is some other file, which stays as it is', async () => {
    for (const text of [
      '{}\n',
      'a poem',
      '\n',
      '{"holdfast":"batch journal","version":2,"first":"x"}\n',
      '\u0000'.repeat(99),
    ]) {
      writeFileSync(path, text)
      expect(await failure(run([1], never, {}))).toMatchObject({ code: 'BATCH_JOURNAL_FOREIGN' })
      expect(readFileSync(path, 'utf8')).toBe(text)
    }
  })

  test('is refused where a line that is not its last cannot be read, with the number of the line', async () => {
    await run(numbers(4), async (n) => n, { concurrency: 1 })
    const whole = readFileSync(path)
    const damages: Array<(text: string) => string | Buffer> = [
      (text) => text.replace('{"index":1', 'xx"index":1'),
      (text) => text.replace('"index":1', '"index":-1'),
      (text) => text.replace('"index":1', '"index":1.5'),
      (text) => text.replace('"index":1,"hash":', '"index":1,"hush":'),
      () => {
        const bytes = Buffer.from(whole)
        bytes[bytes.indexOf('"index":1') + 1] = 0xff
        return bytes
      },
    ]
    for (const damage of damages) {
      const damaged = damage(whole.toString())
      writeFileSync(path, damaged)
      const error = await failure(run(numbers(4), never, {}))
      expect(error).toMatchObject({ code: 'BATCH_JOURNAL_DAMAGED', message: expect.stringContaining('line 3 ') })
      expect(readFileSync(path).equals(Buffer.from(damaged))).toBe(true)
    }
  })

  test('is refused where it cannot be read and written: a folder, no folder, a device, in use', async () => {
    await mkdir(join(folder, 'sub'))
    for (const [journal, words] of [
      [join(folder, 'sub'), 'a folder'],
      [join(folder, 'none', 'file'), 'does not exist'],
      ['/dev/null', 'no file'],
      ['a\u0000b', 'ERR_INVALID_ARG_VALUE'],
    ] as const)
      expect(await failure(run([1], never, { journal }))).toMatchObject({
        code: 'BATCH_JOURNAL_UNAVAILABLE',
        message: expect.stringContaining(words),
      })
    for (const journal of ['', 5, null])
      expect(await failure(run([1], never, { journal }))).toMatchObject({ code: 'INVALID_OPTION' })
    const hold = Promise.withResolvers<number>()
    const holding = run([1], () => hold.promise, {})
    await expect.poll(() => lines().length).toBe(2)
    expect(await failure(run([1], never, {}))).toMatchObject({
      code: 'BATCH_JOURNAL_UNAVAILABLE',
      message: expect.stringContaining('another batch of this process'),
    })
    hold.resolve(7)
    expect(outcomes(await holding)).toEqual([7])
    expect(outcomes(await run([1], never, {}))).toEqual([7])
  })

  test('is refused where this process may not write it', async (context) => {
    if (process.getuid?.() === 0) context.skip('root may write everything')
    writeFileSync(path, '')
    await chmod(path, 0o400)
    expect(await failure(run([1], never, {}))).toMatchObject({ code: 'BATCH_JOURNAL_UNAVAILABLE' })
  })

  test('holds no key and no request, and is for this user only', async () => {
    await run(['a request with a password'], async () => 'answer', {})
    const text = readFileSync(path, 'utf8')
    expect(text).toContain('answer')
    for (const secret of ['password', KEYS[0]!.key, 'ann']) expect(text).not.toContain(secret)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test.each([
    ['somebody else writes to it', () => appendFile(path, '{}\n')],
    ['it is removed', () => rm(path)],
  ])('sends nothing more once %s, and still tells what was under way', async (_name, spoil) => {
    const sent: number[] = []
    const last = Promise.withResolvers<void>()
    const send = async (n: number) => {
      sent.push(n)
      if (n === 3) await last.promise
      if (n === 4) {
        await spoil()
        setTimeout(last.resolve, 20)
      }
      return n
    }
    const running = run(numbers(30), send, { concurrency: 2 })
    const results = how === 'batch' ? await running : undefined
    if (results) {
      expect(outcomes(results).slice(0, 5)).toEqual(numbers(5))
      expect(outcomes(results).slice(6)).toEqual(Array(24).fill('BATCH_JOURNAL_UNAVAILABLE'))
    } else expect(await failure(running)).toMatchObject({ code: 'BATCH_JOURNAL_UNAVAILABLE' })
    expect(sent.length).toBeLessThanOrEqual(6)
  })

  test('an abort while it is read ends the batch with the signal’s reason', async () => {
    await run(numbers(10), async (n) => n, {})
    const controller = new AbortController()
    const running = run(numbers(10), never, { signal: controller.signal })
    controller.abort('enough')
    const ended = await running.then(outcomes, (error: unknown) => error)
    expect(ended).toEqual(how === 'batch' ? Array(10).fill('enough') : 'enough')
    // And leaves it to the next.
    expect(outcomes(await run(numbers(10), never, {}))).toEqual(numbers(10))
  })

  test('lines longer than a page are read back', async () => {
    const answer = (n: number) => 'ä'.repeat([10, 40_000, 32_700, 200_000, 1][n % 5]!)
    await run(numbers(15), async (n: number) => answer(n), {})
    expect(outcomes(await run(numbers(15), never, {}))).toEqual(numbers(15).map(answer))
  })

  test('whatever plain data is answered comes back as it was, and everything else is refused', async () => {
    const anything = fc.oneof(
      fc.anything({ withDate: true, withMap: true, withBigInt: true, withSparseArray: true, withNullPrototype: true }),
      fc.jsonValue(),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 8 }), async (values) => {
        rmSync(path, { force: true })
        const first = await run(numbers(values.length), async (n: number) => values[n], {})
        const second = await run(numbers(values.length), never, {})
        for (const [index, result] of second.entries()) {
          if (result.status === 'fulfilled') expect(result.value).toStrictEqual(values[index])
          else expect(codeOf(result.reason)).toBe('BATCH_RESULT_NOT_JSON')
          expect(result.status).toBe(first[index]!.status)
        }
      }),
      { numRuns: 25 },
    )
  })

  test('over any number of ends, no request that was told is sent again, and in the end all are told', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('ok', 'ok', 'throws once'), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 3 }),
        fc.integer({ min: 1, max: 6 }),
        async (plan, ends, concurrency) => {
          rmSync(path, { force: true })
          const told = new Set<number>()
          const thrown = new Set<number>()
          for (const end of [...ends, 1_000, 1_000]) {
            const controller = new AbortController()
            let calls = 0
            const toldBefore = new Set(told)
            const send = async (n: number) => {
              expect(toldBefore).not.toContain(n)
              if (calls++ === end) controller.abort(new Error('ended'))
              await new Promise((resolve) => setImmediate(resolve))
              if (plan[n] === 'throws once' && !thrown.has(n)) {
                thrown.add(n)
                throw new Error('not now')
              }
              return n
            }
            const tell = (outcome: Outcome) => {
              if (outcome.status === 'fulfilled') told.add(outcome.value as number)
            }
            await telling(plan.length, send, { concurrency, signal: controller.signal }, tell).catch(() => {})
          }
          expect(told.size).toBe(plan.length)
        },
      ),
      { numRuns: 25 },
    )
  })

  async function telling(n: number, send: Send, options: object, tell: (outcome: Outcome) => void) {
    if (how === 'batch') for (const result of await run(numbers(n), send, options)) tell(result)
    else for await (const result of batchStream(numbers(n), { ...settings(send), ...options })) tell(result)
  }
})

test('a journal that holds more than the batch has requests is another batch’s', async () => {
  await HOW.batch(numbers(5), async (n) => n, {})
  expect(await failure(HOW.batch(numbers(4), never, {}))).toMatchObject({ code: 'BATCH_JOURNAL_FOREIGN' })
})

test('progress counts what was answered before', async () => {
  await HOW.batch(numbers(3), async (n) => n, {})
  const told: number[] = []
  await HOW.batch(numbers(5), async (n) => n, { onProgress: ({ done }: { done: number }) => told.push(done) })
  expect(told).toEqual([1, 2, 3, 4, 5])
})

test('an input that throws has its answers kept', async () => {
  const broken = function* (until: number) {
    for (let n = 0; n < until; n++) yield n
    throw new Error('the file ended')
  }
  const read = async (until: number, send: Send) => {
    const results: Outcome[] = []
    for await (const result of batchStream(broken(until), settings(send))) results.push(result)
    return results
  }
  expect(await failure(read(3, async (n) => n))).toMatchObject({ message: 'the file ended' })
  const sent: number[] = []
  await failure(read(5, async (n) => sent.push(n)))
  expect(sent).toEqual([3, 4])
})

test('a loop that is left has what it was told kept', async () => {
  const endless = function* () {
    for (let n = 0; ; n++) yield n
  }
  const told: number[] = []
  for await (const { index } of batchStream(endless(), { ...settings(async (n) => n), concurrency: 4 })) {
    told.push(index)
    if (told.length === 10) break
  }
  const again: number[] = []
  const send = async (n: number) => again.push(n)
  let read = 0
  for await (const _ of batchStream(endless(), settings(send))) if (++read === 30) break
  for (const index of told) expect(again).not.toContain(index)
})

function circle(): unknown {
  const self: { self?: unknown } = {}
  self.self = self
  return self
}
