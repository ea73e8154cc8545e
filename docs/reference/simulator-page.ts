import { createBuckets } from '../../src/simulator/buckets.ts'
import { FAULT_KINDS, type FaultKind } from '../../src/simulator/fault-options.ts'
import { OPEN_SCOPES } from '../../src/simulator/oauth/scopes.ts'
import { ROUTES } from '../../src/simulator/route-table.ts'

/** One rule of the simulator's, and where Discord says or shows it. */
type Rule = readonly [rule: string, source: string]

const RULES: Readonly<Record<string, readonly Rule[]>> = {
  'Limits and bans': [
    [
      'A limit is one principal’s: the user’s whatever their token, or the bot’s; per top-level resource (guild, channel, webhook)',
      'Topics, “Rate Limits”; discord-api-docs#647',
    ],
    ['Leaky and fixed windows, which the headers do not tell apart', 'discord-api-docs#7680'],
    ['X-RateLimit-Bucket is the same for every user', 'observed (Canvas-Web#505)'],
    [
      'X-RateLimit-Scope and -Global on 429s alone; Retry-After in whole seconds, rounded up, `retry_after` with decimals',
      'Topics, “Rate Limits”; discord-api-docs#2097',
    ],
    [
      '50 calls a second of one bot; without Authorization per address; interactions are exempt',
      'Topics, “Rate Limits”',
    ],
    ['`GET /users/@me/guilds`: 1 a second and user', 'observed (Canvas-Web#505)'],
    [
      'More than 10 000 answers of 401, 403 or 429 (not of scope `shared`) in 10 minutes: the address is blocked, `error code: 1015`',
      'Topics, “Rate Limits”; discord.js#8574',
    ],
    [
      'A block has one of five shapes: Cloudflare’s text, page or JSON, Discord’s 403 with 40333, a sentence with code 0',
      'discord-api-docs#1771, #5682, #6473; Cloudflare’s changelog of 2026-03-11',
    ],
    ['A shared 429 has Remaining and Reset-After of its own', 'the example in Topics, “Rate Limits”'],
    ['The token endpoint sends no X-RateLimit headers', 'flask-discord-interactions#91'],
  ],
  Requests: [
    [
      'User-Agents: none, `Python-urllib/…`, `Java/1.…`, and a browser’s with a bot token get 403 with 40333, except at the OAuth2 endpoints; all others are let in',
      'discord-api-docs#4908, #1504, #6473',
    ],
    ['Versions 6 to 10, or none; any other is 50041', 'Reference, “API Versioning”'],
    ['A body needs a Content-Type of JSON, or multipart; else 50035', 'Reference, “HTTP API”'],
    [
      'With `payload_json` the fields beside it are ignored; the id of a new attachment is its n in `files[n]`',
      'Reference, “Uploading Files”; Discord.Net#987',
    ],
    ['X-Audit-Log-Reason is percent-encoded, at most 512 characters', 'Resources, “Audit Log”'],
    ['Wrong fields are named in a tree: `errors.<field>._errors[]`', 'Reference, “Error Messages”'],
    ['The API may be called from pages of any origin', 'observed'],
  ],
  OAuth2: [
    ['Redirect URIs are compared character by character with the registered ones', 'Topics, “OAuth2”'],
    ['A scope that is unknown or needs approval is `invalid_scope`', 'discord-api-docs#7169'],
    [
      'A code works once, for 100 s; PKCE with S256; client credentials by Basic or in the form',
      'Topics, “OAuth2”; RFC 6749, RFC 7636',
    ],
    ['A refresh token works once; a used, revoked or unknown one is `invalid_grant`', 'discord-api-docs#5942'],
    ['Revoking one token ends all of that user’s authorization', 'Topics, “OAuth2”'],
    [
      'Implicit grant, client credentials (the owner’s token), adding a bot with and without a code, `webhook.incoming`',
      'Topics, “OAuth2”',
    ],
    ['A missing scope is 403 with 50026; the wrong kind of token 401', 'discord-api-docs#3945'],
    [
      'Webhook events are signed (Ed25519) and sent again for 10 minutes until they are answered with 2xx',
      'Events, “Webhook Events”',
    ],
  ],
  'Gateway (with the package `ws`)': [
    [
      'Hello, heartbeat, identify, ready, guilds, resume with what was missed, members by chunk; one identify in five seconds',
      'Events, “Gateway”',
    ],
    ['Closes with 4001 to 4005, 4012 and 4013', 'Topics, “Opcodes and Status Codes”'],
    [
      'Events need their intent; content needs MESSAGE_CONTENT, or to be the bot’s own, to mention it, or to be to it alone',
      'Events, “Gateway”',
    ],
  ],
  Resources: [
    [
      'Unknown things: 10003, 10004, 10007, 10008, 10011, 10013, 10014, 10015, 10026, 10062, 10063',
      'Topics, “Opcodes and Status Codes”',
    ],
    [
      '50001 where the bot does not see a channel, 50013 where it lacks a permission (roles and overwrites), 50005, 50006, 50008, 50027, 50028, 50033, 50034, 40005, 40060',
      'the same; Topics, “Permissions”',
    ],
    [
      'Messages: 2000 characters, 10 embeds of 6000 characters in all, 25 fields, 10 files of 10 MiB',
      'Resources, “Message”',
    ],
    ['Without READ_MESSAGE_HISTORY a channel’s messages are an empty list', 'Resources, “Get Channel Messages”'],
    ['Bulk deletion takes 2 to 100 messages of the last 14 days', 'Resources, “Message”'],
    [
      'Guild lists have at most 200 entries, in order of their ids; `with_counts` takes True, true and 1',
      'Resources, “User”; Reference, “Boolean Query Strings”',
    ],
    ['An interaction’s token works for 15 minutes, its callback once', 'Interactions, “Receiving and Responding”'],
  ],
}

