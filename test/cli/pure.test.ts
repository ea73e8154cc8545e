import { createVirtualClock, startSimulator } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { PHASES, phaseAt } from '../../src/cli/story.ts'
import { ProgressBar, table } from '../../src/cli/terminal.ts'
import { planVisits } from '../../src/cli/visits.ts'
import { readWords } from '../../src/cli/words.ts'

const GUILDS = '/users/@me/guilds'

describe('table', () => {
  test('aligns the first column left and the others right, with a rule under the head', () => {
    expect(
      table(
        ['', 'plain fetch', 'Holdfast'],
        [
          ['calls sent', '1,234', '7'],
          ['errors', '0', '0'],
        ],
      ),
    ).toBe(
      [
        '            plain fetch  Holdfast',
        '──────────  ───────────  ────────',
        'calls sent        1,234         7',
        'errors                0         0',
      ].join('\n'),
    )
  })

  test('leaves a missing cell empty, and no blanks at the end of a line', () => {
    expect(table(['a', 'b'], [['long one'], ['x', 'y']])).toBe('a         b\n────────  ─\nlong one\nx         y')
  })
})

describe('a progress bar', () => {
  const output = (isTTY: boolean) => {
    const written: string[] = []
    return { written, isTTY, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream & {
      written: string[]
    }
  }

  test('prints a line for each new stage where there is no terminal', () => {
    const log = output(false)
    const bar = new ProgressBar(log, 'Holdfast')
    bar.draw(0, 'calm', '0 errors')
    bar.draw(0.1, 'calm', '1 error')
    bar.draw(0.2, 'ban', '1 error')
    bar.end()
    expect(log.written).toEqual(['Holdfast  calm\n', 'Holdfast  ban\n'])
  })

  test('never wraps: what does not fit the width of the terminal is cut', () => {
    const terminal = output(true)
    new ProgressBar(terminal, 'Holdfast').draw(0.5, 'ban', 'x'.repeat(200))
    expect(terminal.written[0]!.replace('\r\u001b[2K', '')).toHaveLength(79)
  })

  test('redraws its line on a terminal, only when it changed, and clears it at the end', () => {
    const terminal = output(true)
    const bar = new ProgressBar(terminal, 'Holdfast')
    bar.draw(0.5, 'ban', '2 errors')
    bar.draw(0.5, 'ban', '2 errors')
    bar.draw(2, 'ban', '3 errors')
    bar.draw(-1, 'ban', '3 errors')
    bar.end()
    const [half, over, under, cleared] = terminal.written
    expect(terminal.written).toHaveLength(4)
    expect(half).toBe(`\r\u001b[2KHoldfast  ${'█'.repeat(10)}${'░'.repeat(10)}  50 %  ban: 2 errors`)
    expect(over).toContain('█'.repeat(20))
    expect(under).toContain('░'.repeat(20))
    expect(cleared).toBe('\r\u001b[2K')
  })
})

describe('the plan of visits', () => {
  const plan = (options = {}) => planVisits({ users: 30, lengthMs: 10_000, seed: 1, ...options })

  test('is the same for the same seed, and another for another', () => {
    expect(plan()).toEqual(plan())
    expect(plan({ seed: 2 })).not.toEqual(plan())
  })

  test('is in order of time, within the run', () => {
    const times = plan().map(({ atMs }) => atMs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(times[0]).toBeGreaterThanOrEqual(0)
    expect(times.at(-1)).toBeLessThan(10_000)
  })

  test.each([10_000, 30_000, 90_000])(
    'has everybody there before the trouble begins, in a run of %d ms',
    (lengthMs) => {
      const calm = PHASES[0]!.share * lengthMs
      const visits = plan({ users: 200, lengthMs })
      const early = new Set(visits.filter(({ atMs }) => atMs < calm).map(({ user }) => user))
      expect(early.size).toBe(200)
    },
  )

  test('brings everybody back every 1.25 to 3.75 s, and asks twice at once one time in five', () => {
    const visits = plan({ users: 100, lengthMs: 90_000 })
    let twice = 0
    let gaps = 0
    for (let user = 0; user < 100; user++) {
      const times = visits.filter((visit) => visit.user === user).map(({ atMs }) => atMs)
      for (let nth = 1; nth < times.length; nth++) {
        const gap = times[nth]! - times[nth - 1]!
        if (gap === 0) {
          twice++
          continue
        }
        gaps++
        expect(gap).toBeGreaterThanOrEqual(1_250)
        expect(gap).toBeLessThanOrEqual(3_750)
      }
    }
    expect(twice / gaps).toBeGreaterThan(0.15)
    expect(twice / gaps).toBeLessThan(0.25)
  })
})

describe('the words of a command', () => {
  const numbers = { seconds: { min: 10, max: 90, fallback: 30 }, users: { min: 1, max: 1000, fallback: 200 } }
  const read = (...words: string[]) => readWords(words, numbers, ['once'])

  test('are what was said, and what was not said is the default', () => {
    expect(read()).toEqual({ seconds: 30, users: 200, once: false })
    expect(read('--once', '--users', '10', '--seconds=90')).toEqual({ seconds: 90, users: 10, once: true })
  })

  test.each(['9', '91', '10.5', 'NaN', 'Infinity', 'ten', '', ' ', '0x1e', '3e1', '-30', '+30', ' 30 '])(
    'refuse %j for a number, naming the word and its range',
    (value) => {
      expect(() => read(`--seconds=${value}`)).toThrow('--seconds takes a whole number from 10 to 90')
    },
  )

  test.each([['--nope'], ['word'], ['--once=yes'], ['--users'], ['--users', '--once']])('refuse %j', (...words) => {
    expect(() => read(...words)).toThrow(words[0]!.replace('=yes', ''))
  })
})

describe('the story', () => {
  test('has a calm start, three sorts of trouble, and a recovery, that fill the whole time', () => {
    expect(PHASES.map(({ name, outage }) => [name, outage])).toEqual([
      ['calm', false],
      ['429 storm', true],
      ['ban', true],
      ['outage', true],
      ['recovery', false],
    ])
    expect(PHASES.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 10)
  })

  test.each([
    [0, 'calm'],
    [0.1999, 'calm'],
    [0.2, '429 storm'],
    [0.4, 'ban'],
    [0.6, 'outage'],
    [0.8, 'recovery'],
    [1, 'recovery'],
    [7, 'recovery'],
  ])('is at %d in the phase %s', (share, name) => {
    expect(phaseAt(share).name).toBe(name)
  })

  const ask = async (url: string, path: string, token: string) =>
    fetch(`${url}${path}`, {
      headers: { authorization: `Bearer ${token}`, 'user-agent': 'DiscordBot (https://app.test, 1)' },
      signal: AbortSignal.timeout(400),
    }).then(
      async (response) => `${response.status} ${(await response.text()).slice(0, 11)}`,
      () => 'no answer',
    )

  test('makes each phase what its name says, and ends it wholly', async () => {
    const clock = createVirtualClock()
    await using discord = await startSimulator({ clock })
    const token = discord.users[0]!.accessToken
    const seen: Record<string, Set<string>> = {}
    for (const phase of PHASES) {
      const end = phase.begin(discord, 2_000)
      seen[phase.name] = new Set()
      for (let nth = 0; nth < 12; nth++) {
        seen[phase.name]!.add((await ask(discord.url, '/users/@me', token)).slice(0, 14))
        seen[phase.name]!.add((await ask(discord.url, GUILDS, token)).slice(0, 3))
        await clock.advance(1_000)
      }
      end()
      expect(await ask(discord.url, GUILDS, token)).toMatch(/^200 /)
      await clock.advance(1_000)
    }
    expect([...seen.calm!].map((answer) => answer.slice(0, 3))).toEqual(['200', '200'])
    expect([...seen['429 storm']!].some((answer) => answer === '429')).toBe(true)
    expect([...seen['429 storm']!].some((answer) => answer.startsWith('200 {'))).toBe(true)
    expect([...seen.ban!].sort()).toEqual(['429', '429 error code'])
    expect([...seen.outage!].map((answer) => answer.slice(0, 3))).toContain('502')
    expect([...seen.recovery!].map((answer) => answer.slice(0, 3))).toEqual(['200', '200'])
  })

  test('leaves some calls of the outage without any answer, and answers the others with an error', async () => {
    await using discord = await startSimulator()
    const end = PHASES.find(({ name }) => name === 'outage')!.begin(discord, 2_000)
    const answers = Array.from({ length: 20 }, () => ask(discord.url, GUILDS, discord.users[0]!.accessToken))
    expect(new Set((await Promise.all(answers)).map((answer) => answer.slice(0, 3)))).toEqual(new Set(['502', 'no ']))
    end()
  })
})
