import { defineScript } from './script.ts'

/**
 * What our scripts and we ourselves say to Redis, each as it can be tried on two keys that nobody else uses. A user
 * whose ACL lacks one would find out in the middle of something; the probe finds out first. test/redis/acl.test.ts holds
 * this against the scripts, and against the ACL line of docs/guides/fleet.md.
 */
export const COMMANDS = [
  'SET 1 1 PX 10000',
  'GET 1',
  'GETRANGE 1 0 0',
  'PTTL 1',
  'PEXPIRE 1 10000',
  'DEL 2',
  'HSET 2 f 1',
  'HGET 2 f',
  'HMGET 2 f',
  'HGETALL 2',
  'HKEYS 2',
  'HINCRBY 2 f 1',
  'HDEL 2 f',
  'TYPE 2',
  'ZADD 2 1 m',
  'ZRANGEBYSCORE 2 0 0',
  'ZREMRANGEBYSCORE 2 0 2',
  'ZREMRANGEBYRANK 2 0 -1',
  'ZRANGE 2 0 -1',
  'PEXPIREAT 2 1',
] as const

/**
 * Proves that Redis answers, takes writes and lets us do all that we do, and tells its time. A full memory is no reason
 * to stay away: what is there can be read. A replica that takes no writes is: it could never forget anything.
 *
 * Keys: two of the probe's own. Argument: the channel. Returns seconds, microseconds and, where there is one, what the
 * user may not do.
 */
export const PROBE = defineScript(
  'probe',
  `local time = redis.call('TIME')
local function denied(reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  return string.find(reply.err, 'NOPERM', 1, true) or string.find(reply.err, "can't run this command", 1, true)
    or string.find(reply.err, 'No permissions', 1, true) or string.find(reply.err, "can't access", 1, true)
end
for _, words in ipairs({${COMMANDS.map((words) => `'${words}'`).join(', ')}}) do
  local command = {}
  for word in string.gmatch(words, '%S+') do command[#command + 1] = word end
  command[2] = KEYS[tonumber(command[2])]
  local reply = redis.pcall(unpack(command))
  if denied(reply) then return { time[1], time[2], command[1] } end
  if command[1] == 'SET' and type(reply) == 'table' and reply.err and string.sub(reply.err, 1, 3) ~= 'OOM' then return reply end
end
redis.pcall('DEL', KEYS[2])
if denied(redis.pcall('PUBLISH', ARGV[1], '')) then return { time[1], time[2], 'PUBLISH ' .. ARGV[1] } end
return time`,
)
