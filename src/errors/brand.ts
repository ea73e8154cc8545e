/** Under a global symbol: what one copy of the package threw is known to every other copy. */
const BRANDS = Symbol.for('holdfast@1.error-brands')

/**
 * Makes `instanceof` ask for a name instead of an identity: true for what was made by a class of this name, or by one
 * that extends it, in any copy of the package. Classes that users derive keep the ordinary `instanceof`.
 * Call it in the class's static block.
 */
export function brand(errorClass: abstract new (...args: never[]) => Error, name: string): void {
  const inherited: readonly string[] = brandsOf(Object.getPrototypeOf(errorClass.prototype))
  Object.defineProperty(errorClass.prototype, BRANDS, { value: [...inherited, name] })
  Object.defineProperty(errorClass, Symbol.hasInstance, {
    value(this: unknown, candidate: unknown): boolean {
      if (this !== errorClass) return Function.prototype[Symbol.hasInstance].call(this, candidate)
      return brandsOf(candidate).includes(name)
    },
  })
}

function brandsOf(candidate: unknown): readonly string[] {
  if (typeof candidate !== 'object' || candidate === null) return []
  const brands = (candidate as { [BRANDS]?: unknown })[BRANDS]
  return Array.isArray(brands) ? brands : []
}
