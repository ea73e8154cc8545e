import type { Grant } from '../oauth/credentials.ts'
import type { RouteName } from '../route-table.ts'
import type { World } from '../world/world.ts'
import type { Handler } from './call.ts'
import { channelHandlers } from './channels.ts'
import { commandHandlers } from './commands.ts'
import { guildHandlers } from './guilds.ts'
import { memberHandlers } from './members.ts'
import { messageHandlers } from './messages.ts'
import { roleHandlers } from './roles.ts'
import { userHandlers } from './users.ts'
import { type InteractionHooks, webhookHandlers } from './webhooks.ts'

/** The routes that are about people, guilds, channels and messages; OAuth2's own are in oauth/. */
export type ResourceName = Exclude<
  RouteName,
  'GET /oauth2/authorize' | 'POST /oauth2/authorize' | 'POST /oauth2/token' | 'POST /oauth2/token/revoke'
>

export type Resources = Readonly<Record<ResourceName, Handler>>

export function createResources(
  world: World,
  interactions: InteractionHooks,
  grantOf: (token: string) => Grant | undefined,
  gatewayUrl: () => string,
): Resources {
  return {
    ...userHandlers(world, gatewayUrl),
    ...guildHandlers(world),
    ...memberHandlers(world, grantOf),
    ...roleHandlers(world),
    ...channelHandlers(world),
    ...messageHandlers(world),
    ...webhookHandlers(world, interactions),
    ...commandHandlers(world),
  }
}
