/** What can be kept in a heap. */
export interface Ranked {
  /** The most goes first. To be changed only while it is in no heap. */
  readonly rank: number
  /** Of two with one rank the lower goes first. */
  readonly order: number
  /** Where it stands in the heap that it is in. */
  place: number
}

/** A binary heap from which any can be taken out: each knows its place. */
export class RankHeap<T extends Ranked> {
  readonly #all: T[] = []

  get first(): T | undefined {
    return this.#all[0]
  }

  add(one: T): void {
    this.#all.push(one)
    this.#rise(one, this.#all.length - 1)
  }

  remove(one: T): void {
    const last = this.#all.pop()!
    if (last === one) return
    this.#rise(last, one.place)
    this.#sink(last, last.place)
  }

  #rise(one: T, from: number): void {
    let place = from
    while (place > 0) {
      const above = this.#all[(place - 1) >> 1]!
      if (!goesBefore(one, above)) break
      this.#put(above, place)
      place = (place - 1) >> 1
    }
    this.#put(one, place)
  }

  #sink(one: T, from: number): void {
    const all = this.#all
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= all.length) break
      if (below + 1 < all.length && goesBefore(all[below + 1]!, all[below]!)) below++
      if (!goesBefore(all[below]!, one)) break
      this.#put(all[below]!, place)
      place = below
    }
    this.#put(one, place)
  }

  #put(one: T, place: number): void {
    this.#all[place] = one
    one.place = place
  }
}

function goesBefore(one: Ranked, other: Ranked): boolean {
  return one.rank > other.rank || (one.rank === other.rank && one.order < other.order)
}
