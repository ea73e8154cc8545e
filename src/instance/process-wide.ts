/**
 * Raised when what is kept under a shared symbol changes its shape: copies of the package that disagree about it then
 * keep to themselves instead of misreading each other.
 */
const LAYOUT = 1

/** A symbol that every copy of this layout in the process shares: bundled copies, and modules that are evaluated again. */
export function processWideSymbol(name: string): symbol {
  return Symbol.for(`holdfast@${LAYOUT}.${name}`)
}
