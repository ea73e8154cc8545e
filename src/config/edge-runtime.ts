// What the doors of the package are on edge runtimes (export conditions `edge-light` and `workerd`).

throw new Error(
  'holdfast runs on Node 22.19 and later, Bun and Deno, and not on edge runtimes: its limits, cache and connections live in a process that stays; run this route on the Node runtime. holdfast/browser runs everywhere.',
)

export {}
