// Requests that never become one: nonsense, headers beyond the limit, and what does not come to its end. Called by server.ts
// for the server's 'clientError'. Guarantees: an answer with a sentence, where one can still be written, and the end of the
// connection. It cannot get into another answer: each is written whole, at once.

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { errnoCode } from '../host/host-error.js'
import { type Answer, refusal } from './answer.js'

export interface RequestBounds {
  readonly headerBytes: number
  readonly timeoutMs: number
}

export function refuseBroken(error: Error, socket: Duplex, bounds: RequestBounds): void {
  if (socket.writable) {
    const { status, contentType, body } = answerTo(error, bounds)
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'connection: close',
      `content-type: ${contentType}`,
      'x-content-type-options: nosniff',
      `content-length: ${Buffer.byteLength(body)}`,
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  }
  socket.destroy(error)
}

function answerTo(error: Error, { headerBytes, timeoutMs }: RequestBounds): Answer {
  const code = errnoCode(error) ?? ''
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return refusal(
        431,
        `the headers are too large, expected at most ${headerBytes} bytes (MAX_HEADER_BYTES)`,
      )
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return refusal(
        408,
        `the request is not here in full, expected all of it within ${timeoutMs / 1000} s (REQUEST_TIMEOUT_MS)`,
      )
    default:
      return refusal(
        400,
        `what was sent is no HTTP request (${code}), expected one such as GET /healthz`,
      )
  }
}
