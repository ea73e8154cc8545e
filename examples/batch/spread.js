// The calls with Holdfast: keys in a vault, an owner quota, and one batch.
import { batch, createKeyVault, createOwnerQuota } from 'holdfast'

export async function spread({ api, call, items, owners, limit, windowMs, progress }) {
  // Whose key is it? The API knows, and is asked once for each. Set DATABASE_URL to keep the vault.
  const vault = await createKeyVault({
    secret: process.env.HOLDFAST_SECRET ?? 'only-for-this-example-at-least-32-bytes',
    ownerOf: async (key) => (await (await fetch(`${api.url}/key/owner?key=${key}`)).json()).user,
  })
  for (const key of Object.keys(owners)) await vault.add(key)
  const quota = createOwnerQuota({ limit, windowMs })
  const results = await batch(items, {
    keys: [...(await vault.keysOf('ann')), ...(await vault.keysOf('bob'))],
    quota,
    // An error with retryAfterMs closes this user's pool, and the item goes again; with keyDead it goes with another key.
    send: call,
    onProgress: progress,
  })
  await vault.close()
  await quota.close()
  return results
}
