import { defineScript } from './script.ts'

/**
 * An owner's pool: a hash with
 *
 *     w       when the window began, which names it
 *     given   calls given out of it: made, or leased to a process that may still make them
 *     back    those of them that were given back; neither ever falls, so that the higher of two tellings is the newer
 *     ends    when it ends; len, how far off that was when it was set
 *     told    whether an answer told that
 *     limit   the limit that answers told
 *     closed  before when a 429 forbids everything
 *     epoch   when all of it was last forgotten (`reset`): what a caller knows from before that is not asked for
 *
 * in milliseconds of Redis's clock. Where that steps back, an end further off than it was when it was set is brought
 * nearer, or a window would last for an hour. All scripts are given KEYS: pool, limit that was set; and first of ARGV:
 * calls to give back, the window they were leased of, the default limit, the limit of this owner's own or '', the length
 * of a window, how long the caller knows its window to last still, the margin that is part of that length, the highest
 * `given` and `back` that the caller saw of its window, and the epoch it knows.
 *
 * A Redis that was started from its snapshot, or a replica that took over, has forgotten the latest: there the caller
 * knows more, and is believed.
 *
 * Where no answer told when a window ends, it may have ended upstream from a margin before the window's length on, and
 * lasts until a margin after it: in between nothing is given, because nobody knows whose window it would be.
 */
const COMMON = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'w', 'given', 'ends', 'len', 'told', 'limit', 'closed', 'back', 'epoch')
local w, given, ends, len = held[1] or '', tonumber(held[2]) or 0, tonumber(held[3]), tonumber(held[4]) or 0
local told, toldLimit, closed = held[5] == '1', tonumber(held[6]), tonumber(held[7]) or 0
local back, epoch = tonumber(held[8]) or 0, tonumber(held[9]) or 0
local windowMs, knownMs, marginMs, callersEpoch = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[10])
local before = callersEpoch < epoch
epoch = math.max(epoch, callersEpoch)
local ended = -1
if ends and ends - now > len then ends = now + len end
if closed - now > 86400000 * 366 then closed = now end
if ends and now >= ends then ended = ends ends = nil given = 0 back = 0 told = false end
-- The window is gone, and the caller was in the middle of it: Redis lost it. What it had left nobody knows.
local lost = not before and knownMs > 0 and (tonumber(w) or 0) < (tonumber(ARGV[2]) or 0)
if ends and w == ARGV[2] and not before then
  given = math.max(given, tonumber(ARGV[8]))
  back = math.min(given, math.max(back, tonumber(ARGV[9])) + tonumber(ARGV[1]))
end
local set = redis.call('GET', KEYS[2])
local own = tonumber(set or '') or tonumber(ARGV[4])
local function limitOf()
  if not toldLimit then return own or tonumber(ARGV[3]) end
  if own then return math.min(own, toldLimit) end
  return toldLimit
end
local function leftOf()
  if now < closed or (ends and not told and marginMs > 0 and now >= ends - 2 * marginMs) then return 0 end
  return math.max(0, limitOf() - (given - back))
end
local function open(forMs, isTold)
  given = 0
  back = 0
  w = string.format('%.0f', now)
  ends = now + forMs
  len = forMs
  told = isTold
end
if lost then open(knownMs, true) given = limitOf() end
local function keep(granted, opened)
  local fields = { 'w', w, 'given', given, 'back', back, 'epoch', epoch, 'len', len, 'told', told and '1' or '0', 'closed', closed }
  if ends then fields[#fields + 1] = 'ends' fields[#fields + 1] = ends end
  if toldLimit then fields[#fields + 1] = 'limit' fields[#fields + 1] = toldLimit end
  redis.call('HSET', KEYS[1], unpack(fields))
  if not ends then redis.call('HDEL', KEYS[1], 'ends') end
  -- As long as anybody may still hold what was forgotten.
  local heldMs = epoch > 0 and math.max(0, epoch + math.max(3600000, 4 * windowMs) - now) or 0
  redis.call('PEXPIRE', KEYS[1], math.ceil(math.max(ends and ends - now or 0, closed - now, heldMs, 0) + windowMs))
  local spendMs = ends and math.floor(ends - now - (told and 0 or 2 * marginMs)) or 0
  return { granted, leftOf(), limitOf(), ends and math.ceil(ends - now) or 0, math.max(0, math.ceil(closed - now)),
    w, opened, told and 1 or 0, set and 1 or 0, given, back, string.format('%.0f', epoch), spendMs }
end
`

/** ARGV further: calls needed, calls wanted. Gives between the two, or nothing: of what is left at most an eighth beyond the need. */
export const LEASE = defineScript(
  'lease-calls',
  `${COMMON}
local need, want = tonumber(ARGV[11]), tonumber(ARGV[12])
local left = leftOf()
if need == 0 or need > left then return keep(0, 0) end
local opened = 0
if not ends then open(windowMs, false) opened = 1 end
local granted = math.min(left, math.max(need, math.min(want, math.ceil(left / 8))))
given = given + granted
return keep(granted, opened)`,
)

/** ARGV further: limit, remaining, reset and wait that an answer told, each or ''. As \`OwnerPool.learn\`. */
export const LEARN = defineScript(
  'learn-of-answer',
  `${COMMON}
local saidLimit, remaining, resetMs, retryMs = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
if saidLimit then toldLimit = saidLimit end
if retryMs then closed = math.max(closed, now + retryMs) end
if resetMs then
  local slack = math.min(windowMs / 2, 1000)
  local toldEnd = now + resetMs
  if told and ends then
    if toldEnd < ends - slack then return keep(0, 0) end
    ends = math.max(ends, toldEnd)
    len = math.max(len, ends - now)
  elseif toldEnd < ended + slack then
    return keep(0, 0)
  elseif ends then
    ends = toldEnd
    len = resetMs
    told = true
  else
    open(resetMs, true)
  end
end
if remaining and limitOf() - remaining > given - back then
  if not ends then open(windowMs, true) end
  given = limitOf() - remaining + back
end
return keep(0, 0)`,
)

/** ARGV further: the limit to set, or ''. What answers told before is older. */
export const SET_LIMIT = defineScript(
  'set-limit',
  `${COMMON}
toldLimit = nil
redis.call('HDEL', KEYS[1], 'limit')
if ARGV[11] == '' then
  -- For a day it is known that it was taken back, and not lost.
  redis.call('SET', KEYS[2], 'none', 'PX', 86400000)
  own = tonumber(ARGV[4])
else
  redis.call('SET', KEYS[2], ARGV[11])
  own = tonumber(ARGV[11])
end
return keep(0, 0)`,
)

/** Forgets what was counted and learned, whoever holds some of it. A limit that was set is neither. */
export const RESET = defineScript(
  'reset-pool',
  `${COMMON}
redis.call('DEL', KEYS[1])
epoch = math.max(now, epoch + 1)
w, given, back, ends, len, told, toldLimit, closed = '', 0, 0, nil, 0, false, nil, 0
return keep(0, 0)`,
)
