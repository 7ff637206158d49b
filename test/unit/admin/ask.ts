// Asks an admin server over real sockets, with any headers that a client may send. Used by the tests of src/admin.

import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

export type Where =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number }

export interface Told {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export async function ask(
  where: Where,
  { method = 'GET', path = '/', headers = {}, body }: Asked,
): Promise<Told> {
  return await new Promise((resolve, reject) => {
    const asked = request({ ...where, method, path, headers, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
      )
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

/** Bytes as they are; all that comes back until the server closes. */
export async function raw(where: Where, text: string): Promise<string> {
  return await new Promise((resolve) => {
    let answer = ''
    const socket = 'port' in where ? connect(where.port, where.host) : connect(where.socketPath)
    socket.on('connect', () => socket.write(text))
    socket.on('data', (chunk) => {
      answer += chunk.toString()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}
