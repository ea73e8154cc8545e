import { createHoldfast, type Holdfast } from './holdfast.ts'
import { processWideSymbol } from './process-wide.ts'

/** Shared, so that the whole process keeps to one instance and its limits. */
const DEFAULT = processWideSymbol('default')
const processWide = globalThis as { [key: symbol]: Holdfast | undefined }

/** The instance behind the free functions: built from the environment at first use, one per process. Throws ConfigError as `createHoldfast`. */
export function defaultHoldfast(): Holdfast {
  const instance = processWide[DEFAULT] ?? createHoldfast()
  processWide[DEFAULT] = instance
  return instance
}

/** Replaces the default instance, in tests for example. Undefined lets the next use build a new one. The old one is not closed. */
export function setDefaultHoldfast(holdfast: Holdfast | undefined): void {
  processWide[DEFAULT] = holdfast
}

/** The default instance where there is one already; asking makes none. */
export function knownDefaultHoldfast(): Holdfast | undefined {
  return processWide[DEFAULT]
}
