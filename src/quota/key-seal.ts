import type { KeyRing } from '../secrets/key-ring.ts'
import type { KeyRow } from './key-store.ts'

/** What a row is sealed for. JSON, so that no two of them are the same text. */
export function contextOf({ owner, id, version, limit }: Pick<KeyRow, 'owner' | 'id' | 'version' | 'limit'>): string {
  return JSON.stringify(['holdfast vault key 2', owner, id, version, limit])
}

/** What rows were sealed for before their limits were: they open until they are sealed anew. */
function firstContextOf({ owner, id, version }: KeyRow): string {
  return JSON.stringify(['holdfast vault key', owner, id, version])
}

/** The key of a row; undefined where it was cut, edited, moved, or sealed under a secret that was not given. */
export function openedRow(ring: KeyRing, row: KeyRow): string | undefined {
  return ring.open(row.sealed, contextOf(row)) ?? ring.open(row.sealed, firstContextOf(row))
}
