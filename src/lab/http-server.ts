// A backend's web server in the lab: a process of its own in the backend's namespace, started by processes.ts with the
// names to answer with. It knows nothing of Steadycast. Guarantees: hashes are of what it made or received itself.
//
//   GET  /                               who answers, in one line
//   GET  /content?seed=&length=&rate=    the seed's content, its SHA-256 in the trailer x-content-sha256
//   POST /upload                         {"sha256", "bytes"} of the body
//   POST /echo                           the body, as it comes

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { sendContent } from './content.js'
import { SERVER_PORT } from './topology.js'

const IDLE_LIMIT_MS = 3_600_000
const MAX_CONTENT_BYTES = 2 ** 40

const [backend = '', pop = ''] = process.argv.slice(2)

const server = createServer((request, response) => {
  response.setHeader('x-backend', backend)
  response.setHeader('x-pop', pop)
  // The client is gone, or its connection broke: the client counts that.
  request.on('error', () => undefined)
  response.on('error', () => undefined)
  const url = new URL(request.url ?? '/', 'http://vip')
  const route = `${request.method} ${url.pathname}`
  if (route === 'GET /content') return void content(url.searchParams, response)
  if (route === 'POST /upload') return upload(request, response)
  if (route === 'POST /echo') return void request.pipe(response)
  if (route === 'GET /') return void response.end(`backend ${backend} in PoP ${pop}\n`)
  response.writeHead(404).end(`no ${route} here\n`)
})

async function content(query: URLSearchParams, response: ServerResponse): Promise<void> {
  const number = (name: string): number => Number(query.get(name) ?? 0)
  const [seed, length, rate] = [number('seed'), number('length'), number('rate')]
  if (![seed, length, rate].every((n) => n >= 0 && n <= MAX_CONTENT_BYTES)) {
    response.writeHead(400).end('seed, length and rate are numbers from 0\n')
    return
  }
  response.writeHead(200, { trailer: 'x-content-sha256', 'transfer-encoding': 'chunked' })
  response.flushHeaders()
  const sha256 = await sendContent(response, { seed, length, rate })
  response.addTrailers({ 'x-content-sha256': sha256 })
  response.end()
}

function upload(request: IncomingMessage, response: ServerResponse): void {
  const hash = createHash('sha256')
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    bytes += chunk.length
  })
  request.on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ sha256: hash.digest('hex'), bytes }))
  })
}

// Idle and half-closed connections are what the lab is about: the server never ends one by itself.
server.keepAliveTimeout = IDLE_LIMIT_MS
server.requestTimeout = 0
server.headersTimeout = 0
server.timeout = 0
;(server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true
server.on('error', (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
})
process.on('disconnect', () => process.exit(0))
server.listen({ port: SERVER_PORT, host: '::', backlog: 4096 }, () => process.send?.('ready'))
