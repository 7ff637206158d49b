// The admin server, asked over real sockets: pages, methods, tokens, browsers' tricks, limits, and the UNIX socket.

import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jsonAnswer, type Pages } from '../../../src/admin/answer.js'
import {
  CONNECTION_REQUESTS_PER_S,
  LISTENER_REQUESTS_PER_S,
  STRANGER_REQUESTS_PER_S,
} from '../../../src/admin/guard.js'
import type { Listener } from '../../../src/admin/listen.js'
import { commonPages, type Health } from '../../../src/admin/pages.js'
import {
  type AdminServer,
  IDLE_TIMEOUT_MS,
  MAX_BODY_BYTES,
  startAdmin,
} from '../../../src/admin/server.js'
import { ask, raw, type Where } from './ask.js'

const TOKEN = 'abcdefghijklmnopqrstuvwxyz012345'
const BEARER = { authorization: `Bearer ${TOKEN}` }
const JSON_HEADERS = { 'content-type': 'application/json' }
const LOOPBACK: Listener = {
  kind: 'tcp',
  address: { host: '127.0.0.1', port: 0 },
  option: '--admin',
}
/** Loopback as well, but nothing that it is told apart by. */
const ANY: Listener = { kind: 'tcp', address: { host: '0.0.0.0', port: 0 }, option: '--admin' }

interface Setup {
  readonly listener?: Listener
  readonly token?: string | undefined
  readonly health?: () => Health
  readonly metrics?: () => Promise<{ contentType: string; text: string }>
  readonly nowMs?: () => number
}

interface Started {
  readonly server: AdminServer
  readonly where: { readonly host: string; readonly port: number }
  /** Bodies of the changes that got through. */
  readonly changes: unknown[]
}

async function start(t: Test, setup: Setup = {}): Promise<Started> {
  const { listener = LOOPBACK, token, health = () => ({ ok: true }), nowMs } = setup
  const page = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'a_metric 1\n' })
  const changes: unknown[] = []
  const pages: Pages = {
    ...commonPages({ health, metrics: setup.metrics ?? page }),
    '/slow': { kind: 'read', perS: 3, read: () => jsonAnswer({}) },
    '/words': {
      kind: 'change',
      change: (body) => {
        changes.push(body)
        return jsonAnswer(body)
      },
    },
  }
  const server = await startAdmin({
    listeners: [listener],
    pages,
    token: () => token,
    warn: (message) => t.fail(message),
    ...(nowMs === undefined ? {} : { nowMs }),
  })
  t.teardown(() => server.close())
  const port = listener.kind === 'tcp' ? Number(new URL(server.url).port) : 0
  return { server, where: { host: '127.0.0.1', port }, changes }
}

const post = (headers: Readonly<Record<string, string>> = {}, body = '{"node":"draining"}') => ({
  method: 'POST',
  path: '/words',
  headers: { ...JSON_HEADERS, ...headers },
  body,
})

t.test('the pages answer with their content types, and headers that bind a browser', async (t) => {
  const { where } = await start(t)
  const metrics = await ask(where, { path: '/metrics?name=x' })
  t.equal(metrics.status, 200)
  t.equal(metrics.headers['content-type'], 'text/plain; version=0.0.4')
  t.equal(metrics.headers['x-content-type-options'], 'nosniff')
  t.match(metrics.headers['content-security-policy'], /default-src 'none'/)
  t.equal(metrics.headers['access-control-allow-origin'], undefined)
  t.equal(metrics.body, 'a_metric 1\n')
  t.match(await ask(where, { path: '/healthz' }), { status: 200, body: 'ok\n' })
})

t.test('a worker that does not run is 503 with the reason', async (t) => {
  const why = 'the worker has ended: ENODEV'
  const { where } = await start(t, { health: () => ({ ok: false, why }) })
  t.match(await ask(where, { path: '/healthz' }), { status: 503, body: `${why}\n` })
})

t.test('any other path is 404 with the list of paths', async (t) => {
  const { where } = await start(t)
  for (const path of ['/', '/metrics/', '/constructor', '/../metrics%00', '//healthz']) {
    const { status, body } = await ask(where, { path })
    t.equal(status, 404, path)
    t.equal(body, 'no such page; there are:\n/metrics\n/healthz\n/slow\n/words\n', path)
  }
})

