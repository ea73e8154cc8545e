/**
 * Every key in Redis, without the prefix that all begin with: what it holds and how long it lasts. `<…>` stands for a
 * name (HMAC-SHA256 under a naming key): no id, IP or token is ever in a key. What is in `{…}` decides the slot in a
 * Cluster. docs/reference/redis.md is made from this table.
 */
export const REDIS_KEYS = {
  namingKey: [
    '{names}:key',
    'the key behind all names, sealed under the secret; looked at, and put back, every 10 s',
    'for good',
  ],
  probe: ['{probe}', 'nothing; shows that Redis takes writes and lets us do what we do', '10 s'],
  purged: [
    '{purged}:at',
    'when everything was last invalidated at once; what was loaded before is not there',
    'as long as the oldest value may last; looked at, and put back, every 10 s',
  ],
  epoch: [
    '{<user>}:epoch',
    'when the values beside it were last invalidated; those written under another epoch are not there',
    'longer than they',
  ],
  entry: [
    '{<user>}:entry:<label>:<key>',
    "a value, sealed, after a header in clear; the label is the key's first word; `<user>` names the key itself where it belongs to nobody",
    'its stale time',
  ],
  lease: ['{<user>}:lease:<label>:<key>', 'which process is loading the value, or that it failed', '2 s, renewed'],
  notices: ['{discord}:notices', '429s, bans and dead tokens, sealed, for processes that come later', 'until they end'],
  guardCounts: [
    '{<caller>}:guard:counts',
    "a user's, session's or address's counters: when each window began, how many are charged and were admitted",
    'the longest window',
  ],
  invalidRequests: ['{discord}:invalid-requests', 'how many invalid requests were sent, by 10 s', '10 min'],
  pool: [
    '{<owner>}:pool',
    "an owner's windows, by their length: calls given out, when each ends, what answers told",
    'two of the longest window; an hour, or four of them, where it was reset',
  ],
  session: ['{<session>}:session', 'which user a session belongs to, sealed', '`login.absoluteMs`'],
  signedIn: [
    '{<user>}:signed-in',
    "a user's sessions, and their tokens, sealed; only where no database is configured",
    '`login.absoluteMs` after the last sign-in',
  ],
  refreshing: ['{<user>}:refreshing', "which process refreshes a user's tokens", '5 s, renewed'],
  attempt: [
    '{<attempt>}:sign-in',
    'whether the answer to a sign-in was used, and the session it led to, sealed',
    '10 min',
  ],
  poolLimit: ['{<owner>}:pool-limit', 'a limit that was set while running', 'until it is set back'],
} as const satisfies Record<string, readonly [pattern: string, holds: string, lasts: string]>

/** The channels, without the prefix. */
export const REDIS_CHANNELS = {
  backplane: ['backplane', 'what processes tell each other, sealed, with a number and the time inside'],
  beat: ['beat:<random>', 'a message of a process to itself every 5 s, which shows that messages still arrive'],
} as const satisfies Record<string, readonly [pattern: string, carries: string]>
