// What the verbs make of what answers them: a node, a node that refuses, and whatever else listens there.

import { spawn } from 'node:child_process'
import { createServer, type OutgoingHttpHeaders } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { askDoor, type Door, statusOf } from '../../../src/admin/client.js'
import { type NodeStatus, overall, statusOfNode } from '../../../src/cli/commands/status.js'
import { makeStatus } from '../status/fixture.js'

interface Told {
  readonly status?: number
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string
}

const TEXT = { 'content-type': 'text/plain; charset=utf-8' }
const DOCUMENT = makeStatus({})

async function doorTo(t: Test, { status = 200, headers = {}, body = '' }: Told): Promise<Door> {
  const server = createServer((_, response) => response.writeHead(status, headers).end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  return { kind: 'tcp', address: { host: '127.0.0.1', port }, token: undefined }
}

t.test('what a refusal says cannot drive the terminal, nor fill it', async (t) => {
  const body = `\x1b]0;owned\x07\x1b[2J\u009b31mno\u202e${'x'.repeat(5000)}\nmore`
  const reply = await askDoor(await doorTo(t, { status: 500, headers: TEXT, body }), {
    method: 'GET',
    path: '/status',
  })
  if (reply.ok) throw new Error('refused')
  t.match(reply.why, /^\]0;owned \[2J 31mno xxx+…$/)
  t.equal(reply.why.length, 300)
})

t.test('what a document says cannot either', async (t) => {
  const node = 'ams-1\x1b[2J\u009b31m'
  const reply = await statusOf(
    askDoor,
    await doorTo(t, { body: JSON.stringify({ ...DOCUMENT, node }) }),
  )
  t.match(reply, { ok: true, value: { node: 'ams-1 [2J 31m' } })
})

t.test('what is no steadycast is said to be none', async (t) => {
  const page = '<html><body>Bad gateway'
  const foreign: readonly Told[] = [
    { status: 502, headers: { 'content-type': 'text/html' }, body: page },
    { status: 404, body: page },
    { body: page },
    { body: 'null' },
    { body: '{"status":"green"}' },
    { body: '{"format":1}' },
  ]
  for (const told of foreign) {
    const reply = await statusOf(askDoor, await doorTo(t, told))
    t.match(reply, { ok: false, why: /^what answers at 127\.0\.0\.1:\d+ is no steadycast/ })
  }
})

const FULL = `
import socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(0)
print(s.getsockname()[1], flush=True)
sys.stdin.read()
`

t.test('who does not even take the connection gives no answer in time', async (t) => {
  const deaf = spawn('python3', ['-c', FULL])
  t.teardown(() => deaf.stdin.end())
  const port = Number(await new Promise((resolve) => deaf.stdout.once('data', resolve)))
  const waiting = connect(port, '127.0.0.1')
  t.teardown(() => waiting.destroy())
  await new Promise((resolve) => waiting.once('connect', resolve))
  const address = { host: '127.0.0.1', port }
  const reply = await askDoor(
    { kind: 'tcp', address, token: undefined },
    { method: 'GET', path: '/' },
  )
  t.match(reply, { ok: false, why: `no answer from 127.0.0.1:${port} within 3 s` })
})

t.test(
  'a node that answered and refused is unknown, not down; one that is silent or starts is down',
  async (t) => {
    const ask = async (told: Told) =>
      await statusOfNode({ node: 'ams-1', door: await doorTo(t, told) })
    for (const status of [401, 403, 429]) {
      t.match(await ask({ status, headers: TEXT, body: 'no\n' }), { state: 'unknown', why: 'no' })
    }
    const starting = await ask({ status: 503, headers: TEXT, body: 'the node starts\n' })
    t.match(starting, { state: 'down', why: 'the node starts' })
    const door = { kind: 'unix', path: '/nobody/there.sock' } as const
    t.match(await statusOfNode({ node: 'ams-1', door }), { state: 'down', why: /nothing listens/ })
  },
)

t.test('of several nodes the gravest counts: down, unknown, degraded, ok', (t) => {
  const known = (state: 'ok' | 'degraded' | 'down'): NodeStatus => ({
    ok: true,
    status: { ...DOCUMENT, health: { state, reasons: state === 'ok' ? [] : ['why'] } },
  })
  const denied: NodeStatus = { ok: false, node: 'nyc-1', why: 'no', state: 'unknown' }
  const of = (...nodes: readonly NodeStatus[]) => overall(nodes, '/run/steadycast').state
  t.equal(of(known('ok'), known('degraded'), known('ok')), 'degraded')
  t.equal(of(known('degraded'), denied), 'unknown')
  t.equal(of(denied, known('down')), 'down')
  t.equal(of(denied), 'unknown')
  t.equal(of(), 'down', 'none runs here')
  t.end()
})