t.test('pages are read by GET and HEAD, changes told by POST, and all else is 405', async (t) => {
  const { where, changes } = await start(t, { token: TOKEN })
  const head = await ask(where, { path: '/healthz', method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(head.headers['content-length'], '3')
  t.equal(head.body, '')
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const told = await ask(where, {
      path: '/metrics',
      method,
      headers: { ...JSON_HEADERS, ...BEARER },
    })
    t.equal(told.status, 405, method)
    t.equal(told.headers.allow, 'GET, HEAD')
  }
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
    const told = await ask(where, { path: '/words', method, headers: BEARER })
    t.equal(told.status, 405, method)
    t.equal(told.headers.allow, 'POST')
  }
  t.same(changes, [], 'none of them changed anything')
})

t.test('a page that fails is 500 with the reason, and the server goes on', async (t) => {
  const { where } = await start(t, { metrics: () => Promise.reject(new Error('no counters')) })
  t.match(await ask(where, { path: '/metrics' }), { status: 500, body: 'no counters\n' })
  t.equal((await ask(where, { path: '/healthz' })).status, 200)
})

t.test('on loopback reading is free and a change needs the token', async (t) => {
  const { where, changes } = await start(t, { token: TOKEN })
  t.equal((await ask(where, { path: '/metrics' })).status, 200)
  for (const headers of [{}, { authorization: TOKEN }, { authorization: 'Bearer wrong' }]) {
    const told = await ask(where, post(headers))
    t.equal(told.status, 401)
    t.equal(told.headers['www-authenticate'], 'Bearer')
  }
  t.same(changes, [])
  t.match(await ask(where, post(BEARER)), { status: 200, body: '{"node":"draining"}\n' })
  t.same(changes, [{ node: 'draining' }])
})

