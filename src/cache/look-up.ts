import type { Clock } from '../time/clock.ts'
import { type Entry, newEntry } from './entry.ts'
import type { Holdings } from './holdings.ts'
import type { Question } from './question.ts'

/**
 * Asks the shared tier where memory has nothing, or something that may have been invalidated, and brings memory up to
 * what it says. All who ask at the same time share one look. Resolves to the entry that came from there, if one did;
 * what memory holds after it is as good as the shared tier's word.
 */
export function lookUp<T>(held: Holdings, question: Question<T>, clock: Clock): Promise<Entry | undefined> {
  const { id } = question
  const flight =
    held.looks.get(id) ??
    held.looks.start(id, async (_signal, flight) => {
      const { life, memory } = held
      const found = await held.shared!.read(question.sharedKey)
      // Invalidated meanwhile, or the tier is away: then memory carries on as it is.
      if (!found || held.looks.get(id) !== flight) return undefined
      const old = memory.find(id)
      const value = found.value && question.decode(found.value.text)
      if (value && !(old && old.begunAt >= found.value!.begunAt)) {
        const { ageMs, begunAt } = found.value!
        const entry = newEntry(
          question,
          value.value,
          { bytes: value.bytes, ageMs, begunAt, life, told: value.told },
          clock,
        )
        memory.store(id, entry)
        return entry
      }
      if (old && old.begunAt < found.invalidBefore) memory.delete(id)
      else if (old) old.life = life
      return undefined
    })
  return flight.wait(question.options.signal)
}
