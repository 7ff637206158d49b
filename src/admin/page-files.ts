// The status page's files, as the build left them in dist. Added to a node's admin interface by the verb `run`. Guarantees:
// only the files named here are served, read once; a browser may load nothing from elsewhere, and run nothing that is not
// one of them.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page, Pages } from './answer.js'

/** `npm run build` fills it; the same place from src and from dist. */
const DIST = fileURLToPath(new URL('../../dist/', import.meta.url))

const FILES = [
  'page/style.css',
  'page/icon.svg',
  'page/main.js',
  'page/chart.js',
  'page/dom.js',
  'page/fleet.js',
  'page/history.js',
  'page/poll.js',
  'page/table.js',
  'page/tables.js',
  'status/model.js',
  'status/rates.js',
  'terminal/table.js',
] as const

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // No text becomes HTML, whatever a node says.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

export function statusPage(): Pages {
  const files = FILES.map((name) => [`/ui/${name}`, fileAt(name)] as const)
  return { '/': fileAt('page/index.html'), ...Object.fromEntries(files) }
}

function fileAt(name: string): Page {
  const contentType = TYPES[name.split('.').at(-1) ?? '']
  if (contentType === undefined) throw new Error(`${name} has no content type`)
  let body: string
  try {
    body = readFileSync(`${DIST}${name}`, 'utf8')
  } catch (error) {
    throw new Error(
      `the status page's ${DIST}${name} cannot be read (${(error as Error).message}); run "npm run build" in the folder of steadycast`,
      { cause: error },
    )
  }
  const headers = { 'content-security-policy': POLICY }
  return { kind: 'read', read: () => ({ status: 200, contentType, body, headers }) }
}