t.test('a token that is missing and one that is another are told apart', async (t) => {
  const { where } = await start(t, { token: TOKEN })
  t.match((await ask(where, post())).body, /none was sent: .*--token-file FILE/)
  const other = await ask(where, post({ authorization: `Bearer ${TOKEN}x` }))
  t.match(other.body, /^the token that was sent is not this node's, expected/)
  t.notMatch(other.body, TOKEN)
})

t.test('without a token nothing is changed over TCP, and the answer says how else', async (t) => {
  const { where, changes } = await start(t)
  const told = await ask(where, post({ authorization: 'Bearer undefined' }))
  t.equal(told.status, 401)
  t.match(told.body, /^changes are told by the UNIX socket .* or with a token/)
  t.same(changes, [])
})

t.test('where other machines reach it every page needs the token', async (t) => {
  const { where, changes } = await start(t, { listener: ANY, token: TOKEN })
  for (const path of ['/metrics', '/healthz', '/words', '/none']) {
    t.equal((await ask(where, { path })).status, 401, path)
  }
  const almost = `Bearer ${TOKEN.slice(0, -1)}6`
  t.equal((await ask(where, { path: '/metrics', headers: { authorization: almost } })).status, 401)
  t.equal((await ask(where, { path: '/metrics', headers: BEARER })).status, 200)
  t.equal((await ask(where, post(BEARER))).status, 200)
  t.equal(changes.length, 1)
})

t.test('no answer to a wrong token names the right one', async (t) => {
  const { where } = await start(t, { listener: ANY, token: TOKEN })
  for (const headers of [{}, { authorization: 'Bearer x' }, BEARER]) {
    const told = await ask(where, { path: '/none', headers })
    t.notMatch(`${told.body}${JSON.stringify(told.headers)}`, TOKEN)
  }
})

t.test('a name that was pointed here by somebody else reads nothing (DNS rebinding)', async (t) => {
  const { where } = await start(t)
  const hosts = [
    'evil.example',
    'evil.example:6080',
    '127.0.0.1.evil.example',
    'localhost.evil.example:80',
  ]
  for (const host of hosts) {
    t.equal((await ask(where, { path: '/metrics', headers: { host } })).status, 403, host)
  }
  for (const host of ['127.0.0.1:6080', 'localhost:8080', 'LOCALHOST', '[::1]:6080', '10.0.0.1']) {
    t.equal((await ask(where, { path: '/metrics', headers: { host } })).status, 200, host)
  }
})

t.test('a page of another origin in a browser, and a form, change nothing', async (t) => {
  const { where, changes } = await start(t, { token: TOKEN })
  const host = `127.0.0.1:${where.port}`
  for (const [headers, status] of [
    [{ origin: 'http://evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: `http://${host}`, 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'content-type': 'text/plain' }, 415],
    [{ 'content-type': 'application/x-www-form-urlencoded' }, 415],
    [{ 'content-type': 'multipart/form-data; boundary=x' }, 415],
    [{ 'content-type': 'application/jsonp' }, 415],
  ] as const) {
    t.equal(
      (await ask(where, post({ host, ...BEARER, ...headers }))).status,
      status,
      JSON.stringify(headers),
    )
  }
  t.same(changes, [])
  for (const headers of [
    { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' },
    { 'content-type': 'application/json; charset=utf-8' },
  ]) {
    t.equal((await ask(where, post({ host, ...BEARER, ...headers }))).status, 200)
  }
})

t.test('a body that is too large, or no JSON, or where none belongs, is refused', async (t) => {
  const { where, changes } = await start(t, { token: TOKEN })
  const large = `"${'x'.repeat(MAX_BODY_BYTES)}"`
  t.equal((await ask(where, post(BEARER, large))).status, 413)
  const chunked = await ask(where, {
    ...post({ ...BEARER, 'transfer-encoding': 'chunked' }),
    body: large,
  })
  t.equal(chunked.status, 413, 'also when its length is not told')
  t.equal((await ask(where, post(BEARER, '{"node":'))).status, 400)
  t.equal((await ask(where, post(BEARER, ''))).status, 400)
  t.equal(
    (await ask(where, { path: '/metrics', headers: { 'content-length': '1' }, body: 'x' })).status,
    413,
  )
  t.same(changes, [])
  const most = `"${'x'.repeat(MAX_BODY_BYTES - 2)}"`
  t.equal((await ask(where, post(BEARER, most))).status, 200, 'the largest that may be')
})

t.test(
  'headers beyond the limit and nonsense are refused in a sentence, and the server goes on',
  async (t) => {
    const { where } = await start(t)
    const cases = [
      [
        'nonsense\r\n\r\n',
        400,
        /^what was sent is no HTTP request \(HPE_INVALID_METHOD\), expected/,
      ],
      [
        `GET /metrics HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(10_000)}\r\n\r\n`,
        431,
        /^the headers are too large, expected at most 8192 bytes/,
      ],
      ['GET /metrics HTTP/1.1\r\n\r\n', 400, /^the request has no header Host/],
      [
        'GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: cake\r\n\r\n',
        417,
        /^expected no header Expect/,
      ],
    ] as const
    for (const [text, status, says] of cases) {
      const [head = '', body] = (await raw(where, text)).split('\r\n\r\n')
      t.match(head, new RegExp(`^HTTP/1\\.1 ${status} `))
      t.match(head, /^content-type: text\/plain/im)
      t.match(body, says)
    }
    t.equal((await ask(where, { path: '/healthz' })).status, 200)
  },
)

t.test('a request that does not come to its end is cut off', async (t) => {
  const { where, changes } = await start(t, { token: TOKEN })
  const head = `POST /words HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n`
  const [headers, body] = await Promise.all([
    raw(where, 'GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n'),
    raw(where, `${head}{"node":`),
  ])
  for (const told of [headers, body]) {
    t.match(told, /^HTTP\/1\.1 408 [\s\S]*\r\n\r\nthe request is not here in full, expected/)
  }
  t.same(changes, [])
})

t.test('who does not read the answer is cut off', async (t) => {
  const all = 50_000_000
  const { where } = await start(t, {
    metrics: async () => ({ contentType: 'text/plain', text: 'x'.repeat(all) }),
  })
  const socket = connect(where.port, where.host)
  let bytes = 0
  socket.on('data', (part) => {
    bytes += part.length
  })
  socket.on('error', () => {})
  socket.pause()
  socket.write('GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n')
  await new Promise((resolve) => setTimeout(resolve, 2 * IDLE_TIMEOUT_MS + 3000))
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.resume()
  await closed
  t.ok(bytes < all, `${bytes} bytes had been sent by then`)
})

const requests = (n: number, path = '/healthz') =>
  `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`.repeat(n)
const statuses = (text: string) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, code]) => code)

t.test('one connection has so many requests a second, and more with time', async (t) => {
  let now = 0
  const { where } = await start(t, { nowMs: () => now })
  const burst = 2 * CONNECTION_REQUESTS_PER_S
  const answered = statuses(await raw(where, requests(burst + 5)))
  t.same(answered.slice(0, burst), Array(burst).fill('200'))
  t.same(answered.slice(burst), ['429'], 'and then the connection is closed')
  now = 1000
  t.equal((await ask(where, { path: '/healthz' })).status, 200, 'another connection is served')
})

t.test('all connections together have so many requests a second', async (t) => {
  let now = 0
  const { where } = await start(t, { nowMs: () => now })
  const all: string[] = []
  for (let sent = 0; sent < 2 * LISTENER_REQUESTS_PER_S + 20; sent += 20) {
    const last = 'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n'
    all.push(...statuses(await raw(where, requests(19) + last)).map((code) => code ?? ''))
  }
  t.equal(all.filter((code) => code === '200').length, 2 * LISTENER_REQUESTS_PER_S)
  t.ok(all.includes('429'))
  now = 1000
  t.equal((await ask(where, { path: '/healthz' })).status, 200)
})

t.test('a page with a limit of its own keeps to it, and the others stay', async (t) => {
  let now = 0
  const { where } = await start(t, { nowMs: () => now })
  const answers = []
  for (let i = 0; i < 7; i++) answers.push(await ask(where, { path: '/slow' }))
  t.same(
    answers.map(({ status }) => status),
    [...Array(6).fill(200), 429],
  )
  t.equal(
    answers.at(-1)?.body,
    'too many requests of /slow, expected at most 3 a second: try again in a second\n',
  )
  t.equal((await ask(where, { path: '/healthz' })).status, 200)
  now = 1000
  t.equal((await ask(where, { path: '/slow' })).status, 200)
})

t.test('who has no token is slowed down, and keeps nobody else away', async (t) => {
  const { where } = await start(t, { listener: ANY, token: TOKEN, nowMs: () => 0 })
  const codes: number[] = []
  for (let i = 0; i < 3 * STRANGER_REQUESTS_PER_S; i++) {
    codes.push((await ask(where, { path: '/metrics' })).status)
  }
  t.equal(codes.filter((code) => code === 401).length, 2 * STRANGER_REQUESTS_PER_S)
  t.equal(codes.at(-1), 429)
  t.equal((await ask(where, { path: '/metrics', headers: BEARER })).status, 200)
})

t.test('closing does not wait for a client that says nothing', async (t) => {
  const { server, where } = await start(t)
  const socket = connect(where.port, where.host)
  await new Promise((resolve) => socket.once('connect', resolve))
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await server.close()
  await closed
})

t.test('a taken port is a sentence that names it and the option', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const bound = taken.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  const listener: Listener = {
    kind: 'tcp',
    address: { host: '127.0.0.1', port },
    option: '--admin',
  }
  await t.rejects(start(t, { listener }), {
    message: new RegExp(`^the admin address 127\\.0\\.0\\.1:${port} is taken by .*--admin$`),
    exitCode: 1,
  })
})

