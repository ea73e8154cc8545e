/**
 * Whether Cloudflare lets a User-Agent through to Discord's API. The documented form is `DiscordBot ($url, $version)`;
 * in practice nearly every agent is accepted, curl's, python-requests' and Node's among them (discord-api-docs#4908).
 * Known to be blocked: none at all (Reference, "User Agent"), `Python-urllib/…` (#4908), `Java/1.…` (#1504), and a
 * browser's together with a bot token (#6473).
 */
export function isAgentAllowed(agent: string | undefined, authorization: string | undefined): boolean {
  if (agent === undefined || agent.trim() === '') return false
  if (/^(Python-urllib|Java\/1\.)/.test(agent)) return false
  return !(agent.startsWith('Mozilla/') && authorization?.startsWith('Bot '))
}

/** The documented form alone: what `requireUserAgent` holds everybody to. */
export function isDocumentedAgent(agent: string | undefined): boolean {
  return agent?.startsWith('DiscordBot (') ?? false
}
