import type { RefusalCode } from '../http/refusal.ts'

/** What one reason means: the code it is answered with, for the developer what happened, and for the user what to do. */
interface Meaning {
  readonly code: RefusalCode
  /** For developers: the error's message, and docs/reference/events.md. */
  readonly means: string
  /** For users: no more than they need. */
  readonly title: string
  readonly message: string
  /** Something is wrong with the app or its settings, not with this request: told to the logger as an error, else not. */
  readonly unexpected?: true
}

const SIGN_IN = { title: 'Signed out', message: 'Please sign in and try again.' }
const NO_ACCESS = { title: 'No access', message: 'You do not have access to this.' }
const DISCORD_DOWN = {
  title: 'Discord is not answering',
  message: 'Discord is not answering at the moment. Please try again in a little while.',
}
const NOT_CHECKED = {
  title: 'Back in a moment',
  message: 'Your sign-in cannot be checked at the moment. Please try again in a little while.',
}

/** Why `requireAuth` refuses: the closed list of reasons that the event `auth.refused`, `AuthError.reason` and the option `refusal` name. */
export const REFUSAL_REASONS = {
  'no-session': { code: 'UNAUTHENTICATED', means: 'the request has no session', ...SIGN_IN },
  'session-invalid': {
    code: 'UNAUTHENTICATED',
    means: 'the session has no userId, or no accessToken that can be one; check the session resolver',
    ...SIGN_IN,
    unexpected: true,
  },
  'token-dead': {
    code: 'UNAUTHENTICATED',
    means: 'Discord does not accept the token of this session any more; refresh it, or sign the user in anew',
    ...SIGN_IN,
  },
  'token-malformed': { code: 'UNAUTHENTICATED', means: 'the Authorization header holds no bearer token', ...SIGN_IN },
  'token-expired': { code: 'UNAUTHENTICATED', means: 'the bearer token has expired', ...SIGN_IN },
  'token-foreign': {
    code: 'UNAUTHENTICATED',
    means: 'the bearer token was issued to another application than DISCORD_CLIENT_ID',
    ...SIGN_IN,
  },
  'token-anonymous': {
    code: 'UNAUTHENTICATED',
    means: 'the bearer token lacks the scope identify, so nobody can tell whose it is',
    ...SIGN_IN,
  },
  'scope-missing': {
    code: 'FORBIDDEN',
    means: 'the session lacks the scope guilds; sign the user in with it',
    title: 'No access',
    message: 'Please sign in again and allow this site to see your servers.',
  },
  'no-guild-named': { code: 'FORBIDDEN', means: 'the request names no guild where this route needs one', ...NO_ACCESS },
  'not-in-guild': { code: 'FORBIDDEN', means: 'the user is not in the guild that this route asks for', ...NO_ACCESS },
  'permission-missing': {
    code: 'FORBIDDEN',
    means: 'the user lacks a permission that this route asks for',
    ...NO_ACCESS,
  },
  'discord-throttles': {
    code: 'RATE_LIMITED',
    means: 'Discord throttles, and nothing young enough is held',
    title: 'Discord is busy',
    message: 'Discord limits how often it can be asked at the moment. Please try again in a little while.',
  },
  'discord-unavailable': {
    code: 'SERVICE_UNAVAILABLE',
    means: 'Discord cannot be used, and nothing young enough is held',
    ...DISCORD_DOWN,
  },
  'not-live': {
    code: 'SERVICE_UNAVAILABLE',
    means: 'this route needs live memberships, and Discord cannot be asked now',
    ...DISCORD_DOWN,
  },
  'session-resolver-failed': {
    code: 'SERVICE_UNAVAILABLE',
    means: 'the session resolver threw; see the cause',
    ...NOT_CHECKED,
    unexpected: true,
  },
  'session-resolver-slow': {
    code: 'SERVICE_UNAVAILABLE',
    means: 'the session resolver took longer than 10 s',
    ...NOT_CHECKED,
    unexpected: true,
  },
  'memberships-failed': {
    code: 'SERVICE_UNAVAILABLE',
    means: 'the memberships could not be read; see the cause',
    title: 'Back in a moment',
    message: 'Your servers cannot be read at the moment. Please try again in a little while.',
    unexpected: true,
  },
} as const satisfies Record<string, Meaning>

export type RefusalReason = keyof typeof REFUSAL_REASONS

/** What a reason means, with the parts that only some have. */
export const meaningOf = (reason: RefusalReason): Meaning => REFUSAL_REASONS[reason]
