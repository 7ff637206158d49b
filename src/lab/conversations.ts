// What one client does on one TCP connection: HTTP over the kernel's own TCP, every byte checked. Called by clients.ts,
// one call per connection; each resolves when the connection has ended, to whether it lived. Guarantees: no connection
// is given up before the book says so, and none outlives its call.

import { createHash } from 'node:crypto'
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { Content, sendContent } from './content.js'
import { type Family, SERVER_PORT, vipOf } from './topology.js'
import type { Book, Watch } from './watch.js'

export interface Talk {
  readonly book: Book
  readonly client: number
  readonly family: Family
  readonly localAddress: string
  readonly seed: number
}

export interface Stream {
  readonly length: number
  /** Bytes a second; 0: as fast as it goes. */
  readonly rate: number
}

interface Exchange {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly agent?: Agent
  readonly onResponse: (response: IncomingMessage) => void
}

const contentPath = (seed: number, { length, rate }: Stream): string =>
  `/content?seed=${seed}&length=${length}&rate=${rate}`

/** A download; `half-closed`: the client has sent its FIN before the first byte comes. */
export function download(
  talk: Talk,
  stream: Stream,
  activity: 'downloading' | 'half-closed' | 'requesting',
): Promise<boolean> {
  const watch = talk.book.open(talk.client, talk.family)
  const sent = exchange(talk, watch, {
    method: 'GET',
    path: contentPath(talk.seed, stream),
    onResponse: (response) => {
      watch.turnTo(activity)
      checkContent(watch, response, stream.length, () => watch.succeed())
    },
  })
  if (activity === 'half-closed') {
    // In one piece with the request's last byte: the FIN, while the answer is still to come.
    sent.on('finish', () => sent.socket?.end())
  }
  sent.end()
  return watch.ended
}

export function upload(talk: Talk, stream: Stream): Promise<boolean> {
  const watch = talk.book.open(talk.client, talk.family)
  let sentHash = ''
  const sent = exchange(talk, watch, {
    method: 'POST',
    path: '/upload',
    onResponse: (response) =>
      readAll(watch, response, (body) => {
        const answer = parseAnswer(body)
        if (sentHash === '') return watch.fail('the server answered before the upload was whole')
        if (answer.bytes !== stream.length || answer.sha256 !== sentHash) {
          return watch.fail(`wrong bytes: the server got ${answer.bytes} of ${stream.length}`)
        }
        watch.progress(stream.length)
        watch.succeed()
      }),
  })
  sent.on('socket', (socket) => socket.once('connect', () => watch.turnTo('uploading')))
  const sending = { ...stream, seed: talk.seed, onTaken: () => watch.progress() }
  void sendContent(sent, sending).then((sha256) => {
    sentHash = sha256
    sent.end()
  })
  return watch.ended
}

/** Both directions all the time; every byte that comes back is compared. */
export function echo(talk: Talk, stream: Stream): Promise<boolean> {
  const watch = talk.book.open(talk.client, talk.family)
  const expected = new Content(talk.seed)
  let received = 0
  const sent = exchange(talk, watch, {
    method: 'POST',
    path: '/echo',
    onResponse: (response) => {
      watch.turnTo('echoing')
      response.on('data', (chunk: Buffer) => {
        if (!chunk.equals(expected.take(chunk.length))) {
          return watch.fail(`wrong bytes after ${received} of the echo`)
        }
        received += chunk.length
        watch.progress(chunk.length)
      })
      response.on('end', () => {
        if (received === stream.length) return watch.succeed()
        watch.fail(`the echo ended after ${received} of ${stream.length} bytes`)
      })
    },
  })
  void sendContent(sent, { ...stream, seed: talk.seed }).then(() => sent.end())
  return watch.ended
}

/** One connection, a request, a long silence, a request, ... until `isOver`. */
export function idle(
  talk: Talk,
  length: number,
  silence: () => Promise<void>,
  isOver: () => boolean,
): Promise<boolean> {
  const watch = talk.book.open(talk.client, talk.family)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  let requests = 0
  const next = (): void => {
    const stream = { length, rate: 0 }
    const sent = exchange(talk, watch, {
      method: 'GET',
      path: contentPath(talk.seed + requests, stream),
      agent,
      onResponse: (response) =>
        checkContent(watch, response, length, () => {
          if (requests > 0 && !sent.reusedSocket) return watch.fail('the idle connection was lost')
          requests++
          if (isOver()) return watch.succeed()
          watch.turnTo('idle')
          void silence().then(next)
        }),
    })
    if (requests > 0) watch.turnTo('requesting')
    sent.end()
  }
  next()
  return watch.ended.finally(() => agent.destroy())
}

function exchange(talk: Talk, watch: Watch, what: Exchange): ClientRequest {
  const sent = request({
    host: vipOf(talk.family),
    port: SERVER_PORT,
    family: talk.family,
    localAddress: talk.localAddress,
    method: what.method,
    path: what.path,
    agent: what.agent ?? false,
  })
  watch.onAbort(() => sent.destroy())
  sent.on('response', (response) => {
    watch.servedBy(String(response.headers['x-backend'] ?? ''))
    watch.progress()
    response.on('error', (error) => watch.fail(reasonOf(error)))
    response.on('aborted', () => watch.fail('the connection ended early'))
    if (response.statusCode !== 200) return watch.fail(`HTTP status ${response.statusCode}`)
    what.onResponse(response)
  })
  sent.on('error', (error) => watch.fail(reasonOf(error)))
  // A keep-alive socket outlives the request; any other way of closing has told its reason by now.
  sent.on('close', () => {
    if (what.agent === undefined) watch.fail('the connection ended early')
  })
  return sent
}

function checkContent(
  watch: Watch,
  response: IncomingMessage,
  length: number,
  then: () => void,
): void {
  const hash = createHash('sha256')
  let received = 0
  response.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    received += chunk.length
    watch.progress(chunk.length)
  })
  response.on('end', () => {
    if (received !== length) return watch.fail(`got ${received} of ${length} bytes`)
    if (hash.digest('hex') !== response.trailers['x-content-sha256']) {
      return watch.fail('wrong bytes: the SHA-256 differs')
    }
    then()
  })
}

function readAll(watch: Watch, response: IncomingMessage, then: (body: string) => void): void {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    watch.progress()
  })
  response.on('end', () => then(Buffer.concat(chunks).toString('utf8')))
}

function parseAnswer(body: string): { sha256?: unknown; bytes?: unknown } {
  try {
    return JSON.parse(body) as { sha256?: unknown; bytes?: unknown }
  } catch {
    return {}
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timed out',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
}

function reasonOf(error: NodeJS.ErrnoException): string {
  return REASONS[error.code ?? ''] ?? error.message
}
