import { defineScript } from './script.ts'

/**
 * A user's sessions and tokens are one hash: `tokens` (sealed), `row`, `version` and `since` of them, and for each
 * session a field `s:<session>` with when it was opened and last used. So they change together, and end together.
 */

/** Ends sessions opened before ARGV[from], or at `oldest`; of a user without sessions nothing is left. */
const END_SESSIONS = `local function endSessions(key, before)
  local left = false
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 's:' then
      local opened = tonumber(string.match(redis.call('HGET', key, field), '^%S+'))
      if opened < before then redis.call('HDEL', key, field) else left = true end
    end
  end
  return left
end
`

/** ARGV: session, opened and used, tokens, row, version, since, lifetime, sessions opened before that are over. */
export const OPEN = defineScript(
  'sign-in-open',
  `${END_SESSIONS}redis.call('HSET', KEYS[1], 's:' .. ARGV[1], ARGV[2], 'tokens', ARGV[3], 'row', ARGV[4], 'version', ARGV[5], 'since', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
endSessions(KEYS[1], tonumber(ARGV[8]))
return 1`,
)

/** ARGV: session. */
export const FIND = defineScript(
  'sign-in-find',
  `local held = redis.call('HMGET', KEYS[1], 's:' .. ARGV[1], 'tokens', 'row', 'version', 'since')
for index = 1, 5 do held[index] = held[index] or '' end
return held`,
)

/** ARGV: session, opened and used. */
export const TOUCH = defineScript(
  'sign-in-touch',
  `if redis.call('HEXISTS', KEYS[1], 's:' .. ARGV[1]) == 1 then redis.call('HSET', KEYS[1], 's:' .. ARGV[1], ARGV[2]) end
return 1`,
)

/** ARGV: session, sessions opened before that are over. */
export const END = defineScript(
  'sign-in-end',
  `${END_SESSIONS}redis.call('HDEL', KEYS[1], 's:' .. ARGV[1])
if not endSessions(KEYS[1], tonumber(ARGV[2])) then redis.call('DEL', KEYS[1]) end
return 1`,
)

/** ARGV: sessions opened before that end, and tokens since before that; '' ends all. */
export const END_ALL = defineScript(
  'sign-in-end-all',
  `${END_SESSIONS}if ARGV[1] == '' then return redis.call('DEL', KEYS[1]) end
local before = tonumber(ARGV[1])
if endSessions(KEYS[1], before) then return 0 end
local since = tonumber(redis.call('HGET', KEYS[1], 'since') or '0')
if since < before then redis.call('DEL', KEYS[1]) end
return 1`,
)

/** ARGV: tokens, row, version, version before. 1 where they were replaced. */
export const REPLACE = defineScript(
  'sign-in-replace',
  `local held = redis.call('HMGET', KEYS[1], 'row', 'version')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'tokens', ARGV[1], 'version', ARGV[3])
return 1`,
)

/** ARGV: holder, for how long. 1 where the holder has it. */
export const LEASE = defineScript(
  'sign-in-lease',
  `local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`,
)

/** ARGV: holder. */
export const RELEASE = defineScript(
  'sign-in-release',
  `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`,
)

/** ARGV: code, for how long. What became of the attempt: '' where it is the caller's, else code and outcome. */
export const CLAIM = defineScript(
  'sign-in-claim',
  `local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1] .. ' pending', 'PX', ARGV[2])
return ''`,
)

/** ARGV: code and outcome, for how long. */
export const SETTLE = defineScript('sign-in-settle', `redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`)
