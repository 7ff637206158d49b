// The admin server, asked over real sockets.

import { connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { type AdminServer, type Health, startAdmin } from '../../../src/admin/server.js'

let health: Health = { ok: true }

async function start(t: Test, metrics?: () => Promise<never>): Promise<AdminServer> {
  const page = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'a_metric 1\n' })
  const server = await startAdmin(
    { host: '127.0.0.1', port: 0 },
    { health: () => health, metrics: metrics ?? page },
    (message) => t.fail(message),
  )
  t.teardown(() => server.close())
  return server
}

t.test('the pages answer with their content types', async (t) => {
  const { url } = await start(t)
  const metrics = await fetch(`${url}/metrics?name=x`)
  t.equal(metrics.status, 200)
  t.equal(metrics.headers.get('content-type'), 'text/plain; version=0.0.4')
  t.equal(await metrics.text(), 'a_metric 1\n')
  const healthz = await fetch(`${url}/healthz`)
  t.equal(healthz.status, 200)
  t.equal(await healthz.text(), 'ok\n')
})

t.test('a worker that does not run is 503 with the reason', async (t) => {
  const { url } = await start(t)
  health = { ok: false, why: 'the worker has ended: ENODEV' }
  t.teardown(() => {
    health = { ok: true }
  })
  const response = await fetch(`${url}/healthz`)
  t.equal(response.status, 503)
  t.equal(await response.text(), 'the worker has ended: ENODEV\n')
})

t.test('any other path is 404 with the list of paths', async (t) => {
  const { url } = await start(t)
  for (const path of ['/', '/metrics/', '/constructor', '/../metrics%00', '//healthz']) {
    const response = await fetch(`${url}${path}`)
    t.equal(response.status, 404, path)
    t.equal(await response.text(), 'no such page; there are:\n/metrics\n/healthz\n/explain\n', path)
  }
})

t.test('HEAD has headers only, and every other method is refused', async (t) => {
  const { url } = await start(t)
  const head = await fetch(`${url}/healthz`, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(head.headers.get('content-length'), '3')
  t.equal(await head.text(), '')
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const response = await fetch(`${url}/metrics`, { method })
    t.equal(response.status, 405, method)
    t.equal(response.headers.get('allow'), 'GET, HEAD')
    await response.text()
  }
})

t.test('a page that fails is 500 with the reason, and the server goes on', async (t) => {
  const { url } = await start(t, () => Promise.reject(new Error('no counters')))
  const response = await fetch(`${url}/metrics`)
  t.equal(response.status, 500)
  t.equal(await response.text(), 'no counters\n')
  t.equal((await fetch(`${url}/healthz`)).status, 200)
})

t.test('headers beyond the limit and nonsense are refused, and the server goes on', async (t) => {
  const { url } = await start(t)
  const port = Number(new URL(url).port)
  const raw = (text: string) =>
    new Promise<string>((resolve) => {
      let answer = ''
      const socket = connect(port, '127.0.0.1', () => socket.end(text))
      socket.on('data', (chunk) => {
        answer += chunk.toString()
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(answer.split('\r\n')[0] ?? ''))
    })
  t.equal(await raw('nonsense\r\n\r\n'), 'HTTP/1.1 400 Bad Request')
  t.equal(
    await raw(`GET /metrics HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(10_000)}\r\n\r\n`),
    'HTTP/1.1 431 Request Header Fields Too Large',
  )
  t.equal((await fetch(`${url}/healthz`)).status, 200)
})

t.test('closing does not wait for a client that says nothing', async (t) => {
  const server = await start(t)
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
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
  await t.rejects(
    startAdmin(
      { host: '127.0.0.1', port },
      { health: () => health, metrics: () => Promise.reject(new Error('unused')) },
      (message) => t.fail(message),
    ),
    {
      message: new RegExp(`^the admin address 127\\.0\\.0\\.1:${port} is taken by .*--admin$`),
      exitCode: 1,
    },
  )
})
