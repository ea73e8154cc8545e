import { HOLDFAST_OPTIONS } from '../../src/config/holdfast-options.ts'
import type { OptionCheck } from '../../src/config/options.ts'
import { BEGIN_OPTIONS, HANDLE_OPTIONS } from '../../src/sign-in/login-options.ts'

/** Every public function and door that takes options, in the order of docs/reference/configuration.md. */
export const OPTION_TABLES: readonly OptionCheck[] = [HOLDFAST_OPTIONS, BEGIN_OPTIONS, HANDLE_OPTIONS]
