// `status`, `top`, `drain` and `undrain` against running nodes of two PoPs on real kernels, under transfers that must come to
// their end. The operator sits on the machine of ams-1 and reaches nyc-1 by the address of its admin interface.

import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import type { StatusDocument } from '../../src/status/model.js'
import { FLEET, Net, needsNamespaces, type Outcome, type Running, until, VIP4 } from './net.js'

const TOKEN = randomBytes(32).toString('hex')
const CHUNK = 'x'.repeat(20_000)
const CHUNK_EVERY_MS = 50
const FILE = FLEET.replace('10.1.0.1 }', '10.1.0.1, admin: "10.1.0.1:6081" }')
  .replace('10.2.0.1 }', '10.2.0.1, admin: "10.2.0.1:6081" }')
  .replaceAll('protocol: tcp }', 'protocol: tcp, timeouts: { closing: 2s } }')
  .concat('admin: { token_file: admin.token }\n')

/** Every machine has a folder of its own, as machines do. */
const node = (name: string) => [
  'run',
  '--config',
  'fleet.yaml',
  '--node',
  name,
  '--state',
  `/run/${name}`,
]

/** An upload that goes on until it is told to finish, however slow the machine. */
interface Transfer {
  readonly client: Running
  readonly finish: () => number
}

interface Fleet {
  readonly net: Net
  readonly ams: Running
  readonly nyc: Running
}

async function start(t: Test): Promise<Fleet> {
  const net = await Net.make(t)
  net.write('fleet.yaml', FILE)
  net.write('admin.token', `${TOKEN}\n`)
  await Promise.all([net.serve('web'), net.serve('nyc')])
  const [ams, nyc] = await Promise.all([
    net.up('ams', ...node('ams-1')),
    net.up('nyc', ...node('nyc-1')),
    net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
  ])
  await net.routeVips('ams')
  await until('a fleet that is well', async () => {
    const { code } = await operator(net, 'status', '--config', 'fleet.yaml').ended
    return code === 0
  })
  return { net, ams, nyc }
}

/** On the machine of ams-1. */
function operator(net: Net, ...args: readonly string[]): Running {
  return net.steadycast('ams', ...args, '--state', '/run/ams-1')
}

async function done(running: Running): Promise<Outcome> {
  return await running.ended
}

async function statusOf(net: Net, name: string): Promise<StatusDocument> {
  const { stdout } = await operator(net, 'status', '--json', '--config', 'fleet.yaml').ended
  const { nodes } = JSON.parse(stdout) as { nodes: readonly StatusDocument[] }
  const found = nodes.find((status) => status.node === name)
  if (found === undefined) throw new Error(`no status of ${name} in ${stdout}`)
  return found
}

/** In its midst, by a flow that the node owns. */
async function transfer(t: Test, net: Net, node: string): Promise<Transfer> {
  const client = net.start('c', 'curl', '-gsS', '-T', '-', `http://${VIP4}/`)
  let bytes = 0
  const timer = setInterval(() => {
    bytes += CHUNK.length
    client.child.stdin?.write(CHUNK)
  }, CHUNK_EVERY_MS)
  t.teardown(() => clearInterval(timer))
  await until('a flow', async () => {
    const { backends } = await statusOf(net, node)
    return backends.some(({ owned_flows }) => owned_flows === 1)
  })
  return {
    client,
    finish: () => {
      clearInterval(timer)
      client.child.stdin?.end()
      return bytes
    },
  }
}

/** It goes on to here, and the server has all of it. */
async function requireWhole(t: Test, { client, finish }: Transfer): Promise<void> {
  t.equal(client.child.exitCode, null, 'the transfer is under way')
  const bytes = finish()
  t.same(await client.ended, { code: 0, stdout: `${bytes}`, stderr: '' }, 'the transfer is whole')
}

/** Who answers a new connection: by the counters of new flows. */
async function newFlowsOf(net: Net, node: string, backend: string): Promise<number> {
  const { backends } = await statusOf(net, node)
  return backends.find(({ name }) => name === backend)?.new_flows ?? -1
}

async function connect(t: Test, net: Net): Promise<void> {
  t.equal(
    await net.sh(
      `ip netns exec c curl -gsS -m 10 -o /dev/null -w '%{size_download}' http://${VIP4}/100`,
    ),
    '100',
  )
}

