import fc from 'fast-check'
import { ApiError, type AutosaveState, autosave } from 'holdfast/browser'
import { expect, it, vi } from 'vitest'
import { startPage } from './page.ts'
import { inVirtualTime, pass } from './virtual-time.ts'

inVirtualTime()

/** How a save ends, and after how long. */
const ending = fc.record({
  takesMs: fc.integer({ min: 1, max: 4000 }),
  how: fc.constantFrom('saved', 'saved', 'saved', 'failed', 'refused', 'conflict', 'thrown', 'hung'),
})

const step = fc.oneof(
  { weight: 5, arbitrary: fc.constant({ do: 'change' as const }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 5000 }) }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom({ do: 'flush' as const }, { do: 'hide' as const }, { do: 'leave' as const }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom({ do: 'online' as const }, { do: 'closeGate' as const }, { do: 'openGate' as const }),
  },
)

/** A gate that is opened and closed by hand. */
function handGate() {
  const listeners = new Set<(until: Date | null) => void>()
  const gate = {
    waitingUntil: null as Date | null,
    set(until: Date | null) {
      gate.waitingUntil = until
      for (const listener of listeners) listener(until)
    },
    onWait: (listener: (until: Date | null) => void) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    fetch: () => Promise.reject(new Error('unused')),
    json: () => Promise.reject(new Error('unused')),
    close: () => {},
  }
  return { gate, listeners }
}

it('never lets a saved value go backwards, has one save under way, and loses nothing without having said so', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.array(ending, { minLength: 1, maxLength: 12 }),
      async (steps, endings) => {
        const page = startPage()
        const { gate, listeners } = handGate()
        const saved: number[] = []
        const started: number[] = []
        let under = 0
        let calls = 0
        let calm = false
        let changed = 0
        let states: AutosaveState[] = []
        const saver = autosave<number>({
          client: gate,
          onState: (state) => states.push(state),
          save: (value, { signal }) => {
            const { takesMs, how } = calm ? { takesMs: 1, how: 'saved' } : endings[calls++ % endings.length]!
            // In the order of their beginning they never go back, and the one before has ended or was told to.
            expect(value).toBeGreaterThanOrEqual(started.at(-1) ?? 0)
            started.push(value)
            expect(++under).toBe(1)
            let isOver = false
            const over = () => {
              if (!isOver) under--
              isOver = true
            }
            if (how === 'thrown') {
              over()
              throw new Error('thrown')
            }
            return new Promise<void>((resolve, reject) => {
              signal.addEventListener('abort', over)
              if (how === 'hung') return
              setTimeout(() => {
                if (isOver) return
                over()
                if (how === 'saved') {
                  expect(value).toBeGreaterThanOrEqual(saved.at(-1) ?? 0)
                  saved.push(value)
                  resolve()
                } else if (how === 'refused')
                  reject(new ApiError('wait', 'RATE_LIMITED', 429, new Date(Date.now() + 3000)))
                else reject(new ApiError('no', 'X', how === 'conflict' ? 409 : 500))
              }, takesMs)
            })
          },
        })
        const honest = () => {
          if (!saver.state.unsaved) expect(saved.at(-1) ?? 0).toBe(changed)
          expect(saver.state).toEqual(states.at(-1) ?? { status: 'idle', unsaved: false })
          if (saver.state.status === 'idle') expect(saver.state).toEqual({ status: 'idle', unsaved: false })
        }
        for (const action of steps) {
          if (action.do === 'change') {
            saver.change(++changed)
            expect(saver.state.unsaved).toBe(true)
          } else if (action.do === 'pass') await pass(action.ms)
          else if (action.do === 'flush') void saver.flush()
          else if (action.do === 'hide') {
            page.hide()
            page.show()
          } else if (action.do === 'leave') page.leave()
          else if (action.do === 'online') page.online()
          else if (action.do === 'closeGate') gate.set(new Date(Date.now() + 5000))
          else gate.set(null)
          honest()
        }
        // Once all is well again everything is saved, with nobody's help but after a conflict.
        calm = true
        gate.set(null)
        await pass(250_000)
        if (saver.state.status === 'conflict') void saver.flush()
        await pass(10)
        honest()
        expect(saver.state).toEqual({ status: 'idle', unsaved: false })
        expect(saved.at(-1) ?? 0).toBe(changed)
        const closing = saver.close()
        await pass(10)
        await closing
        expect([listeners.size, page.listening(), vi.getTimerCount()]).toEqual([0, 0, 0])
        states = []
      },
    ),
    { numRuns: 150 },
  )
})
