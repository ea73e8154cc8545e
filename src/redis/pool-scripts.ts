import { defineScript } from './script.ts'

/**
 * An owner's pool: a hash with
 *
 *     closed      before when a 429 forbids everything
 *     epoch       when all of it was last forgotten (`reset`): what a caller knows from before that is not asked for
 *     <length>    the window of that length, packed:
 *         w       when it began, which names it
 *         given   calls given out of it: made, or leased to a process that may still make them
 *         back    those of them that were given back; neither ever falls, so that the higher of two tellings is the newer
 *         ends    when it ends; len, how far off that was when it was set; sure, from when on a call may arrive after it
 *         by      what its end is known by: 0 the first call, 1 the answer to that, 2 what an answer told
 *         ours    whether a call of ours began it
 *         seconds 1 where ends are told in whole seconds, 0 where they are not
 *         limit   the limit that answers told
 *
 * in milliseconds of Redis's clock. Where that steps back, an end further off than it was when it was set is brought
 * nearer, or a window would last for an hour. All scripts are given KEYS: pool, limit that was set; and first of ARGV: how
 * many windows, the epoch the caller knows, the limit of this owner's own or '', calls to give back; then for each window
 * its length, margin and default limit, the window (w) that the caller knows and has leased of, how long that lasts still,
 * and the highest `given` and `back` that it saw of it.
 *
 * A Redis that was started from its snapshot, or a replica that took over, has forgotten the latest: there the caller
 * knows more, and is believed.
 *
 * What is decided here is what `OwnerPool` decides in memory.
 */
const COMMON = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, callersEpoch, ownLimit, leased = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local PER = 7
local further = 4 + PER * count
local names = { 'closed', 'epoch' }
for i = 1, count do names[i + 2] = ARGV[5 + PER * (i - 1)] end
local held = redis.call('HMGET', KEYS[1], unpack(names))
local closed, epoch = tonumber(held[1]) or 0, tonumber(held[2]) or 0
local before = callersEpoch < epoch
epoch = math.max(epoch, callersEpoch)
if closed - now > 86400000 * 366 then closed = now end
local set = redis.call('GET', KEYS[2])
local own = tonumber(set or '') or ownLimit
local windows, longest = {}, 0
local function limitOf(i)
  local win = windows[i]
  local mine = i == 1 and own or nil
  if not win.limit then return mine or win.default end
  if mine then return math.min(mine, win.limit) end
  return win.limit
end
local function open(win, forMs, by)
  win.given, win.back, win.w = 0, 0, now
  win.ends, win.len, win.sure, win.by, win.ours = now + forMs, forMs, now + forMs, by, nil
end
local function roundingOf(win)
  return math.min(1000, win.length / 4)
end
for i = 1, count do
  local at = 5 + PER * (i - 1)
  local win = held[i + 2] and cmsgpack.unpack(held[i + 2]) or { w = 0, given = 0, back = 0, by = 0 }
  windows[i] = win
  win.length, win.margin, win.default = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  longest = math.max(longest, win.length)
  local callers, knownMs = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if win.ends and win.ends - now > win.len then
    win.sure = win.sure - (win.ends - now - win.len)
    win.ends = now + win.len
  end
  win.ended = -1
  if win.ends and now >= win.ends then
    win.ended, win.ends, win.ours, win.given, win.back, win.by = win.ends, nil, nil, 0, 0, 0
  end
  if not before then
    if win.ends and win.w == callers then
      win.given = math.max(win.given, tonumber(ARGV[at + 5]))
      win.back = math.min(win.given, math.max(win.back, tonumber(ARGV[at + 6])) + leased)
    elseif knownMs > 0 and win.w < callers then
      -- The window is gone, and the caller was in the middle of it: Redis lost it. What it had left nobody knows.
      open(win, knownMs, 2)
      win.given = limitOf(i)
    end
  end
end
-- Until when calls of a window may be spent.
local function spendable(win)
  if win.by == 2 and win.seconds == 1 then return win.sure - roundingOf(win) end
  return win.sure
end
local function leftOf(i)
  local win = windows[i]
  if now < closed or (win.ends and now >= spendable(win)) then return 0 end
  return math.max(0, limitOf(i) - (win.given - win.back))
end
local function begin(i)
  local win = windows[i]
  if win.ends then return 0 end
  open(win, win.length + win.margin, 0)
  win.ours = true
  if win.margin > 0 then win.sure = now + win.length - win.margin end
  return 1
