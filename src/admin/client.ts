// Asks the admin interface of a node: by its UNIX socket on this machine, or by TCP with the token. Called by the verbs.
// Guarantees: an answer within the time or a sentence why not; the token goes to no other place than the address that it was
// given for, and is never in a sentence; nothing in a sentence or a document can drive the terminal that it is shown on.

import { type IncomingMessage, request } from 'node:http'
import { type AdminAddress, adminText } from '../fleet/admin-address.js'
import { errnoCode } from '../host/host-error.js'
import { STATUS_FORMAT, type StatusDocument } from '../status/model.js'
import { foreignJson, foreignLine } from '../terminal/foreign.js'

export type Door =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly address: AdminAddress; readonly token: string | undefined }

export type Reply<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false
      readonly why: string
      /** It answered, and said no. */
      readonly refused: boolean
      /** That says nothing of how the node is: the question was not this user's, or somebody else answered. */
      readonly unknown?: true
    }

export interface Question {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Sent as JSON. */
  readonly body?: unknown
}

export const ASK_TIMEOUT_MS = 3000
/** The status of a fleet at all its limits is below 4 MiB. */
const MAX_REPLY_BYTES = 16 * 1024 * 1024
/** Who asks may not, or not so often. */
const DENIALS: readonly (number | undefined)[] = [401, 403, 429]

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
    const failed = (why: string, error?: Error) => {
      const unknown = errnoCode(error) === 'EACCES' ? ({ unknown: true } as const) : {}
      resolve({ ok: false, why, refused: false, ...unknown })
    }
    const asked = request({ ...where, method, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        timer.refresh()
        if (bytes > MAX_REPLY_BYTES) asked.destroy(new Error('its answer is endless'))
        else parts.push(part)
      })
      response.on('error', (error) => failed(sentence(door, error), error))
      response.on('end', () => {
        const value = Buffer.concat(parts).toString('utf8')
        const { statusCode = 0 } = response
        if (statusCode >= 200 && statusCode < 300) resolve({ ok: true, value })
        else resolve(refusalOf(door, response, value))
      })
    })
    // Not the request's own, which does not run before the connection stands.
    const timer = setTimeout(() => {
      failed(`no answer from ${doorText(door)} within ${ASK_TIMEOUT_MS / 1000} s`)
      asked.destroy()
    }, ASK_TIMEOUT_MS)
    asked.on('close', () => clearTimeout(timer))
    asked.on('error', (error) => failed(sentence(door, error), error))
    asked.end(text)
  })
}

/** What was said, in a sentence; a proxy, a web server, whatever else listens there answers in HTML. */
function refusalOf<T>(
  door: Door,
  { statusCode = 0, headers }: IncomingMessage,
  text: string,
): Reply<T> {
  if (/^text\/html/i.test(headers['content-type'] ?? '') || /^\s*</.test(text)) {
    return stranger(door, ` (HTTP ${statusCode}, HTML)`)
  }
  const why = foreignLine(text.trim().split('\n')[0] ?? '') || `HTTP ${statusCode}`
  const unknown = DENIALS.includes(statusCode) ? ({ unknown: true } as const) : {}
  return { ok: false, why, refused: true, ...unknown }
}

function stranger<T>(door: Door, how = ''): Reply<T> {
  const why = `what answers at ${doorText(door)} is no steadycast${how}`
  return { ok: false, why, refused: true, unknown: true }
}

/** An object with these fields; what they are is not looked at. */
export function documentOf<T>(
  door: Door,
  text: string,
  fields: readonly (keyof T & string)[],
): Reply<T> {
  let value: unknown
  try {
    value = foreignJson(text)
  } catch {
    return stranger(door)
  }
  const fits = typeof value === 'object' && value !== null
  return fits && fields.every((field) => field in (value as object))
    ? { ok: true, value: value as T }
    : stranger(door)
}

export async function statusOf(ask: Ask, door: Door): Promise<Reply<StatusDocument>> {
  const reply = await ask(door, { method: 'GET', path: '/status' })
  if (!reply.ok) return reply
  const document = documentOf<StatusDocument>(door, reply.value, ['format'])
  if (!document.ok) return document
  const { format, health, node } = document.value
  if (format !== STATUS_FORMAT) {
    const why = `the status at ${doorText(door)} has format ${foreignLine(String(format), 20)}, expected ${STATUS_FORMAT}: use the steadycast that the node runs`
    return { ok: false, why, refused: true, unknown: true }
  }
  if (typeof node !== 'string' || typeof health?.state !== 'string') return stranger(door)
  return document
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
      return `${where} is not this user's to ask: run this as the user of the node (steadycast, as a rule) or as root`
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `no route leads to ${where}`
    case 'ECONNRESET':
      return `${where} closed the connection`
    default:
      return `${where}: ${foreignLine(error.message)}`
  }
}
