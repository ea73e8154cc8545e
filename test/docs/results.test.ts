import { describe, expect, test } from 'vitest'
import { readResults, resultsPage } from '../../bench/results.ts'

const result = (bench: string, measured: string, reached = true) => ({
  bench,
  figure: 'time | of a call',
  measured,
  target: 'at most 3',
  reached,
  when: '2026-01-02, 0.1',
})

describe('the table of what the benches measured', () => {
  test('is read back as it was written, whatever a name holds', () => {
    const results = [result('a', '1 µs'), result('b', '4 µs', false)]
    expect(readResults(resultsPage('A machine.', '', results))).toEqual(results)
  })

  test('keeps the rows of benches that did not run, and says how many figures are missed', () => {
    const before = resultsPage('A machine.', '', [result('a', '1 µs'), result('b', '4 µs', false)])
    const page = resultsPage('A machine.', before, [result('a', '2 µs')])
    expect(readResults(page).map(({ bench, measured }) => [bench, measured])).toEqual([
      ['a', '2 µs'],
      ['b', '4 µs'],
    ])
    expect(page).toContain('2 figures, 1 missed')
    expect(page).toContain('A machine.')
  })
})
