import { defineScript } from './script.ts'

// Times are microseconds of Redis's clock, written with 16 digits so that they compare as text. An entry begins with the
// header of entry-header.ts: kind in byte 2, its load's beginning in bytes 3 to 18, its epoch in bytes 20 to 44. What
// stands there and looks otherwise is nobody's: it is written over, and never believed. After a fail-over to a machine
// whose clock is behind, values can be from the future: they are not in anybody's way.

const NOW = `local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%016.0f', now)
`

/** Makes a key last at least this long, without ever shortening it. */
const LAST = `local function last(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end
`

/**
 * An epoch that begins here has no time: nothing was invalidated, so what processes hold from before it still stands. A
 * Redis that lost its memory while Discord is down would otherwise take theirs along.
 *
 * Keys: epoch, entry, lease. Arguments: token of a new epoch, how long it lasts, token of the lease, how long it lasts, how young (in microseconds) a value makes loading needless, or `take` to load in any case.
 */
export const BEGIN = defineScript(
  'begin',
  `${NOW}${LAST}local epoch = redis.call('GET', KEYS[1])
if epoch and #epoch == 25 and string.find(epoch, '^%d+%-%w+$') then
  last(KEYS[1], ARGV[2])
else
  epoch = '0000000000000000-' .. ARGV[1]
  redis.call('SET', KEYS[1], epoch, 'PX', ARGV[2])
end
if ARGV[5] ~= 'take' then
  local head = redis.call('GETRANGE', KEYS[2], 0, 43)
  local heldSince = '0'
  if string.sub(head, 1, 2) == '1v' and string.sub(head, 20) == epoch then
    heldSince = string.sub(head, 3, 18)
    local age = now - (tonumber(heldSince) or 0)
    if age >= 0 and age < tonumber(ARGV[5]) then return {'newer', stamp, ''} end
  end
  local lease = redis.call('GET', KEYS[3])
  if lease and string.sub(lease, 1, 25) == epoch then
    local left = redis.call('PTTL', KEYS[3])
    if string.sub(lease, 27) == 'failed' then return {'failed', stamp, tostring(left)} end
    return {'wait', stamp, tostring(left), heldSince}
  end
end
redis.call('SET', KEYS[3], epoch .. ' ' .. ARGV[3], 'PX', ARGV[4])
return {'load', stamp, epoch}`,
)

/** Key: lease. Arguments: whose it must be, how long it lasts from now. */
export const RENEW = defineScript(
  'renew',
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`,
)

/** Keys: epoch, entry, lease. Arguments: header, whose the lease must be, how late a write may come, how long the value lasts at least, the value with its header, how long the epoch must last, channel, message. Without its epoch a value is not stored, but nothing says that it was invalidated either. */
export const WRITE = defineScript(
  'write',
  `${NOW}${LAST}local begun = tonumber(string.sub(ARGV[1], 3, 18))
if redis.call('GET', KEYS[3]) == ARGV[2] then redis.call('DEL', KEYS[3]) end
redis.call('PUBLISH', ARGV[7], stamp .. ARGV[8])
if now - begun > tonumber(ARGV[3]) then return 'late' end
local epoch = redis.call('GET', KEYS[1])
if not epoch then return 'forgotten' end
if epoch ~= string.sub(ARGV[1], 20) then return 'invalidated' end
local held = redis.call('GETRANGE', KEYS[2], 0, 43)
local since = #held == 44 and tonumber(string.sub(held, 3, 18)) or 0
-- An invalidation counts also where its clock was ahead of ours. By an hour no clock is: such a time was made up.
local latest = string.sub(held, 2, 2) == 'v' and now or now + 3600000000
if since >= begun and since <= latest then return 'older' end
-- The mark of an invalidation that this replaces has to be remembered for its time: a write that comes later is older.
local lasts = math.max(tonumber(ARGV[4]), redis.call('PTTL', KEYS[2]))
redis.call('SET', KEYS[2], ARGV[5], 'PX', string.format('%.0f', lasts))
last(KEYS[1], ARGV[6])
return 'written'`,
)

/** Key: lease. Arguments: whose it must be, how long nobody tries, channel, message. */
export const GIVE_UP = defineScript(
  'give-up',
  `${NOW}if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > 0 then
  redis.call('SET', KEYS[1], string.sub(ARGV[1], 1, 26) .. 'failed', 'PX', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
redis.call('PUBLISH', ARGV[3], stamp .. ARGV[4])
return 1`,
)

/**
 * Keys: epoch, entry, lease. Arguments: when it was said before (0: never), how long it must be remembered (longer than
 * any write may come late, and as long as a process that is cut off may hold the value), channel, message, an epoch that
 * is none. Where memory is full nothing can be remembered; then the epoch goes, which loads of its other keys need as well.
 */
export const INVALIDATE = defineScript(
  'invalidate',
  `${NOW}local head = redis.pcall('GETRANGE', KEYS[2], 0, 43)
if type(head) ~= 'string' then head = '' end
local since = tonumber(ARGV[1])
if since > 0 then stamp = string.format('%016.0f', since) end
if since > 0 and #head == 44 and (tonumber(string.sub(head, 3, 18)) or 0) >= since then return stamp end
redis.call('DEL', KEYS[2], KEYS[3])
local wrote = redis.pcall('SET', KEYS[2], '1g' .. stamp .. ' ' .. ARGV[5], 'PX', ARGV[2])
if type(wrote) == 'table' and wrote.err then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[3], stamp .. ARGV[4])
return stamp`,
)

/** Key: epoch. Arguments: when it was said before (0: never), token of the new epoch, how long it lasts, channel, message. */
export const INVALIDATE_USER = defineScript(
  'invalidate-user',
  `${NOW}local epoch = redis.pcall('GET', KEYS[1])
local since = tonumber(ARGV[1])
if since > 0 then stamp = string.format('%016.0f', since) end
if since > 0 and type(epoch) == 'string' and (tonumber(string.sub(epoch, 1, 16)) or 0) >= since then return stamp end
redis.call('DEL', KEYS[1])
local wrote = redis.pcall('SET', KEYS[1], stamp .. '-' .. ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[4], stamp .. ARGV[5])
return stamp`,
)

/** Key: purge mark. Arguments: how long it is remembered, channel, message. */
export const PURGE = defineScript(
  'purge',
  `${NOW}redis.call('SET', KEYS[1], stamp, 'PX', ARGV[1])
redis.call('PUBLISH', ARGV[2], stamp .. ARGV[3])
return stamp`,
)
