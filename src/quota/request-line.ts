/**
 * The requests of a batch that wait, by index: of the highest priority first those that were never sent, in their order,
 * then those that go again, in the order in which they came back: one that is always refused holds up nobody.
 */
export class RequestLine {
  /** By priority, the highest first. */
  readonly #rows: Array<{
    readonly priority: number
    readonly unsent: number[]
    next: number
    readonly again: number[]
  }> = []
  readonly #priorityOf: (index: number) => number
  #length = 0

  constructor(indexes: Iterable<number>, priorityOf: (index: number) => number) {
    this.#priorityOf = priorityOf
    for (const index of indexes) {
      this.#row(index).unsent.push(index)
      this.#length++
    }
  }

  get length(): number {
    return this.#length
  }

  /** Who goes next. */
  first(): number | undefined {
    for (const row of this.#rows) {
      const index = row.unsent[row.next] ?? row.again[0]
      if (index !== undefined) return index
    }
    return undefined
  }

  shift(): number | undefined {
    for (const row of this.#rows) {
      const index = row.next < row.unsent.length ? row.unsent[row.next++] : row.again.shift()
      if (index === undefined) continue
      this.#length--
      return index
    }
    return undefined
  }

  again(index: number): void {
    this.#row(index).again.push(index)
    this.#length++
  }

  /** All that wait, which then wait no more. */
  drain(): number[] {
    const left: number[] = []
    for (let index = this.shift(); index !== undefined; index = this.shift()) left.push(index)
    return left
  }

  #row(index: number) {
    const priority = this.#priorityOf(index)
    const place = this.#rows.findIndex((row) => row.priority <= priority)
    const found = this.#rows[place]
    if (found?.priority === priority) return found
    const row = { priority, unsent: [], next: 0, again: [] }
    this.#rows.splice(place === -1 ? this.#rows.length : place, 0, row)
    return row
  }
}