t.test('an address of no device here is a sentence', async (t) => {
  const address = { host: '192.0.2.77', port: 6081 }
  await t.rejects(start(t, { listener: { kind: 'tcp', address, option: '--admin' } }), {
    message: /^the admin address 192\.0\.2\.77:6081 is not an address of this machine/,
  })
})

/** A path that fits into a socket's address, wherever the project is. */
const socketIn = (t: Test): { path: string; listener: Listener; where: Where } => {
  const dir = mkdtempSync(join(tmpdir(), 'sc-admin-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'ams-1.sock')
  return { path, listener: { kind: 'unix', path }, where: { socketPath: path } }
}

t.test('a UNIX socket is its owner’s alone, and takes changes without a token', async (t) => {
  const { path, listener, where } = socketIn(t)
  const before = process.umask(0)
  t.teardown(() => process.umask(before))
  const { changes, server } = await start(t, { listener })
  t.equal(process.umask(), 0, 'the umask is as before')
  t.equal(lstatSync(path).mode & 0o777, 0o600)
  t.equal((await ask(where, post({ host: 'anything' }))).status, 200)
  t.equal(changes.length, 1)
  await server.close()
  t.notOk(existsSync(path), 'it goes with the server')
})

t.test('the socket of a dead process is replaced, that of a living one never', async (t) => {
  const { path, listener, where } = socketIn(t)
  const holder = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
  ])
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  await t.rejects(start(t, { listener }), { message: /is in use by another process/ })
  t.ok(existsSync(path))
  const dead = new Promise((resolve) => holder.once('close', resolve))
  holder.kill('SIGKILL')
  await dead
  t.ok(existsSync(path), 'the dead process has left its socket')
  await start(t, { listener })
  t.equal((await ask(where, { path: '/healthz' })).status, 200)
})

t.test('what is no socket is not replaced, and a path too long is refused', async (t) => {
  const { path, listener } = socketIn(t)
  writeFileSync(path, 'precious')
  await t.rejects(start(t, { listener }), { message: /is there and is no socket/ })
  const long = join(path, 'x'.repeat(120))
  await t.rejects(start(t, { listener: { kind: 'unix', path: long } }), {
    message: /has a path of \d+ bytes, expected at most 107/,
  })
})