t.test(
  'status and top say how a fleet is, from a socket here and over TCP elsewhere',
  async (t) => {
    if (!needsNamespaces(t)) return
    const { net, nyc } = await start(t)
    const text = await done(operator(net, 'status'))
    t.equal(text.code, 0)
    t.match(text.stdout, /^OK\nNode ams-1 of PoP ams, 10\.1\.0\.1, .*filled, certain\n/)
    t.match(text.stdout, /^ams-web-1 +default +ready +1 +100\.0% +65537 /m)
    t.match(text.stdout, /^nyc-1 +nyc +up, filled /m)
    const remote = await done(
      operator(net, 'status', '--admin', 'http://10.2.0.1:6081', '--token-file', 'admin.token'),
    )
    t.match(remote.stdout, /^OK\nNode nyc-1 of PoP nyc/)
    const refused = await done(operator(net, 'status', '--admin', '10.2.0.1:6081'))
    t.equal(refused.code, 3)
    t.match(refused.stdout, /^UNKNOWN: this needs the token of the fleet.*--token-file FILE/)

    const top = operator(net, 'top', '--json', '--config', 'fleet.yaml')
    await until('three readings', () => top.stdout.split('\n').length > 3, top.ended)
    const readings = top.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.match(readings[0], {
      nodes: [
        { node: 'ams-1', health: 'ok' },
        { node: 'nyc-1', health: 'ok' },
      ],
    })
    t.equal((await top.stop('SIGINT')).code, 0)

    await nyc.stop('SIGKILL')
    await until('ams-1 notices', async () => (await operator(net, 'status').ended).code === 1)
    const degraded = await done(operator(net, 'status'))
    t.match(degraded.stdout, /^DEGRADED: 1 peer not heard: nyc-1 of PoP nyc\n/)
    const fleet = await done(operator(net, 'status', '--config', 'fleet.yaml'))
    t.equal(fleet.code, 2)
    t.match(fleet.stdout, /^DOWN: nyc-1: nothing listens at 10\.2\.0\.1:6081/)
  },
)

