import type { APIApplicationCommand, APIWebhook } from 'discord-api-types/v10'
import type { Milliseconds } from '../../time/clock.ts'
import type { Application } from './application.ts'
import type { Channels } from './channels.ts'
import type { Messages } from './messages.ts'
import type { People } from './people.ts'

/** Everything that can be read and written: what a simulator's answers are about. */
export interface World {
  readonly application: Application
  readonly people: People
  readonly channels: Channels
  readonly messages: Messages
  readonly webhooks: Map<string, APIWebhook>
  /** By guild id; '' for those that are everywhere. */
  readonly commands: Map<string, APIApplicationCommand[]>
  /** Wall clock. */
  now(): Milliseconds
  newId(): string
  /** Letters and digits, drawn from the seed. */
  newToken(length: number): string
  /** `http://host:port` of this simulator: where files are fetched from. */
  origin(): string
  /** Told of every change that the gateway of Discord would tell bots of. */
  dispatch(event: string, guildId: string | null, data: object): void
}

/** Discord's timestamps: ISO 8601 with microseconds and an offset. */
export function timestamp(ms: Milliseconds): string {
  return new Date(ms).toISOString().replace('Z', '000+00:00')
}
