export default {
  // Loaded by Node as it is: it opens databases and Redis by packages that are there only where you use them.
  serverExternalPackages: ['holdfast'],
  // The guard sees what Next's router asks for.
  skipProxyUrlNormalize: true,
}
