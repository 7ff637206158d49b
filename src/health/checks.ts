// One check of a backend: a TCP connection, or a request over HTTP or HTTPS by Node's own client. Called by checker.ts.
// Guarantees: resolves once, within the timeout, whatever the server does; reads at most MAX_BODY_BYTES; leaves no socket.

import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect, type TcpNetConnectOpts } from 'node:net'
import type { Check, StatusRange } from '../fleet/model.js'
import { failed, failureOf, type Outcome, type Target, timedOut } from './outcome.js'
import type { Timers } from './time.js'

/** Of a body; what is expected must come within. */
export const MAX_BODY_BYTES = 64 * 1024
const MAX_HEADER_BYTES = 16 * 1024
const MAX_SHOWN = 60

type HttpCheck = Extract<Check, { readonly kind: 'http' | 'https' }>

export function runCheck(
  check: Check,
  target: Target,
  timeoutMs: number,
  timers: Timers,
): Promise<Outcome> {
  if (check.kind !== 'tcp') return runHttp(check, target, timeoutMs, timers)
  return tcpConnects(target, timeoutMs, timers)
}

/** `from`: the address and port to connect from. */
export function tcpConnects(
  target: Target,
  timeoutMs: number,
  timers: Timers,
  from: Pick<TcpNetConnectOpts, 'localAddress' | 'localPort'> = {},
): Promise<Outcome> {
  return once(timeoutMs, timers, (settle) => {
    const socket = connect({ host: target.address, port: target.port, ...from })
    socket.on('connect', () => settle({ ok: true }))
    socket.on('error', (error) => settle(failureOf(error, target)))
    return () => socket.destroy()
  })
}

function runHttp(
  check: HttpCheck,
  target: Target,
  timeoutMs: number,
  timers: Timers,
): Promise<Outcome> {
  return once(timeoutMs, timers, (settle) => {
    const request = (check.kind === 'https' ? httpsRequest : httpRequest)(optionsOf(check, target))
    request.on('response', (response) => judge(response, check, target, settle))
    request.on('error', (error) => settle(failureOf(error, target)))
    request.on('close', () => settle(failed('reset', 'the connection ended without an answer')))
    request.end()
    return () => request.destroy()
  })
}

function optionsOf(check: HttpCheck, { address, port }: Target): RequestOptions {
  const headers = {
    'user-agent': 'steadycast-health',
    connection: 'close',
    ...(check.host === undefined ? {} : { host: check.host }),
  }
  const { path, serverName = '', verify } = check
  const tls = { servername: serverName, rejectUnauthorized: verify }
  return {
    host: address,
    port,
    path,
    headers,
    agent: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    ...(check.kind === 'https' ? tls : {}),
  }
}

function judge(
  response: IncomingMessage,
  { status, body }: HttpCheck,
  target: Target,
  settle: (outcome: Outcome) => void,
): void {
  const got = response.statusCode ?? 0
  if (!status.some(({ from, to }) => got >= from && got <= to)) {
    settle(failed('status', `expected status ${statusText(status)}, got ${got}`))
    return
  }
  const chunks: Buffer[] = []
  let bytes = 0
  const finish = () => settle(judgeBody(Buffer.concat(chunks), body))
  response.on('data', (chunk: Buffer) => {
    const room = MAX_BODY_BYTES - bytes
    if (body !== undefined) chunks.push(chunk.subarray(0, room))
    bytes += chunk.length
    if (bytes >= MAX_BODY_BYTES) finish()
  })
  response.on('end', finish)
  response.on('error', (error) => settle(failureOf(error, target)))
}

function judgeBody(read: Buffer, body: string | undefined): Outcome {
  if (body === undefined || read.includes(body)) return { ok: true }
  const start = read
    .subarray(0, MAX_SHOWN)
    .toString('utf8')
    .replace(/[^\P{C}]/gu, ' ')
  const more = read.length > MAX_SHOWN ? '...' : ''
  return failed(
    'body',
    `expected a body that contains ${JSON.stringify(body)}, got ${JSON.stringify(start)}${more}`,
  )
}

export function statusText(ranges: readonly StatusRange[]): string {
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(', ')
}

/** The first outcome, or the end of time; then what was begun is ended. */
function once(
  timeoutMs: number,
  timers: Timers,
  begin: (settle: (outcome: Outcome) => void) => () => void,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let settled = false
    let end = () => {}
    const settle = (outcome: Outcome) => {
      if (settled) return
      settled = true
      giveUp()
      end()
      resolve(outcome)
    }
    // A process that stood still has not looked yet at what came in time.
    const giveUp = timers.after(timeoutMs, () => setImmediate(() => settle(timedOut(timeoutMs))))
    end = begin(settle)
  })
}
