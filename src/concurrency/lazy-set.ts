/**
 * A Set that nearly always has no member or one, and costs nothing then: an empty Set is 170 bytes, and each of a hundred
 * thousand users has eight.
 */
export class LazySet<T> implements Iterable<T> {
  #only: T | typeof NOBODY = NOBODY
  /** All members where there were more than one. */
  #members: Set<T> | undefined

  get size(): number {
    return this.#members?.size ?? (this.#only === NOBODY ? 0 : 1)
  }

  has(member: T): boolean {
    return this.#members?.has(member) ?? this.#only === member
  }

  add(member: T): void {
    if (this.#members) this.#members.add(member)
    else if (this.#only === NOBODY) this.#only = member
    else if (this.#only !== member) {
      this.#members = new Set([this.#only, member])
      this.#only = NOBODY
    }
  }

  /** Whether it was there. */
  delete(member: T): boolean {
    if (!this.#members) {
      const wasThere = this.#only === member
      if (wasThere) this.#only = NOBODY
      return wasThere
    }
    const wasThere = this.#members.delete(member)
    if (this.#members.size === 0) this.#members = undefined
    return wasThere
  }

  /** In the order in which they were added. What is added meanwhile may not be among them. */
  [Symbol.iterator](): Iterator<T> {
    if (this.#members) return this.#members[Symbol.iterator]()
    return (this.#only === NOBODY ? NONE : [this.#only])[Symbol.iterator]()
  }
}

const NOBODY = Symbol('nobody')
const NONE: readonly never[] = []