end
local function keep(granted, opened)
  local fields = { 'closed', closed, 'epoch', epoch }
  local answer = { granted, math.max(0, math.ceil(closed - now)), set and 1 or 0, epoch }
  local untilMs = math.max(closed - now, 0)
  for i = 1, count do
    local win = windows[i]
    if win.ends then untilMs = math.max(untilMs, win.ends - now) end
    fields[#fields + 1] = names[i + 2]
    fields[#fields + 1] = cmsgpack.pack({ w = win.w, given = win.given, back = win.back, ends = win.ends, len = win.len,
      sure = win.sure, by = win.by, ours = win.ours, seconds = win.seconds, limit = win.limit })
    local said = { win.w, leftOf(i), limitOf(i), win.ends and math.ceil(win.ends - now) or 0, win.by, win.given, win.back,
      win.ends and math.floor(spendable(win) - now) or 0, opened and opened[i] or 0 }
    for _, value in ipairs(said) do answer[#answer + 1] = value end
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  -- As long as anybody may still hold what was forgotten.
  local heldMs = epoch > 0 and math.max(0, epoch + math.max(3600000, 4 * longest) - now) or 0
  redis.call('PEXPIRE', KEYS[1], math.ceil(math.max(untilMs, heldMs) + longest))
  return answer
end
`

/** Numbers that a window is given, and that it answers. */
export const TOLD_BY_WINDOW = 9
export const TOLD_FIRST = 4

/** ARGV further: calls needed, calls wanted. Gives between the two of every window, or nothing: of what is left at most an eighth beyond the need. */
export const LEASE = defineScript(
  'lease-calls',
  `${COMMON}
local need, want = tonumber(ARGV[further + 1]), tonumber(ARGV[further + 2])
local left = leftOf(1)
for i = 2, count do left = math.min(left, leftOf(i)) end
if need == 0 or need > left then return keep(0) end
local granted = math.min(left, math.max(need, math.min(want, math.ceil(left / 8))))
local opened = {}
for i = 1, count do
  opened[i] = begin(i)
  windows[i].given = windows[i].given + granted
end
return keep(granted, opened)`,
)

/**
 * ARGV further: which window, or 0 for none; limit, remaining, reset and wait that an answer told, each or ''; how much
 * sooner than told the window may end for a call that is sent; 1 where the reset is reckoned from the first call; how long
 * ago it was told. As `OwnerPool.learn`. What cannot be believed is cut here too, before anything is written: other versions may send it.
 */
export const LEARN = defineScript(
  'learn-of-answer',
  `${COMMON}
local which = tonumber(ARGV[further + 1])
local function number(n, from, to)
  local value = tonumber(ARGV[further + n])
  if not value or value ~= value or value < from then return nil end
  return math.min(value, to)
end
local saidLimit, remaining = number(2, 1, 1000000000), number(3, 0, 1000000000)
local retryMs = number(5, 0, math.max(4 * longest, 3600000))
if retryMs then closed = math.max(closed, now + retryMs) end
local win = windows[which]
if not win then return keep(0) end
local length = win.length
local resetMs, ways = number(4, 0.001, 4 * length), number(6, 0, 86400000) or 0
local doubtMs = math.min(ways, length / 2)
if saidLimit then win.limit = saidLimit end
local toldEnd = now + (resetMs or 0) - math.floor(number(8, 0, 86400000) or 0)
if resetMs and ARGV[further + 7] == '1' then
  -- Only where nothing better is known.
  if not win.ends or win.by ~= 0 then return keep(0) end
  win.ends, win.len, win.sure, win.by = toldEnd, toldEnd - now, toldEnd - doubtMs, 1
  return keep(0)
end
if resetMs then
  local slack = math.min(length / 2, 1000)
  local isTold = win.ends and win.by == 2
  if isTold then
    if toldEnd < math.min(win.ends - slack, win.sure) then return keep(0) end
  elseif toldEnd - ways < win.ended + slack then
    return keep(0)
  end
  local inSeconds = resetMs % 1000 == 0
  if not inSeconds then win.seconds = 0
  elseif resetMs ~= length and not win.seconds then win.seconds = 1 end
  local sure = toldEnd - doubtMs
  if win.ours and win.seconds ~= 0 and inSeconds and resetMs < length then
    local endsAt = win.w + length
    if toldEnd < endsAt and toldEnd + roundingOf(win) >= endsAt then toldEnd = endsAt + doubtMs / 2 end
  end
  if not win.ends then open(win, toldEnd - now, 2) end
  win.sure = isTold and math.max(win.sure, sure) or sure
  if not isTold then win.ends = toldEnd
  elseif win.seconds == 0 then win.ends = math.max(win.sure, math.min(win.ends, toldEnd))
  else win.ends = math.max(win.ends, toldEnd) end
  win.len = math.max(win.len, win.ends - now)
  win.by = 2
end
if remaining and limitOf(which) - remaining > win.given - win.back then
  if not win.ends then open(win, length, 2) end
  win.given = limitOf(which) - remaining + win.back
end
return keep(0)`,
)

/** ARGV further: calls, and the places of windows. Calls that may arrive in windows which began after they were sent. */
export const CHARGE = defineScript(
  'charge-calls',
  `${COMMON}
for nth = further + 2, #ARGV do
  local win = windows[tonumber(ARGV[nth])]
  if win.ends then win.given = win.given + tonumber(ARGV[further + 1]) end
end
return keep(0)`,
)

/** ARGV further: the limit to set, or ''. What answers told before is older. */
export const SET_LIMIT = defineScript(
  'set-limit',
  `${COMMON}
local limit = ARGV[further + 1]
windows[1].limit = nil
if limit == '' then
  -- For a day it is known that it was taken back, and not lost.
  redis.call('SET', KEYS[2], 'none', 'PX', 86400000)
  own = ownLimit
else
  redis.call('SET', KEYS[2], limit)
  own = tonumber(limit)
end
return keep(0)`,
)

/** Forgets what was counted and learned, whoever holds some of it. A limit that was set is neither. */
export const RESET = defineScript(
  'reset-pool',
  `${COMMON}
redis.call('DEL', KEYS[1])
epoch = math.max(now, epoch + 1)
closed = 0
for i = 1, count do
  local win = windows[i]
  win.w, win.given, win.back, win.ends, win.ours, win.by, win.seconds, win.limit = 0, 0, 0, nil, nil, 0, nil, nil
end
return keep(0)`,
)
