// Asks the admin interface of a node: by its UNIX socket on this machine, or by TCP with the token. Called by the verbs.
// Guarantees: an answer within the time or a sentence why not; the token goes to no other place than the address that it was
// given for, and is never in a sentence.

import { request } from 'node:http'
import { type AdminAddress, adminText } from '../fleet/admin-address.js'
import { errnoCode } from '../host/host-error.js'
import { STATUS_FORMAT, type StatusDocument } from '../status/model.js'

export type Door =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly address: AdminAddress; readonly token: string | undefined }

export type Reply<T> =
  | { readonly ok: true; readonly value: T }
  /** `refused`: it answered, and said no. */
  | { readonly ok: false; readonly why: string; readonly refused: boolean }

export interface Question {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Sent as JSON. */
  readonly body?: unknown
}

export const ASK_TIMEOUT_MS = 3000
/** The status of a fleet at all its limits is below 4 MiB. */
const MAX_REPLY_BYTES = 16 * 1024 * 1024

export type Ask = (door: Door, question: Question) => Promise<Reply<string>>

export const askDoor: Ask = async (door, { method, path, body }) => {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const where =
    door.kind === 'unix'
      ? { socketPath: door.path }
      : { host: door.address.host, port: door.address.port }
  const token = door.kind === 'tcp' ? door.token : undefined
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(text === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  }
  return await new Promise((resolve) => {
    const failed = (why: string) => resolve({ ok: false, why, refused: false })
    const asked = request({ ...where, method, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > MAX_REPLY_BYTES) asked.destroy(new Error('its answer is endless'))
        else parts.push(part)
      })
      response.on('error', (error) => failed(sentence(door, error)))
      response.on('end', () => {
        const value = Buffer.concat(parts).toString('utf8')
        const { statusCode = 0 } = response
        if (statusCode >= 200 && statusCode < 300) resolve({ ok: true, value })
        else
          resolve({
            ok: false,
            why: value.trim().split('\n')[0] || `HTTP ${statusCode}`,
            refused: true,
          })
      })
    })
    asked.setTimeout(ASK_TIMEOUT_MS, () => {
      asked.destroy()
      failed(`no answer from ${doorText(door)} within ${ASK_TIMEOUT_MS / 1000} s`)
    })
    asked.on('error', (error) => failed(sentence(door, error)))
    asked.end(text)
  })
}

export async function statusOf(ask: Ask, door: Door): Promise<Reply<StatusDocument>> {
  const reply = await ask(door, { method: 'GET', path: '/status' })
  if (!reply.ok) return reply
  const wrong = (why: string): Reply<StatusDocument> => ({ ok: false, why, refused: true })
  let value: unknown
  try {
    value = JSON.parse(reply.value)
  } catch {
    return wrong(`what answers at ${doorText(door)} is no steadycast`)
  }
  const format = (value as { readonly format?: unknown } | null)?.format
  if (format === STATUS_FORMAT) return { ok: true, value: value as StatusDocument }
  return wrong(
    `the status at ${doorText(door)} has format ${String(format)}, expected ${STATUS_FORMAT}: use the steadycast that the node runs`,
  )
}

export function doorText(door: Door): string {
  return door.kind === 'unix' ? door.path : adminText(door.address)
}

function sentence(door: Door, error: Error): string {
  const where = doorText(door)
  switch (errnoCode(error)) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return `nothing listens at ${where}: the node does not run, or listens elsewhere`
    case 'EACCES':
      return `${where} is not this user's to ask: be the user that the node runs as, or root`
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `no route leads to ${where}`
    case 'ECONNRESET':
      return `${where} closed the connection`
    default:
      return `${where}: ${error.message}`
  }
}
