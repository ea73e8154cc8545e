/** Every `code` an error of ours can have: what it means, and what to do. docs/reference/errors.md is made from this table. */
export const ERROR_CODES = {
  UNAUTHENTICATED: ['AuthError', '401: no session, or a token that Discord does not accept', 'sign the user in'],
  FORBIDDEN: [
    'AuthError',
    '403: not in the guild, or a permission or the scope guilds is missing',
    'tell the user; do not retry',
  ],
  RATE_LIMITED: ['AuthError', '429: Discord throttles and nothing usable is held', 'wait for retryAfterMs'],
  SERVICE_UNAVAILABLE: ['AuthError', '503: Discord cannot be used and nothing usable is held', 'wait for retryAfterMs'],
  CONFIG_INVALID: [
    'ConfigError',
    'an option or variable cannot be used; `option` names it',
    'correct it; `npx holdfast doctor` checks all',
  ],
  DISCORD_UNAUTHORIZED: [
    'DiscordAPIError',
    'Discord answered 401; with `attempts: 0` it had done so before, and nothing was sent',
    'sign the user in anew',
  ],
  DISCORD_FORBIDDEN: [
    'DiscordAPIError',
    'Discord answered 403 in its own JSON',
    "check the token's scopes, or the bot's permissions",
  ],
  DISCORD_NOT_FOUND: ['DiscordAPIError', 'Discord answered 404 in its own JSON', 'check the ids in the path'],
  DISCORD_REFUSED: ['DiscordAPIError', 'Discord answered another 4xx in its own JSON', 'look at `discordCode`'],
  DISCORD_SERVER_ERROR: ['DiscordAPIError', 'Discord answered 5xx', 'try again later, or use `retryOn: "transient"`'],
  DISCORD_RATE_LIMITED: [
    'DiscordRateLimitError',
    'a 429, or (`local: true`) a wait that is known not to fit; `scope` says what it is about',
    'wait for retryAfterMs, or raise `maxWaitMs`',
  ],
  DISCORD_NETWORK: ['DiscordUnavailableError', 'no connection, or it was reset', 'try again later'],
  DISCORD_TIMEOUT: ['DiscordUnavailableError', 'an attempt or the call took too long', 'try again later'],
  DISCORD_TRUNCATED: ['DiscordUnavailableError', 'the answer broke off', 'try again later'],
  DISCORD_TOO_LARGE: ['DiscordUnavailableError', 'the answer is larger than 8 MiB', 'ask for less: `limit`, `after`'],
  DISCORD_NOT_JSON: ['DiscordUnavailableError', 'the answer is not JSON', 'look for a proxy on the way to Discord'],
  DISCORD_WRONG_SHAPE: [
    'DiscordUnavailableError',
    'the answer is JSON, and not what this route answers with',
    'look for a proxy on the way to Discord',
  ],
  DISCORD_FOREIGN_ANSWER: [
    'DiscordUnavailableError',
    "a 3xx or 4xx that is not Discord's own: a redirect, a proxy or a block page",
    'look for a proxy on the way to Discord',
  ],
  DISCORD_BLOCKED: [
    'DiscordUnavailableError',
    "a 403 about our address: Discord's code 40333 or Cloudflare's JSON; nothing more is sent for a while",
    'wait for retryAfterMs; look at who else uses the address, and at a proxy that changes the User-Agent',
  ],
  INVALID_PATH: ['HoldfastError', 'discordFetch: the path could lead elsewhere', 'give a path such as /users/@me'],
  INVALID_TOKEN: ['HoldfastError', 'discordFetch: the token cannot be one', 'give the bare token, without "Bearer"'],
  INVALID_OPTION: ['HoldfastError', 'an option of a call cannot be used', 'the message says what is accepted'],
  INVALID_KEY: ['HoldfastError', 'the cache key is empty or of the wrong type', 'give a string or { user, key }'],
  VALUE_UNDEFINED: ['HoldfastError', 'a loader returned undefined', 'return null where there is nothing'],
  STORE_UNAVAILABLE: [
    'HoldfastError',
    'the store of `cache.store` is away, too slow, or does not keep what is written; seen in events only',
    'see that it runs; meanwhile every process carries on alone',
  ],
  VALUE_TOO_LARGE: [
    'HoldfastError',
    'a value of more than 4 Mi characters is not shared: the process that loaded it keeps it',
    'cache less under one key; seen in the event `redis.failed` only',
  ],
  VALUE_NOT_JSON: ['HoldfastError', 'a value would be changed by JSON', 'return plain data, or give a codec'],
  LOAD_FAILED_ELSEWHERE: [
    'HoldfastError',
    'another process has just failed to load the value, and nobody tries yet',
    'wait for retryAfterMs',
  ],
  LOAD_TIMEOUT: ['HoldfastError', 'a load was given up after `loadTimeoutMs`', 'make it end sooner'],
  REDIS_UNAVAILABLE: [
    'HoldfastError',
    'Redis is away, too slow, or refuses writes; a write that was too slow may still be applied',
    'see that it runs, is no replica and has memory; meanwhile every process carries on alone',
  ],
  REDIS_MISUSE: [
    'HoldfastError',
    'Redis answered that a script or a key is not what was expected',
    'see that nothing else writes under the namespace',
  ],
  DATABASE_UNAVAILABLE: [
    'HoldfastError',
    'the database is away, too slow, locked or full; nothing was written, or all of it',
    'see that it runs, and try again',
  ],
  DATABASE_FAILED: ['HoldfastError', 'the database refused what it was asked', 'look at `cause`'],
  DATABASE_FOREIGN: [
    'HoldfastError',
    "the path of the database leads to a folder, to no database, or to another program's; it was left as it is",
    'give Holdfast a file of its own',
  ],
  DATABASE_NEWER: [
    'HoldfastError',
    'a newer version of Holdfast has made tables that this one does not know; nothing was changed',
    'update this process, or give it another database',
  ],
  VAULT_WRONG_SECRET: [
    'HoldfastError',
    'no secret that was given opens this vault',
    'give the one it was made with, behind a newer one while it is being changed',
  ],
  VAULT_ROW_DAMAGED: [
    'HoldfastError',
    "a vault's row was cut or edited, or sealed under a secret that was not given; the message names its id",
    'while the secret is being changed, give this process the newer one, too; else restore it, or remove it and add the key again',
  ],
  KEY_OWNER_CHANGED: [
    'HoldfastError',
    'a key is stored for another owner',
    'remove it first if it has really changed hands',
  ],
  KEY_OWNER_UNKNOWN: [
    'HoldfastError',
    "nobody tells a key's owner: no `ownerOf`, or it failed; the key was not stored",
    'give `add` an owner, or mend `ownerOf`',
  ],
  QUOTA_FULL: ['HoldfastError', 'too many owners have limits of their own', 'raise `maxOwners`'],
  QUOTA_NEVER: [
    'HoldfastError',
    'batch and run: every owner has the limit 0, or the request costs more than a window may have',
    'raise a limit with `setLimit`, or split the request',
  ],
  QUOTA_DEADLINE: [
    'HoldfastError',
    'run: the turn or the answer did not come in time; the message says whether it was sent',
    'give it longer, or raise the limit',
  ],
  BATCH_DEADLINE: [
    'HoldfastError',
    'the batch ended at its deadline; the message says whether the request had been sent',
    'give it longer, or more owners',
  ],
  BATCH_SEND_TIMEOUT: [
    'HoldfastError',
    'one `send` took too long; it may have been counted and was not sent again',
    'make it end sooner, or raise `sendTimeoutMs`',
  ],
  BATCH_JOURNAL_UNAVAILABLE: [
    'HoldfastError',
    'the journal cannot be read or written: a folder, no permission, a full disk, in use, or too slow; nothing more was sent',
    'the message says which; mend it, and start the same batch again',
  ],
  BATCH_JOURNAL_FOREIGN: [
    'HoldfastError',
    'the journal is no journal, or that of a batch with other requests; it was left as it is',
    'give each batch a file of its own, and its requests in the order they had',
  ],
  BATCH_JOURNAL_DAMAGED: [
    'HoldfastError',
    'a line of the journal that is not its last cannot be read; the message says which, and nothing was sent',
    'restore the file, or remove the line: its request is then sent again',
  ],
  BATCH_RESULT_NOT_JSON: [
    'HoldfastError',
    'with a journal: JSON would change what `send` resolved with; the request was answered and is not sent again',
    'return plain data from `send`; remove its line from the journal to send it once more',
  ],
  NOT_JSON: ['ApiError', 'browser: a success that is no JSON', 'look at what serves that path'],
  KEEPALIVE_TOO_LARGE: [
    'ApiError',
    'browser: more than 64 KiB are unsaved while the page goes away; they are sent without keepalive',
    'keep what is saved small, or ask people before they leave',
  ],
  TIMEOUT: ['ApiError', 'browser: a save or a round of a poll was given up after 120 s', 'make it end sooner'],
  SUPERSEDED: ['ApiError', "browser: the reason of a save's signal: a newer value is sent in its place", 'nothing'],
  CLOSED: ['HoldfastError', 'the instance was closed', 'make a new one'],
} as const satisfies Record<string, readonly [thrownAs: string, meaning: string, whatToDo: string]>

export type ErrorCode = keyof typeof ERROR_CODES
