import { describe, expect, test } from 'vitest'
import { Breaker, type BreakerState } from '../../src/concurrency/breaker.ts'
import { createVirtualClock } from '../../src/simulator/virtual-clock.ts'

function breaker() {
  const clock = createVirtualClock()
  const changes: BreakerState[] = []
  return { clock, changes, breaker: new Breaker(clock, (state) => changes.push(state)) }
}

describe('Breaker', () => {
  test('closed, everything passes', () => {
    const { breaker: subject, changes } = breaker()
    expect([subject.pass(), subject.pass(), subject.state, subject.closedForMs]).toEqual(['pass', 'pass', 'closed', 0])
    expect(changes).toEqual([])
  })

  test('open, nothing passes until the time; then exactly one probe does', async () => {
    const { breaker: subject, changes, clock } = breaker()
    subject.open(1000)
    expect([subject.state, subject.closedForMs, subject.pass()]).toEqual(['open', 1000, 'wait'])
    await clock.advance(999)
    expect([subject.closedForMs, subject.pass()]).toEqual([1, 'wait'])
    await clock.advance(1)
    expect([subject.closedForMs, subject.pass(), subject.pass(), subject.state]).toEqual([
      0,
      'probe',
      'wait',
      'half-open',
    ])
    subject.close()
    expect([subject.pass(), subject.state]).toEqual(['pass', 'closed'])
    expect(changes).toEqual(['open', 'half-open', 'closed'])
  })

  test('a probe that fails opens it again for its own time, also a shorter one', async () => {
    const { breaker: subject, clock } = breaker()
    subject.open(60_000)
    await clock.advance(60_000)
    expect(subject.pass()).toBe('probe')
    subject.open(100)
    expect([subject.state, subject.closedForMs]).toEqual(['open', 100])
  })

  test('while open, a further opening lengthens the time and never shortens it', () => {
    const { breaker: subject, changes } = breaker()
    subject.open(1000)
    subject.open(10)
    expect(subject.closedForMs).toBe(1000)
    subject.open(5000)
    expect(subject.closedForMs).toBe(5000)
    expect(changes).toEqual(['open'])
  })

  test('a probe that is given back lets the next caller probe at once', async () => {
    const { breaker: subject, clock, changes } = breaker()
    subject.open(1000)
    await clock.advance(1000)
    expect(subject.pass()).toBe('probe')
    subject.abandonProbe()
    expect([subject.state, subject.closedForMs]).toEqual(['open', 0])
    expect(subject.pass()).toBe('probe')
    expect(changes).toEqual(['open', 'half-open', 'open', 'half-open'])
  })

  test('giving back a probe that was already decided changes nothing', async () => {
    const { breaker: subject } = breaker()
    subject.abandonProbe()
    expect(subject.state).toBe('closed')
    subject.open(1000)
    subject.abandonProbe()
    expect([subject.state, subject.closedForMs]).toEqual(['open', 1000])
  })

  test('a wall clock that steps, forwards or back, neither opens nor shortens anything', async () => {
    const { breaker: subject, clock } = breaker()
    subject.open(1000)
    clock.step(-3_600_000)
    expect(subject.closedForMs).toBe(1000)
    clock.step(7_200_000)
    expect([subject.closedForMs, subject.pass()]).toEqual([1000, 'wait'])
    await clock.advance(1000)
    expect(subject.pass()).toBe('probe')
  })

  test('holds no timer', () => {
    const { breaker: subject, clock } = breaker()
    subject.open(1000)
    expect(clock.sleepers).toBe(0)
  })
})