t.test(
  'a backend drains: its transfer ends by itself, new connections go elsewhere, and it comes back',
  async (t) => {
    if (!needsNamespaces(t)) return
    const { net, ams } = await start(t)
    const client = await transfer(t, net, 'ams-1')
    const drain = operator(net, 'drain', 'ams-web-1', '--json')
    await drain.says(/"event":"told","nodes":\["ams-1"\]/)
    await until('one flow is left', () => /"flows":1,/.test(drain.stdout), drain.ended)
    t.match(
      (await done(operator(net, 'status'))).stdout,
      /^DEGRADED: .*no ready backend in PoP ams/,
    )
    const before = await newFlowsOf(net, 'nyc-1', 'nyc-web-1')
    await connect(t, net)
    t.equal(await newFlowsOf(net, 'nyc-1', 'nyc-web-1'), before + 1, 'a new connection goes to nyc')

    await ams.stop('SIGKILL')
    const again = await net.up('ams', ...node('ams-1'))
    t.match(
      (await statusOf(net, 'ams-1')).backends[0],
      { name: 'ams-web-1', word: 'draining' },
      'the word outlives the process',
    )
    await requireWhole(t, client)
    const { code, stdout } = await done(drain)
    t.equal(code, 0)
    t.match(stdout, /\{"event":"drained","left":\{[^}]*"flows":0,.*\n$/)
    t.match(stdout, /"unreachable":\["ams-1: /, 'while the node was away nothing was certain')

    t.same(await done(operator(net, 'undrain', 'ams-web-1')), {
      code: 0,
      stdout: 'backend ams-web-1 is ready: told ams-1\n',
      stderr: '',
    })
    await until('the backend has its slots again', async () => {
      return (await statusOf(net, 'ams-1')).backends[0]?.slots === 65537
    })
    await again.stop()
  },
)

t.test(
  'a node drains when routers and flows have left it, forwarded ones included; undrain and Ctrl-C at any moment',
  async (t) => {
    if (!needsNamespaces(t)) return
    const { net, nyc } = await start(t)
    await net.routeVips('nyc')
    const client = await transfer(t, net, 'nyc-1')

    const first = operator(net, 'drain', 'nyc-1')
    await first.says(/routers to send nothing here: withdraw the prefixes/)
    const interrupted = await first.stop('SIGINT')
    t.equal(interrupted.code, 130)
    t.match(
      interrupted.stdout,
      /the drain stays in force \("steadycast undrain" takes it back\)\n$/,
    )
    t.match(await statusOf(net, 'nyc-1'), { word: 'draining', health: { state: 'degraded' } })
    t.equal((await done(operator(net, 'undrain', 'nyc-1'))).code, 0)
    t.match(await statusOf(net, 'nyc-1'), { word: 'ready', word_since_s: null })

    const takenBack = operator(net, 'drain', 'nyc-1')
    await takenBack.says(/routers to send nothing here: withdraw the prefixes/)
    t.equal((await done(operator(net, 'undrain', 'nyc-1'))).code, 0)
    t.match(await done(takenBack), {
      code: 4,
      stdout: /nyc-1 is not drained: nyc-1 has been told meanwhile that all is ready/,
    })

    const late = await done(operator(net, 'drain', 'nyc-1', '--timeout', '3s'))
    t.equal(late.code, 3)
    t.match(late.stdout, /the time is over after \d+ s; 1 flow left/)

    const drain = operator(net, 'drain', 'nyc-1', '--json', '--stop')
    await net.routeVips('ams')
    await until(
      'packets of the flow are forwarded to the node',
      () => /"flows":1,.*"forwarded_per_s":[1-9]/.test(drain.stdout),
      drain.ended,
    )
    await requireWhole(t, client)
    const { code, stdout } = await done(drain)
    t.equal(code, 0)
    t.match(stdout, /\{"event":"drained","left":\{[^}]*"flows":0,.*\n$/)
    t.equal((await nyc.ended).code, 0, 'and the node has stopped, as it was told')
  },
)

t.test('a PoP drains whole, and the last one only by force', async (t) => {
  if (!needsNamespaces(t)) return
  const { net } = await start(t)
  const client = await transfer(t, net, 'ams-1')
  const drain = operator(net, 'drain', 'ams', '--json')
  await drain.says(/"event":"told"/)
  await net.routeVips('nyc')
  const refused = await done(operator(net, 'drain', 'nyc'))
  t.equal(refused.code, 1)
  t.match(
    refused.stderr,
    /^steadycast: nothing was changed: without PoP nyc nobody would take new connections of services web and web6,.*--force does it all the same\n$/,
  )
  t.match(await statusOf(net, 'nyc-1'), { word: 'ready' })
  await connect(t, net)
  await requireWhole(t, client)
  t.equal((await done(drain)).code, 0)
  t.match(await statusOf(net, 'ams-1'), { word: 'draining', backends: [{ word: 'draining' }] })
  t.equal((await done(operator(net, 'undrain', 'pop:ams'))).code, 0)
  t.match(await statusOf(net, 'ams-1'), { word: 'ready', backends: [{ word: 'ready' }] })
})

t.test(
  'a node that cannot be told is named, nothing is half done, and no secret is in anything that a node says',
  async (t) => {
    if (!needsNamespaces(t)) return
    const { net, ams, nyc } = await start(t)
    const ask = async (ns: string, ...args: readonly string[]) =>
      await net.sh(`ip netns exec ${ns} curl -sS -m 5 -o - -w ' %{http_code}' ${args.join(' ')}`)
    const remote = 'http://10.2.0.1:6081'
    t.match(await ask('ams', `${remote}/metrics`), / 401$/)
    t.match(await ask('ams', '-H', "'Authorization: Bearer guess'", `${remote}/status`), / 401$/)
    const post = ['-X POST -H content-type:application/json -d', `'{"node":"maintenance"}'`]
    t.match(await ask('nyc', ...post, 'http://127.0.0.1:6080/words'), / 401$/)
    t.match(await ask('nyc', 'http://127.0.0.1:6080/words'), / 405$/)
    t.match(await statusOf(net, 'nyc-1'), { word: 'ready' })
    t.match(
      await ask('nyc', ...post, '--unix-socket /run/nyc-1/nyc-1.sock http://x/words'),
      /^\{"node":"maintenance","backends":\{\}\}\n 200$/,
    )
    t.match(
      await ask('ams', ...post, '-H', `'Authorization: Bearer ${TOKEN}'`, `${remote}/words`),
      / 200$/,
    )

    const key = (await net.sh(`cut -d' ' -f2 ${net.dir}/fleet.key`)).trim()
    t.equal(key.length, 32)
    const said = [
      ams.stdout,
      ams.stderr,
      nyc.stdout,
      nyc.stderr,
      await ask('nyc', 'http://127.0.0.1:6080/metrics'),
      await ask('nyc', 'http://127.0.0.1:6080/status'),
      await net.sh('cat /run/nyc-1/*.json'),
    ].join('\n')
    t.match(said, 'steadycast_build_info')
    t.match(said, '"format":1')
    for (const secret of [TOKEN, key]) t.notMatch(said, secret)

    await nyc.stop()
    const failed = await done(operator(net, 'drain', 'nyc-1'))
    t.equal(failed.code, 1)
    t.match(
      failed.stderr,
      /^steadycast: nothing was changed: nyc-1: nothing listens at 10\.2\.0\.1:6081/,
    )
    const unknown = await done(operator(net, 'drain', 'ams-web-2'))
    t.match(unknown.stderr, /no node, backend or PoP "ams-web-2" .*; did you mean "ams-web-1"\?/)
  },
)
