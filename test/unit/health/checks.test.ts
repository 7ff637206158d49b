// Checks against real servers on loopback: what each may answer, and what is said of it.

import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as TcpServer,
} from 'node:net'
import t, { type Test } from 'tap'
import type { Check } from '../../../src/fleet/model.js'
import { MAX_BODY_BYTES, runCheck } from '../../../src/health/checks.js'
import { REAL_TIME } from '../../../src/health/time.js'
import { selfSigned } from './certificate.js'

const HTTP = {
  kind: 'http',
  path: '/healthz',
  host: undefined,
  status: [{ from: 200, to: 399 }],
  body: undefined,
  serverName: undefined,
  verify: false,
} as const satisfies Check
const HTTPS = { ...HTTP, kind: 'https' } as const satisfies Check
const PATIENCE_MS = 5000

async function listening(t: Test, server: Server | TcpServer, address = '127.0.0.1') {
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  t.teardown(() => {
    if ('closeAllConnections' in server) server.closeAllConnections()
    server.close()
  })
  return { address, port: (server.address() as AddressInfo).port }
}

const check = (what: Check, at: { address: string; port: number }, timeoutMs = PATIENCE_MS) =>
  runCheck(what, at, timeoutMs, REAL_TIME)

const serve = (t: Test, answer: RequestListener, address?: string) =>
  listening(t, createServer(answer), address)

t.test('a TCP connection is enough, over both families; none is refused', async (t) => {
  for (const address of ['127.0.0.1', '::1']) {
    const server = createTcpServer((socket) => socket.on('error', () => {}))
    const at = await listening(t, server, address)
    t.same(await check({ kind: 'tcp' }, at), { ok: true })
    server.close()
    t.match(await check({ kind: 'tcp' }, at), {
      ok: false,
      failure: 'refused',
      why: /^nothing listens on .*ECONNREFUSED/,
    })
  }
})

t.test('a process that stood still past the timeout still sees the connection', async (t) => {
  const at = await listening(
    t,
    createTcpServer((socket) => socket.on('error', () => {})),
  )
  const outcome = check({ kind: 'tcp' }, at, 50)
  await new Promise<void>((resolve) => process.nextTick(resolve))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  t.same(await outcome, { ok: true })
})

t.test('status by list and range', async (t) => {
  let status = 200
  const at = await serve(t, (_, response) => response.writeHead(status).end())
  const listed = {
    ...HTTP,
    status: [
      { from: 204, to: 204 },
      { from: 400, to: 404 },
    ],
  }
  for (const [got, usual, list] of [
    [200, true, false],
    [204, true, true],
    [399, true, false],
    [400, false, true],
    [404, false, true],
    [405, false, false],
    [503, false, false],
  ] as const) {
    status = got
    t.equal((await check(HTTP, at)).ok, usual, `${got}`)
    t.equal((await check(listed, at)).ok, list, `${got} of 204, 400-404`)
  }
  t.match(await check(HTTP, at), { failure: 'status', why: 'expected status 200-399, got 503' })
  t.match(await check(listed, at), { why: 'expected status 204, 400-404, got 503' })
})

t.test('the request says path, Host and who asks', async (t) => {
  const seen: unknown[] = []
  const at = await serve(t, ({ url, method, headers }, response) => {
    seen.push([method, url, headers.host, headers['user-agent']])
    response.end()
  })
  await check(HTTP, at)
  await check({ ...HTTP, path: '/a?b=c', host: 'www.example.org' }, at)
  t.same(seen, [
    ['GET', '/healthz', `127.0.0.1:${at.port}`, 'steadycast-health'],
    ['GET', '/a?b=c', 'www.example.org', 'steadycast-health'],
  ])
})

t.test('a body must contain what is expected, within the bytes that are read', async (t) => {
  let body = ''
  const at = await serve(t, (_, response) => response.end(body))
  const expecting = { ...HTTP, body: 'is well' }
  body = 'all is well here'
  t.same(await check(expecting, at), { ok: true })
  body = 'all is\nlost'
  t.match(await check(expecting, at), {
    failure: 'body',
    why: 'expected a body that contains "is well", got "all is lost"',
  })
  body = `${'x'.repeat(MAX_BODY_BYTES - 7)}is well${'x'.repeat(MAX_BODY_BYTES)}`
  t.same(await check(expecting, at), { ok: true })
  body = `${'x'.repeat(MAX_BODY_BYTES)}is well`
  t.match(await check(expecting, at), { failure: 'body' })
})

t.test('an endless body is read to the bound and no further', async (t) => {
  let ended = () => {}
  const end = new Promise<void>((resolve) => {
    ended = resolve
  })
  const at = await serve(t, (request, response) => {
    request.on('close', () => ended())
    const go = () => {
      while (!response.destroyed && response.write(Buffer.alloc(8192, 'x')));
    }
    response.on('drain', go)
    go()
  })
  t.same(await check(HTTP, at), { ok: true })
  await end
})

t.test(
  'silence ends with the timeout: before a connection, a status, the end of a body',
  async (t) => {
    const silent = await listening(
      t,
      createTcpServer((socket) => socket.on('error', () => {})),
    )
    const halfway = await serve(t, (_, response) => {
      response.writeHead(200, { 'content-length': 10 })
      response.write('is')
    })
    for (const at of [silent, halfway]) {
      t.match(await check(HTTP, at, 50), { failure: 'timeout', why: 'no answer within 50 ms' })
    }
  },
)

t.test('what is no HTTP, and what ends early, is told apart', async (t) => {
  const answer = (text: string) =>
    listening(
      t,
      createTcpServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => socket.end(text))
      }),
    )
  t.match(await check(HTTP, await answer('SSH-2.0-OpenSSH\r\n')), { failure: 'protocol' })
  t.match(await check(HTTP, await answer('')), { failure: 'reset' })
  t.match(await check(HTTP, await answer('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab')), {
    ok: false,
    failure: 'reset',
  })
  const huge = `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`
  t.match(await check(HTTP, await answer(huge)), { ok: false, failure: 'protocol' })
})

t.test('HTTPS: the name is asked for, and verified only when told to', async (t) => {
  const made = selfSigned(t, 'www.example.org')
  if (made === undefined) return
  const names: unknown[] = []
  const server = createTlsServer(made, (_, response) => response.end('fine'))
  server.on('secureConnection', ({ servername }) => names.push(servername))
  const at = await listening(t, server)
  t.same(await check(HTTPS, at), { ok: true })
  t.same(await check({ ...HTTPS, serverName: 'www.example.org' }, at), { ok: true })
  t.same(names, [false, 'www.example.org'])
  const verified = { ...HTTPS, serverName: 'www.example.org', verify: true }
  t.match(await check(verified, at), { ok: false, failure: 'tls' })
  t.match(await check(HTTP, at), { ok: false })
  const plain = await serve(t, (_, response) => response.end())
  t.match(await check(HTTPS, plain), { ok: false, failure: 'tls' })
})
