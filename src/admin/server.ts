// The admin interface: HTTP on loopback, on a UNIX socket and, with a token, elsewhere. Started by the verbs before anything
// of the machine is changed, so that a second process finds the address taken first. Guarantees: pages are read by GET and
// change things by POST only; no request is longer, slower or more frequent than its limits; never an answer without a body
// that says what it means.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { adminUrl, isOfThisMachine } from '../fleet/admin-address.js'
import { type Answer, type Pages, refusal } from './answer.js'
import { refuseBroken } from './broken.js'
import { Guard, type Token, type Trust } from './guard.js'
import { type Listener, listen } from './listen.js'

/** A request, its body included, has arrived. */
const REQUEST_TIMEOUT_MS = 5000
/** Nothing has moved on a connection, as when nobody reads the answer: cut off after once or twice that. */
export const IDLE_TIMEOUT_MS = 8000
/** How late a request may be cut off. */
const TIMEOUT_CHECK_MS = 1000
const MAX_HEADER_BYTES = 8192
/** Words about MAX_BACKENDS backends with names of MAX_NAME_LENGTH. */
export const MAX_BODY_BYTES = 512 * 1024
/** Of each listener. */
const MAX_CONNECTIONS = 64
const MAX_REQUESTS_PER_CONNECTION = 10_000

/** For browsers: nothing is loaded, nothing frames it, nothing is guessed. A page may say otherwise. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}

export interface AdminOptions {
  readonly listeners: readonly Listener[]
  readonly pages: Pages
  readonly token: Token
  readonly warn: (message: string) => void
  readonly nowMs?: () => number
}

export interface AdminServer {
  /** Of the first TCP listener. */
  readonly url: string
  close(): Promise<void>
}

export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const servers: Server[] = []
  const close = async () => {
    await Promise.all(servers.map(closeServer))
  }
  let url = ''
  try {
    for (const listener of options.listeners) {
      const server = serverFor(trustIn(listener), options)
      await listen(server, listener)
      // Without a file descriptor to accept with, say; the node goes on.
      server.on('error', ({ message }) => options.warn(`the admin server: ${message}`))
      servers.push(server)
      const bound = server.address()
      if (url === '' && listener.kind === 'tcp' && typeof bound === 'object' && bound !== null) {
        url = adminUrl({ host: listener.address.host, port: bound.port })
      }
    }
  } catch (error) {
    await close()
    throw error
  }
  return { url, close }
}

function trustIn(listener: Listener): Trust {
  if (listener.kind === 'unix') return 'socket'
  return isOfThisMachine(listener.address) ? 'local' : 'remote'
}

function serverFor(trust: Trust, { pages, token, nowMs = Date.now }: AdminOptions): Server {
  const guard = new Guard(trust, token, nowMs)
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // Node's own refusal has no body.
      requireHostHeader: false,
    },
    (request, response) => void respond(request, response, guard, pages),
  )
  const bounds = { headerBytes: MAX_HEADER_BYTES, timeoutMs: REQUEST_TIMEOUT_MS }
  server.on('clientError', (error, socket) => refuseBroken(error, socket, bounds))
  server.on('checkExpectation', (_, response) => {
    write(response, refusal(417, 'expected no header Expect but "100-continue"', { close: true }))
  })
  server.headersTimeout = REQUEST_TIMEOUT_MS
  server.keepAliveTimeout = REQUEST_TIMEOUT_MS
  server.timeout = IDLE_TIMEOUT_MS
  server.maxConnections = MAX_CONNECTIONS
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION
  return server
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  guard: Guard,
  pages: Pages,
): Promise<void> {
  const made = await answer(request, guard, pages).catch((error: unknown) =>
    refusal(500, (error as Error).message, { close: true }),
  )
  write(response, made)
}

function write(response: ServerResponse, made: Answer): void {
  const { status, contentType, body, headers = {}, close = false } = made
  response.writeHead(status, {
    ...HEADERS,
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    ...headers,
    ...(close ? { connection: 'close' } : {}),
  })
  response.end(body)
}

async function answer(request: IncomingMessage, guard: Guard, pages: Pages): Promise<Answer> {
  const refused = guard.refuse(request)
  if (refused !== undefined) return refused
  if (request.httpVersion === '1.1' && request.headers.host === undefined) {
    return refusal(400, 'the request has no header Host, which HTTP/1.1 demands', { close: true })
  }
  const [path = '', query = ''] = (request.url ?? '').split('?')
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  if (page === undefined) {
    return refusal(404, `no such page; there are:\n${Object.keys(pages).join('\n')}`, {
      close: hasBody(request),
    })
  }
  switch (page.kind) {
    case 'read':
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        return wrongMethod(`${path} can be read only (GET, HEAD)`, 'GET, HEAD')
      }
      if (hasBody(request)) return refusal(413, 'expected no body with GET', { close: true })
      if (page.perS !== undefined) {
        const tooMany = guard.refusePage(path, page.perS)
        if (tooMany !== undefined) return tooMany
      }
      return await page.read(new URLSearchParams(query))
    case 'change': {
      if (request.method !== 'POST') {
        return wrongMethod(`${path} changes something, expected POST`, 'POST')
      }
      const body = await readBody(request)
      if (body === undefined) {
        const message = `the body is too large, expected at most ${MAX_BODY_BYTES} bytes (MAX_BODY_BYTES)`
        return refusal(413, message, { close: true })
      }
      const parsed = parseJson(body)
      return parsed === undefined
        ? refusal(400, 'the body is not JSON')
        : await page.change(parsed.value)
    }
  }
}

function wrongMethod(message: string, allow: string): Answer {
  return refusal(405, message, { headers: { allow }, close: true })
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Undefined: more than may be. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return undefined
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > MAX_BODY_BYTES) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}
