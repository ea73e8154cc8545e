import { startSimulator } from 'holdfast/simulator'

// Beside Node's types: a simulator is a server.
export async function calls(): Promise<number> {
  await using discord = { ...(await startSimulator({ users: 2 })), [Symbol.asyncDispose]: async () => {} }
  return discord.calls.length
}
