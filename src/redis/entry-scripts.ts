import { IN_LUA } from './entry-header.ts'
import { defineScript } from './script.ts'

// Times are microseconds of Redis's clock, written with 16 digits so that they compare as text. An entry begins with the
// header of entry-header.ts. What stands in its place and looks otherwise is nobody's: it is written over, and never
// believed. After a fail-over to a machine whose clock is behind, values can be from the future: they are not in
// anybody's way.

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
 * Asks to load. An epoch that begins here has no time: nothing was invalidated, so what processes hold from before it
 * still stands. A Redis that lost its memory while Discord is down would otherwise take theirs along.
 *
 * Keys: epoch, entry, lease. Arguments: token of a new epoch, how long it lasts, token of the lease, how long it lasts, how young (in microseconds) a value makes loading needless (or `take` to load in any case), before when everything was invalidated.
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
local head = redis.pcall('GETRANGE', KEYS[2], ${IN_LUA.range})
if type(head) ~= 'string' or #head ~= ${IN_LUA.bytes} then head = '' end
if ARGV[5] ~= 'take' then
  local heldSince = '0'
  if string.find(head, '^2[vz]') and string.sub(head, ${IN_LUA.epoch}) == epoch then
    heldSince = string.sub(head, ${IN_LUA.begun})
    local since = tonumber(heldSince) or 0
    local age = now - since
    if age >= 0 and age < tonumber(ARGV[5]) and since > tonumber(ARGV[6]) then return {'newer', stamp, ''} end
  end
  local lease = redis.call('GET', KEYS[3])
  if lease and string.sub(lease, 1, 25) == epoch then
    local left = redis.call('PTTL', KEYS[3])
    if string.sub(lease, 27) == 'failed' then return {'failed', stamp, tostring(left)} end
    return {'wait', stamp, tostring(left), heldSince}
  end
end
redis.call('SET', KEYS[3], epoch .. ' ' .. ARGV[3], 'PX', ARGV[4])
local rememberUntil = '0'
if string.find(head, '^2[vz]') then rememberUntil = string.sub(head, ${IN_LUA.until}) end
if string.find(head, '^2g') then rememberUntil = string.format('%.0f', now + math.max(0, redis.call('PTTL', KEYS[2])) * 1000) end
return {'load', stamp, epoch, rememberUntil}`,
)

/** Key: lease. Arguments: the content of the lease that is renewed, how long it lasts from now. */
export const RENEW = defineScript(
  'renew',
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`,
)

/** Keys: epoch, entry, lease. Arguments: the header, the content of the lease that ends, how late a write may come, how long the value lasts, the sealed value, how long the epoch must last, channel, message. Without its epoch a value is not stored, but nothing says that it was invalidated either. */
export const WRITE = defineScript(
  'write',
  `${NOW}${LAST}local begun = tonumber(string.sub(ARGV[1], ${IN_LUA.begun}))
if redis.call('GET', KEYS[3]) == ARGV[2] then redis.call('DEL', KEYS[3]) end
redis.call('PUBLISH', ARGV[7], stamp .. ARGV[8])
if now - begun > tonumber(ARGV[3]) then return 'late' end
local epoch = redis.call('GET', KEYS[1])
if not epoch then return 'forgotten' end
if epoch ~= string.sub(ARGV[1], ${IN_LUA.epoch}) then return 'invalidated' end
local held = redis.call('GETRANGE', KEYS[2], ${IN_LUA.range})
local known = #held == ${IN_LUA.bytes} and string.sub(held, 1, 1) == '2'
local since = known and tonumber(string.sub(held, ${IN_LUA.begun})) or 0
-- An invalidation counts also where its clock was ahead of ours. By an hour no clock is: such a time was made up.
local latest = string.sub(held, 2, 2) == 'g' and now + 3600000000 or now
if since >= begun and since <= latest then return 'older' end
-- Where this replaces the mark of an invalidation, that has to be remembered for its time: a write that comes later is
-- older. Its own time does not pass to the value after it.
local remembered = tonumber(string.sub(ARGV[1], ${IN_LUA.until})) or 0
local lasts = math.max(tonumber(ARGV[4]), math.ceil((remembered - now) / 1000))
redis.call('SET', KEYS[2], ARGV[1] .. ARGV[5], 'PX', string.format('%.0f', lasts))
last(KEYS[1], ARGV[6])
return 'written'`,
)

/** Key: lease. Arguments: the content of the lease that ends, how long nobody tries, channel, message. */
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
 * Leaves a mark in a key's place. It is remembered longer than any write may come late, and as long as the epoch beside
 * it: no value that a process holds lasts longer. Where memory is full nothing can be remembered; then the epoch goes,
 * which loads of its other keys need as well.
 *
 * Keys: epoch, entry, lease. Arguments: when it was said before (0: never), how long it must be remembered at least, channel, message, an epoch that is none.
 */
export const INVALIDATE = defineScript(
  'invalidate',
  `${NOW}local head = redis.pcall('GETRANGE', KEYS[2], ${IN_LUA.range})
if type(head) ~= 'string' then head = '' end
local since = tonumber(ARGV[1])
if since > 0 then stamp = string.format('%016.0f', since) end
if since > 0 and #head == ${IN_LUA.bytes} and (tonumber(string.sub(head, ${IN_LUA.begun})) or 0) >= since then return stamp end
local remembered = string.format('%.0f', math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1])))
redis.call('DEL', KEYS[2], KEYS[3])
local wrote = redis.pcall('SET', KEYS[2], '2g' .. stamp .. ' ' .. ARGV[5] .. ' 0000000000000000', 'PX', remembered)
if type(wrote) == 'table' and wrote.err then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[3], stamp .. ARGV[4])
return stamp`,
)

/** Key: epoch. Arguments: when it was said before (0: never), token of the new epoch, how long it lasts at least, channel, message. */
export const INVALIDATE_USER = defineScript(
  'invalidate-user',
  `${NOW}local epoch = redis.pcall('GET', KEYS[1])
local since = tonumber(ARGV[1])
if since > 0 then stamp = string.format('%016.0f', since) end
if since > 0 and type(epoch) == 'string' and (tonumber(string.sub(epoch, 1, 16)) or 0) >= since then return stamp end
local lasts = string.format('%.0f', math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1])))
redis.call('DEL', KEYS[1])
local wrote = redis.pcall('SET', KEYS[1], stamp .. '-' .. ARGV[2], 'PX', lasts)
redis.call('PUBLISH', ARGV[4], stamp .. ARGV[5])
return stamp`,
)

/**
 * Everything that was loaded before now, or before the time it was said at first, is not there.
 *
 * Key: the purge's mark. Arguments: when it was said before (0: never), how long it is remembered, channel, message.
 */
export const PURGE = defineScript(
  'purge',
  `${NOW}local since = tonumber(ARGV[1])
local held = redis.pcall('GET', KEYS[1])
held = type(held) == 'string' and tonumber(held) or 0
if since > 0 then
  if held >= since and held <= now + 3600000000 then return string.format('%016.0f', held) end
  stamp = string.format('%016.0f', since)
end
redis.call('SET', KEYS[1], stamp, 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], stamp .. ARGV[4])
return stamp`,
)
