import type { Answer } from './answer.ts'

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ESCAPES[sign]!)
}

const STYLE = `
:root{color-scheme:light dark;--ground:#f4f5f8;--card:#fff;--ink:#16181d;--soft:#5a6072;--line:#d9dce4;--blue:#4650d8;--good:#1a7f4b;--bad:#c0362c;--warn:#9a6700}
@media (prefers-color-scheme:dark){:root{--ground:#15171c;--card:#1f2228;--ink:#eceef3;--soft:#a4abba;--line:#363b46;--blue:#8a92ff;--good:#5fce93;--bad:#ff8a80;--warn:#e8b64c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.35rem;line-height:1.25;margin:0 0 .25rem}h2{font-size:1.05rem;margin:0 0 .5rem}
p{margin:.25rem 0 .75rem}small,.soft{color:var(--soft)}
a{color:var(--blue)}
button{font:inherit;padding:.55rem 1rem;border-radius:.5rem;border:1px solid var(--line);background:var(--card);color:var(--ink);cursor:pointer}
button.first{background:#4650d8;border-color:#4650d8;color:#fff}
:focus-visible{outline:3px solid var(--blue);outline-offset:2px}
input,select{font:inherit;padding:.45rem .6rem;border-radius:.5rem;border:1px solid var(--line);background:var(--card);color:var(--ink);max-width:100%}
.card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem}
`

/** A whole HTML page in the simulator's own looks; `style` and `script` come on top. */
export function page(title: string, body: string, { style = '', script = '', status = 200 } = {}): Answer {
  const html = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(title)}</title><link rel="icon" href="data:,"><style>${STYLE}${style}</style></head>
<body>${body}${script === '' ? '' : `<script>${script}</script>`}</body></html>
`
  return {
    status,
    type: 'text/html; charset=utf-8',
    body: html,
    headers: ['cache-control', 'no-store', 'referrer-policy', 'no-referrer', 'x-frame-options', 'DENY'],
    origin: 'discord',
  }
}
