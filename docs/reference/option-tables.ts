import { REQUIRE_AUTH_OPTIONS } from '../../src/auth/require-auth-options.ts'
import { GET_OPTIONS, KEEP_OPTIONS, SET_OPTIONS } from '../../src/cache/cache-options.ts'
import { HOLDFAST_OPTIONS } from '../../src/config/holdfast-options.ts'
import type { OptionCheck } from '../../src/config/options.ts'
import { DISCORD_FETCH_OPTIONS } from '../../src/discord/call-options.ts'
import { EXPRESS_AUTH_OPTIONS, EXPRESS_GUARD_OPTIONS } from '../../src/doors/express.ts'
import { FASTIFY_AUTH_OPTIONS, FASTIFY_OPTIONS } from '../../src/doors/fastify.ts'
import { HONO_AUTH_OPTIONS, HONO_GUARD_OPTIONS, HONO_LOGIN_OPTIONS } from '../../src/doors/hono.ts'
import { NEXT_GUARD_OPTIONS, NEXT_PROXY_OPTIONS } from '../../src/doors/next.ts'
import { NEXT_LOGIN_OPTIONS, NEXT_PAGE_AUTH_OPTIONS } from '../../src/doors/next-auth.ts'
import { EXPRESS_LOGIN_OPTIONS } from '../../src/doors/node-login.ts'
import { WEB_GUARD_OPTIONS } from '../../src/doors/web.ts'
import { MEMBERSHIP_OPTIONS } from '../../src/guilds/membership-result.ts'
import { GUARD_OPTIONS } from '../../src/instance/guard-options.ts'
import { KEY_VAULT_OPTIONS } from '../../src/instance/key-vault.ts'
import { OWNER_QUOTA_OPTIONS } from '../../src/instance/quota.ts'
import { LEDGER_OPTIONS } from '../../src/ledger/membership-ledger.ts'
import { BATCH_OPTIONS } from '../../src/quota/batch-options.ts'
import { RUN_OPTIONS } from '../../src/quota/owner-quota.ts'
import { BEGIN_OPTIONS, HANDLE_OPTIONS } from '../../src/sign-in/login-options.ts'
import { SIMULATOR_OPTIONS } from '../../src/simulator/settings.ts'

/** Every public function and door that takes options, in the order of docs/reference/configuration.md. */
export const OPTION_TABLES: readonly OptionCheck[] = [
  HOLDFAST_OPTIONS,
  DISCORD_FETCH_OPTIONS,
  REQUIRE_AUTH_OPTIONS,
  MEMBERSHIP_OPTIONS,
  ...LEDGER_OPTIONS,
  GET_OPTIONS,
  SET_OPTIONS,
  KEEP_OPTIONS,
  BEGIN_OPTIONS,
  HANDLE_OPTIONS,
  GUARD_OPTIONS,
  OWNER_QUOTA_OPTIONS,
  KEY_VAULT_OPTIONS,
  BATCH_OPTIONS,
  RUN_OPTIONS,
  EXPRESS_AUTH_OPTIONS,
  EXPRESS_LOGIN_OPTIONS,
  FASTIFY_OPTIONS,
  FASTIFY_AUTH_OPTIONS,
  HONO_AUTH_OPTIONS,
  HONO_LOGIN_OPTIONS,
  NEXT_PAGE_AUTH_OPTIONS,
  NEXT_LOGIN_OPTIONS,
  EXPRESS_GUARD_OPTIONS,
  HONO_GUARD_OPTIONS,
  NEXT_PROXY_OPTIONS,
  NEXT_GUARD_OPTIONS,
  WEB_GUARD_OPTIONS,
  SIMULATOR_OPTIONS,
]