const FAULTS: Readonly<Record<FaultKind, string>> = {
  'rate-limit': '429 as Discord sends it; `retryAfterMs`, `scope`, `code`',
  ban: 'Cloudflare’s block; `shape`, `retryAfterMs`',
  'server-error': '502 as a page, or another `status`; `shape`, `retryAfterMs`',
  hang: 'read, and never answered',
  slow: 'the answer comes `ms` later (default 1000)',
  truncate: 'half of what Content-Length promised',
  malformed: '200 with JSON that breaks off',
  reset: 'the connection is destroyed',
  'clock-skew': 'Date and X-RateLimit-Reset are `ms` ahead (default an hour)',
  'block-page': '403 with a page; `shape`, `retryAfterMs`',
  'no-headers': 'no X-RateLimit headers; the limits go on behind it (discord-api-docs#4010)',
  'bucket-change': 'each answer names another X-RateLimit-Bucket (discord-api-docs#7394)',
  'sub-limit': '429 while X-RateLimit-Remaining is above 0; `retryAfterMs`',
  trickle: 'a byte of the body every `ms` (default 1000)',
  answer: 'any `status`, `body` and `headers`',
  'short-page': 'a list has one entry less (discord-api-docs#5886)',
}

const NOT_SIMULATED = [
  'of the gateway: compression, ETF, shards of their own, presence, that a silent client is closed, and voice',
  'threads, forums, stages, scheduled events, auto moderation, invites, emojis and stickers (an empty list), audit logs, polls, monetization, templates',
  'the order of roles: whoever has MANAGE_ROLES may give any role',
  'the limits of PATCH channel name and topic, and of old messages, by themselves (the fault `sub-limit` makes them)',
  'two-factor requirements, verification levels, slow mode, allowed mentions',
  'OpenID Connect, public clients without a secret, `prompt`, and that a new login may give the token before',
  'Discord’s numbers for limits that are not documented: those in the table are of the right size',
  'components and command options beyond their outer shape',
]

/** The page, from the simulator’s own tables. `table` writes one. */
export function simulatorPage(
  note: string,
  table: (head: readonly string[], rows: ReadonlyArray<readonly string[]>) => string,
): string {
  const buckets = createBuckets({ limit: 1, windowMs: 1000, kind: 'leaky' })
  const limitText = ({ limit, windowMs, kind }: { limit: number; windowMs: number; kind: string }) =>
    `${limit} per ${windowMs / 1000} s, ${kind}`
  const routes = Object.entries(ROUTES).map(([name, { caller, scope, bucket, major }]) => [
    `\`${name}\``,
    caller === 'any' ? 'bearer, bot' : caller,
    scope === null ? '–' : `\`${scope}\``,
    bucket === null ? '–' : `${bucket}${major === null ? '' : `, per ${major}`}`,
  ])
  const limits = Object.entries(buckets).map(([name, { user, bot }]) => [name, limitText(user), limitText(bot)])
  return `# The simulator
${note}
\`startSimulator()\` of \`holdfast/simulator\` is a Discord to test against: [Testing your app](../guides/testing.md) shows how.
Every option, method and field is described where your editor shows it. This page holds the rules it keeps and where each
comes from, what it can be asked, and what it leaves out.

## Rules
${Object.entries(RULES)
  .map(([title, rules]) => `\n### ${title}\n\n${table(['rule', 'source'], rules)}\n`)
  .join('')}
