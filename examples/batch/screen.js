// A progress bar where somebody is looking, and plain lines where the output goes to a pipe or a file.
const WIDTH = 30
const EVERY_MS = 1_000

export function screen(output) {
  /** The line that can be written over; in a pipe, what was said last of a wait. */
  let shown = ''
  let nextAt = 0
  const clear = () => {
    if (shown && output.isTTY) output.write('\r\u001b[2K')
    shown = ''
  }
  return {
    /** One line that stays. */
    line(text) {
      clear()
      output.write(`${text}\n`)
    },
    /** How far it is, and what it waits for. */
    progress(name, { done, total, waitingUntil }) {
      const waits = waitingUntil ? `waits for a limit until ${waitingUntil.toISOString().slice(11, 19)} UTC` : ''
      if (output.isTTY) {
        const filled = Math.round((done / total) * WIDTH)
        const text = `${name} [${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)}] ${done} of ${total} ${waits}`
        if (text === shown) return
        // A line that wraps could not be written over.
        output.write(`\r\u001b[2K${text.slice(0, (output.columns ?? 80) - 1)}`)
        shown = text
        return
      }
      const now = performance.now()
      const isNews = waits !== '' && waits !== shown
      if ((now < nextAt && !isNews) || done === total) return
      nextAt = now + EVERY_MS
      shown = waits
      output.write(`${name}: ${done} of ${total}${waits && `, ${waits}`}\n`)
    },
  }
}
