import { createVirtualClock } from 'holdfast/simulator'
import { describe, expect, test } from 'vitest'
import { Pipeline } from '../../src/redis/pipeline.ts'

const TIMEOUT_MS = 100
/** Time is looked at in thirds of the time-out: what is late is found at the end of one, and the slice is a fraction longer. */
const SLICE_MS = 34

/** A connection whose answers are given by hand. */
function openPipeline() {
  const clock = createVirtualClock()
  const pipeline = new Pipeline(clock, TIMEOUT_MS)
  const ask = () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const question = { lateAt: undefined as number | undefined, sent: false, code: '', answer: resolve }
    pipeline
      .ask(
        TIMEOUT_MS,
        () => {
          question.sent = true
          return promise
        },
        () => {
          question.lateAt = clock.monotonic()
        },
      )
      .catch((error: { code: string }) => {
        question.code = error.code
      })
    return question
  }
  return { clock, pipeline, ask }
}

/** Advances in small steps, as a machine does that is not busy. */
async function pass(clock: ReturnType<typeof createVirtualClock>, ms: number) {
  for (let left = ms; left > 0; left -= 10) await clock.advance(Math.min(10, left))
}

describe('a question', () => {
  test('that nothing answers is late after its time-out, and not before', async () => {
    const { clock, ask } = openPipeline()
    const question = ask()
    await pass(clock, 99)
    expect(question.lateAt).toBeUndefined()
    await pass(clock, 40)
    expect(question.lateAt).toBeLessThanOrEqual(TIMEOUT_MS + SLICE_MS)
    expect(question.code).toBe('REDIS_UNAVAILABLE')
  })

  test('behind one already answered is late on its own deadline', async () => {
    const { clock, ask } = openPipeline()
    const first = ask()
    await pass(clock, 60)
    const second = ask()
    first.answer()
    await pass(clock, 99)
    expect(second.lateAt).toBeUndefined()
    await pass(clock, 100)
    expect(second.lateAt).toBeLessThanOrEqual(60 + TIMEOUT_MS + SLICE_MS)
    expect(first.lateAt).toBeUndefined()
  })

  test('behind one that is answered late has its whole time from that answer on: the connection is busy, not dead', async () => {
    const { clock, ask } = openPipeline()
    const slow = ask()
    await pass(clock, 10)
    const behind = ask()
    await pass(clock, 80)
    slow.answer()
    await pass(clock, 95)
    expect(behind.lateAt).toBeUndefined()
    await pass(clock, 60)
    expect(behind.lateAt).toBeLessThanOrEqual(90 + TIMEOUT_MS + SLICE_MS)
  })

  test('is not kept waiting by answers to later ones, which another node may have given', async () => {
    const { clock, ask } = openPipeline()
    const question = ask()
    for (let at = 0; at < 200; at += 20) {
      const later = ask()
      await pass(clock, 20)
      later.answer()
    }
    expect(question.lateAt).toBeLessThanOrEqual(TIMEOUT_MS + SLICE_MS)
  })

  test('waits to be sent while 128 are under way, and its time begins when it is', async () => {
    const { clock, ask } = openPipeline()
    const underWay = Array.from({ length: 128 }, ask)
    const waiting = ask()
    expect(waiting.sent).toBe(false)
    await pass(clock, 90)
    for (const question of underWay) question.answer()
    await pass(clock, 90)
    expect([waiting.sent, waiting.lateAt]).toEqual([true, undefined])
    await pass(clock, 60)
    expect(waiting.lateAt).toBeLessThanOrEqual(90 + TIMEOUT_MS + SLICE_MS)
  })

  test('that waits to be sent is refused when the connection ends, and so is everything after it', async () => {
    const { pipeline, ask } = openPipeline()
    const underWay = Array.from({ length: 128 }, ask)
    const waiting = ask()
    pipeline.close(Object.assign(new Error('over'), { code: 'OVER' }))
    const after = ask()
    await Promise.resolve()
    expect([waiting.code, after.code]).toEqual(['OVER', 'OVER'])
    expect([waiting.sent, after.sent, underWay[0]!.code]).toEqual([false, false, ''])
  })
})

test('time in which this process stood still does not count', async () => {
  const { clock, ask } = openPipeline()
  const question = ask()
  // Slices that end 60 ms late: nobody looked, and the answer may lie in the socket.
  for (let nth = 0; nth < 2; nth++) await clock.advance(SLICE_MS)
  expect(question.lateAt).toBeUndefined()
  await pass(clock, 100)
  expect(question.lateAt).toBeLessThanOrEqual(TIMEOUT_MS + 3 * SLICE_MS)
})