“Topics”, “Reference”, “Resources”, “Events” and “Interactions” are parts of Discord’s documentation; numbers with # are
threads of discord/discord-api-docs unless another repository is named.

## Not simulated

${NOT_SIMULATED.map((line) => `- ${line}`).join('\n')}

What is not there is 404 with code 0, or 405 where only the method is missing.

## Routes

${table(['route', 'token', 'scope', 'limit'], routes)}

## Limits

${table(['limit', 'user', 'bot'], limits)}

\`GET /users/@me/guilds\` has the option \`userGuildsLimit\`. The global limits are \`botGlobalPerSecond\`, \`userGlobalPerSecond\` and
\`addressGlobalPerSecond\`, 50 each.

## Scopes

An application may ask for these unless the option \`scopes\` says otherwise: ${OPEN_SCOPES.map((scope) => `\`${scope}\``).join(', ')}.

## Faults

\`simulator.fault(kind, options)\`, \`--fault KIND\` or \`--fault KIND:P\` on the command line (\`429\` for \`rate-limit\`), or the levers below. Every kind takes \`route\`,
\`userId\`, \`forMs\`, \`times\` and \`probability\`.

${table(
  ['kind', 'what happens'],
  FAULT_KINDS.map((kind) => [`\`${kind}\``, FAULTS[kind]]),
)}

\`rate-limit\`, \`sub-limit\` and \`ban\` hold what they say: who was told to wait and comes earlier is refused with what is left
of it, also when \`times\` is used up; the end of the fault (its function, or \`forMs\`) ends its waits. \`slow\`, \`trickle\`,
\`no-headers\`, \`bucket-change\` and \`clock-skew\` go together with any other. \`shape\` is \`discord\`, \`text\`, \`page\`, \`json\` or \`notice\`.

## Levers over HTTP

JSON under \`/_simulator\` of the simulator’s own address. A wrong lever is 400 or 404 with \`{ "message" }\`. They spend no limit, are
not in the ledger, and are refused to pages of other origins. The page at \`/\` uses them.

${table(
  ['lever', 'takes', 'gives'],
  [
    ['`GET /_simulator`', '', 'url, credentials, people with tokens, faults, how many calls there were'],
    [
      '`GET /_simulator/users`, `/guilds`, `/limits`, `/world`',
      '',
      'people with their guilds; guilds with channels and roles; where limits stand; what `save()` gives',
    ],
    ['`GET /_simulator/calls?since=N`', 'N: how many were seen before', '`{ total, calls }`, at most the last 1000'],
    ['`DELETE /_simulator/calls`', '', '204'],
    ['`GET` and `DELETE /_simulator/faults`', '', 'those that are on; 204: all are off'],
    ['`POST /_simulator/faults`', '`{ "fault": KIND, …options }`', '`{ id }`'],
    ['`DELETE /_simulator/faults/ID`', '', '204'],
    ['`POST /_simulator/next-login`', '`{ "user": id, username or "deny" }`', '204'],
    ['`POST /_simulator/revoke`', '`{ "userId" }`', '204'],
    ['`POST /_simulator/deauthorize`', '`{ "userId", "webhookUrl"? }`', '`{ status }` of the app’s answer, 0 for none'],
    [
      '`POST /_simulator/join`, `/leave`',
      '`{ "userId", "guild": { "id", "name", "permissions"?, "owner"? } }`; `{ "userId", "guildId" }`',
      '204',
    ],
    ['`POST /_simulator/tokens`', '`{ "userId", "scopes"?, "lifetimeMs"?, "applicationId"? }`', '`{ accessToken }`'],
    ['`POST /_simulator/interact`', '`{ "url", "interaction" }`', '`{ status, body }` of the app’s answer'],
  ],
)}

## Matchers

\`holdfast/simulator/matchers\`, for \`expect.extend(matchers)\` of Vitest and Jest: \`toHaveReceived(method, route, body?)\`,
\`toHaveReceivedTimes(times, method, route, body?)\`, \`toHaveStayedWithinLimits()\`. A route’s parameters go by any name, or are real ids; a query
after \`?\` has to be among the call’s; a body has to have at least these fields.
`
}
