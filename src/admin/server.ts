// The admin HTTP server on loopback: /metrics and /healthz. Started by the verbs before anything of the machine is
// changed, so that a second process finds the port taken first. Guarantees: reads only; a slow or endless request is cut
// off; never an answer without a body that says what it means.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { errnoCode, HostError } from '../host/host-error.js'
import { type AdminAddress, adminUrl } from './address.js'

const REQUEST_TIMEOUT_MS = 5000
/** How late a request may be cut off. */
const TIMEOUT_CHECK_MS = 1000
const MAX_HEADER_BYTES = 8192
const MAX_CONNECTIONS = 64
const TEXT = 'text/plain; charset=utf-8'

/** `why`: one sentence. */
export type Health = { readonly ok: true } | { readonly ok: false; readonly why: string }

export interface AdminSources {
  readonly health: () => Health
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
  /** Of a node. */
  readonly explain?: (query: URLSearchParams) => Answer
}

interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

export interface AdminServer {
  readonly url: string
  close(): Promise<void>
}

type Page = (sources: AdminSources, query: URLSearchParams) => Promise<Answer> | Answer

const pages: Readonly<Record<string, Page>> = {
  '/metrics': async (sources) => {
    const { contentType, text } = await sources.metrics()
    return { status: 200, contentType, body: text }
  },
  '/healthz': (sources) => {
    const health = sources.health()
    return health.ok
      ? { status: 200, contentType: TEXT, body: 'ok\n' }
      : { status: 503, contentType: TEXT, body: `${health.why}\n` }
  },
  '/explain': ({ explain }, query) =>
    explain?.(query) ?? { status: 404, contentType: TEXT, body: 'this is no node\n' },
}

const paths = Object.keys(pages).join('\n')

export async function startAdmin(
  address: AdminAddress,
  sources: AdminSources,
  warn: (message: string) => void,
): Promise<AdminServer> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    (request, response) => void respond(request, response, sources),
  )
  server.headersTimeout = REQUEST_TIMEOUT_MS
  server.keepAliveTimeout = REQUEST_TIMEOUT_MS
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, address, warn)
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port
  return {
    url: adminUrl({ host: address.host, port }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listen(
  server: Server,
  address: AdminAddress,
  warn: (message: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (error: Error) => reject(new HostError(refusal(address, errnoCode(error))))
    server.once('error', refused)
    server.listen(address.port, address.host, () => {
      server.off('error', refused)
      // Without a file descriptor to accept with, say; the node goes on.
      server.on('error', ({ message }) => warn(`the admin server: ${message}`))
      resolve()
    })
  })
}

function refusal(address: AdminAddress, code: string): string {
  const where = `the admin address ${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
  switch (code) {
    case 'EADDRINUSE':
      return `${where} is taken by another process, perhaps another steadycast: stop that ("ss -ltnp sport = :${address.port}" names it), or choose another with --admin`
    case 'EADDRNOTAVAIL':
      return `${where} is not there to listen on, expected a loopback device that is up: run "ip link set lo up", or choose another with --admin`
    case 'EACCES':
      return `${where} is not this user's to listen on, expected a port above 1023: choose another with --admin`
    default:
      return `${where} cannot be listened on (${code}): choose another with --admin`
  }
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  sources: AdminSources,
): Promise<void> {
  const { status, contentType, body } = await answer(request, sources).catch((error: unknown) => ({
    status: 500,
    contentType: TEXT,
    body: `${(error as Error).message}\n`,
  }))
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  })
  response.end(body)
}

async function answer(request: IncomingMessage, sources: AdminSources): Promise<Answer> {
  const [path = '', query = ''] = (request.url ?? '').split('?')
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  if (page === undefined) {
    return { status: 404, contentType: TEXT, body: `no such page; there are:\n${paths}\n` }
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, contentType: TEXT, body: `${path} can be read only (GET, HEAD)\n` }
  }
  return await page(sources, new URLSearchParams(query))
}
