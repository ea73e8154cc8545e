/** A table with a rule under its head; the first column is left-aligned, the others right. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  return [line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

/** A bar that redraws its line on a terminal, and elsewhere prints a line for each new stage. */
export class ProgressBar {
  readonly #output: NodeJS.WriteStream
  readonly #title: string
  #stage = ''
  #drawn = ''

  constructor(output: NodeJS.WriteStream, title: string) {
    this.#output = output
    this.#title = title
  }

  draw(done: number, stage: string, details: string): void {
    if (this.#output.isTTY) {
      const width = 20
      const filled = Math.round(Math.min(1, Math.max(0, done)) * width)
      const percent = `${Math.round(done * 100)}`.padStart(3)
      const whole = `${this.#title}  ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${percent} %  ${stage}: ${details}`
      // A line that wraps would leave its first row behind at every redraw.
      const line = whole.slice(0, (this.#output.columns || 80) - 1)
      if (line !== this.#drawn) this.#output.write(`\r\u001b[2K${line}`)
      this.#drawn = line
    } else if (stage !== this.#stage) {
      this.#output.write(`${this.#title}  ${stage}\n`)
    }
    this.#stage = stage
  }

  end(): void {
    if (this.#output.isTTY) this.#output.write('\r\u001b[2K')
  }
}

/**
 * Prose for a terminal: broken between words where a line would be wider than it, further lines indented by `indent`.
 * Elsewhere (a pipe, a file) every sentence stays on its line, for programs to find.
 */
export function wrapped(
  text: string,
  { indent = 0, columns = process.stdout.isTTY ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY } = {},
): string {
  const lines: string[] = []
  for (const line of text.split('\n')) {
    const start = /^ */.exec(line)![0]
    let current = ''
    for (const word of line.slice(start.length).split(' ')) {
      const longer = current === '' ? start + word : `${current} ${word}`
      if (longer.length > columns && current.trim() !== '') {
        lines.push(current)
        current = ' '.repeat(indent) + word
      } else current = longer
    }
    lines.push(current)
  }
  return lines.join('\n')
}
