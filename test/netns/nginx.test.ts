// Two PoPs with nginx behind them, and curl: what operators and their users have. Real kernels, real TCP, no mock. Each PoP
// has a node and a machine with nginx and `steadycast backend`; the router moves the VIPs from one PoP to the other while
// transfers run. At the end the same without Steadycast, so that it is seen to be what keeps them alive.

import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from './net.js'
import { type Content, makeContent } from './support/content.js'
import { FAMILIES, Transfer } from './support/curl.js'
import { Internet, VIP4, VIP6 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { type Counters, deployed, type Machine } from './support/machine.js'
import {
  balanceOf,
  betweenNodes,
  checkEquations,
  type Equation,
  type Metrics,
  troublesOf,
  whenQuiet,
} from './support/metrics.js'
import { startNginx } from './support/nginx.js'
import { newKey, Steadycast, writeFleet, writeKeys } from './support/steadycast.js'
import {
  begun,
  type Contents,
  checkRequests,
  checkTransfer,
  forwarded,
  makeContents,
  newFlows,
  type Pop as PopOfNode,
  requests,
  type Started,
  serversOf,
  sleep,
  startTransfers,
  switchAndAsk,
  WWW,
} from './support/traffic.js'

const DOWNLOAD_BYTES = 80_000_000
const UPLOAD_BYTES = 30_000_000
/** Seven seconds for a transfer, in which the routes move more than ten times. */
const RATES = { download: '11M', upload: '4M' }
const SWITCH_EVERY_MS = 450
const MIN_SWITCHES = 10
const REQUESTS_EACH = 10

const HALF_CLOSE = fileURLToPath(new URL('support/half-close.mjs', import.meta.url))
const HALF_CLOSE_PORT = 81
const HALF_CLOSE_BYTES = 3_000_000

/** curl(1): a failure to send, a failure to receive. */
const BROKEN = [55, 56]

/** What a packet may meet that is at the other PoP before the news of its connection. */
const EARLY = ['uncertain', 'first_refusal']

const POP_NAMES = ['ams', 'nyc'] as const

interface Pop extends PopOfNode {
  readonly web: Machine
  readonly backend: Steadycast
}

interface World {
  readonly internet: Internet
  readonly ams: Pop
  readonly nyc: Pop
  readonly contents: Contents
  readonly half: Content
}

async function build(): Promise<World> {
  const { internet, machines } = await Internet.make('gue', [
    ['ams-1', 'ams-web-1'],
    ['nyc-1', 'nyc-web-1'],
  ])
  const contents = await makeContents(DOWNLOAD_BYTES, UPLOAD_BYTES)
  const half = await makeContent(`${WWW}/half`, HALF_CLOSE_BYTES)
  writeKeys(newKey(1))
  writeFleet(
    machines
      .map(
        ([node, web], at) => `    - name: ${POP_NAMES[at]}
      nodes: [{ name: ${POP_NAMES[at]}-1, address: ${node?.address4} }]
      backends: [{ name: ${POP_NAMES[at]}-web-1, address: ${web?.address4} }]`,
      )
      .join('\n'),
    `  - { name: web, vip: ${VIP4}, ports: [80, ${HALF_CLOSE_PORT}], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [80, ${HALF_CLOSE_PORT}], protocol: tcp }`,
  )
  const [ams, nyc] = await Promise.all(
    machines.map(([node, web], at) => startPop(String(POP_NAMES[at]), node, web)),
  )
  if (ams === undefined || nyc === undefined) throw new Error('there are two PoPs')
  await Promise.all([ams, nyc].map(({ steadycast }) => steadycast.certain()))
  return { internet, ams, nyc, contents, half }
}

async function startPop(
  name: string,
  node: Machine | undefined,
  web: Machine | undefined,
): Promise<Pop> {
  if (node === undefined || web === undefined) throw new Error('a PoP has two machines')
  await node.sysctls(await deployed('sysctl-steadycast.conf'))
  const [nginx, steadycast, backend] = await Promise.all([
    startNginx(web, name, WWW),
    Steadycast.run(node, `${name}-1`),
    Steadycast.backend(web, `${name}-web-1`),
  ])
  const half = web.start(
    ...([process.execPath, HALF_CLOSE, 'serve'] as const),
    ...[String(HALF_CLOSE_PORT), `${WWW}/half`],
  )
  await half.says(/listening/)
  return { name, node, web, nginx, steadycast, backend }
}

/** Of both nodes, both backend sides, and the client's kernel: counters, or their growth. */
interface Reading {
  readonly ams: Metrics
  readonly nyc: Metrics
  readonly amsWeb: Metrics
  readonly nycWeb: Metrics
  readonly client: Counters
}

async function read({ internet, ams, nyc }: World): Promise<Reading> {
  const [amsNode, nycNode, amsWeb, nycWeb, client] = await Promise.all([
    ams.steadycast.metrics(),
    nyc.steadycast.metrics(),
    ams.backend.metrics(),
    nyc.backend.metrics(),
    internet.client.counters(),
  ])
  return { ams: amsNode, nyc: nycNode, amsWeb, nycWeb, client }
}

const quiet = (world: World): Promise<Reading> =>
  whenQuiet(
    () => read(world),
    ({ ams, nyc }) => [ams, nyc],
  )

const growth = (from: Reading, to: Reading): Reading => ({
  ams: to.ams.since(from.ams),
  nyc: to.nyc.since(from.nyc),
  amsWeb: to.amsWeb.since(from.amsWeb),
  nycWeb: to.nycWeb.since(from.nycWeb),
  client: to.client.since(from.client),
})

function equationsOf({ ams, nyc, amsWeb, nycWeb }: Reading): readonly Equation[] {
  const delivered = (node: Metrics): number =>
    node.value('packets_total', { exit: 'delivered_gue' })
  const taken = (web: Metrics): number => web.value('packets_total', { exit: 'delivered_local' })
  return [
    ...balanceOf('ams-1', ams, 'node'),
    ...balanceOf('nyc-1', nyc, 'node'),
    ...balanceOf('ams-web-1', amsWeb, 'backend'),
    ...balanceOf('nyc-web-1', nycWeb, 'backend'),
    ...betweenNodes('ams-1', ams, 'nyc-1', nyc),
    ...betweenNodes('nyc-1', nyc, 'ams-1', ams),
    ['ams-web-1 gets what ams-1 delivers', delivered(ams), taken(amsWeb)],
    ['nyc-web-1 gets what nyc-1 delivers', delivered(nyc), taken(nycWeb)],
    ...troublesOf('ams-1', ams, 'node', EARLY),
    ...troublesOf('nyc-1', nyc, 'node', EARLY),
    ...troublesOf('ams-web-1', amsWeb, 'backend'),
    ...troublesOf('nyc-web-1', nycWeb, 'backend'),
  ]
}

/** Checks what must hold whatever happened since, and says what did happen. */
async function checkSums(t: Test, world: World, before: Reading): Promise<Reading> {
  let grown = before
  await checkEquations(t, async () => {
    grown = growth(before, await read(world))
    return equationsOf(grown)
  })
  const connections = grown.client.value('TcpActiveOpens')
  const flows = newFlows(grown.ams) + newFlows(grown.nyc)
  // A SYN that is repeated after a switch may be another PoP's new flow, until they have told each other.
  const repeated = grown.client.value('TcpExtTCPSynRetrans')
  t.ok(
    flows >= connections && flows <= connections + repeated,
    `${flows} new flows, ${connections} connections made, ${repeated} SYNs repeated`,
  )
  return grown
}

/** Two downloads and an upload that begin at the PoP to which the VIPs are routed. */
async function begin(world: World, pop: Pop, uploading: 4 | 6): Promise<readonly Started[]> {
  const { internet, contents } = world
  const before = await pop.steadycast.metrics()
  await internet.routeVips(pop.node)
  const families = { download: FAMILIES, upload: [uploading] }
  const started = startTransfers(internet, pop, RATES, contents, families)
  await begun(pop, before, started.length)
  return started
}

async function transfersSurvive(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc, contents } = world
  const before = await quiet(world)
  const transfers = [...(await begin(world, ams, 4)), ...(await begin(world, nyc, 6))]
  const answered = await switchAndAsk(
    internet,
    [ams.node, nyc.node],
    () => transfers.every(({ transfer }) => transfer.over),
    { everyMs: SWITCH_EVERY_MS, requestsEach: REQUESTS_EACH },
  )
  for (const started of transfers) await checkTransfer(t, started, contents, MIN_SWITCHES)
  checkRequests(t, answered, REQUESTS_EACH)
  t.same(serversOf(answered), POP_NAMES, 'new connections at each PoP')

  const grown = await checkSums(t, world, before)
  for (const [name, node] of [
    ['ams-1', grown.ams],
    ['nyc-1', grown.nyc],
  ] as const) {
    t.ok(forwarded(node) > 0, `${name} forwarded ${forwarded(node)} packets`)
    const bytes = node.sum('service_bytes_total', 'service')
    t.ok(bytes > UPLOAD_BYTES, `${name}: an upload went through it (${bytes} bytes)`)
    t.ok(bytes < DOWNLOAD_BYTES, `${name}: the downloads did not`)
  }
}

/** The client's SYN has been answered, but the answer has not arrived, when the routes move. */
async function splitHandshake(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc } = world
  const before = await quiet(world)
  await internet.routeVips(ams.node)
  await internet.silenceClient()
  const transfers = FAMILIES.map((family) => requests(internet, family, 1))
  await begun(ams, before.ams, transfers.length)
  await internet.routeVips(nyc.node)
  await internet.hearClient()
  const outcomes = await Promise.all(transfers.map(({ outcome }) => outcome))
  checkRequests(t, outcomes, 1)
  t.same(serversOf(outcomes), ['ams'])
  const grown = await checkSums(t, world, before)
  t.equal(newFlows(grown.ams), transfers.length, 'ams took the SYNs')
  t.ok(forwarded(grown.nyc) >= 2 * transfers.length, 'nyc got all else')
}

/** Balancing upstream takes SYNs elsewhere than what follows them, all the time. */
async function permanentSplit(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc } = world
  const before = await quiet(world)
  await internet.routeVips(ams.node)
  await internet.routeSyns(nyc.node)
  const transfers = FAMILIES.map((family) => requests(internet, family, REQUESTS_EACH))
  const outcomes = await Promise.all(transfers.map(({ outcome }) => outcome))
  await internet.routeSynsLikeAllElse()
  checkRequests(t, outcomes, REQUESTS_EACH)
  t.same(serversOf(outcomes), ['nyc'])
  const grown = await checkSums(t, world, before)
  const count = transfers.length * REQUESTS_EACH
  t.equal(newFlows(grown.nyc), count, 'nyc took the SYNs')
  t.ok(forwarded(grown.ams) >= 3 * count, 'ams got all else')
}

/** The client has sent its FIN, the answer goes on, and with it the client's acknowledgements. */
async function halfClosed(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc } = world
  const before = await quiet(world)
  await internet.routeVips(ams.node)
  const asking = FAMILIES.map((family) => {
    const ask = [HALF_CLOSE, 'ask', family === 4 ? VIP4 : VIP6, String(HALF_CLOSE_PORT)]
    return internet.client.start(process.execPath, ...ask, internet.newClient(family))
  })
  for (const client of asking) await client.says(/answered/)
  for (const to of [nyc, ams, nyc]) {
    await internet.routeVips(to.node)
    await sleep(SWITCH_EVERY_MS / 2)
  }
  for (const client of asking) {
    const { stdout } = await client.ended
    t.same(JSON.parse(stdout.replace('answered', '')), {
      outcome: 'end',
      sha256: world.half.sha256,
    })
  }
  const grown = await checkSums(t, world, before)
  t.ok(forwarded(grown.nyc) > asking.length, 'the acknowledgements went over nyc')
}

/** The connection is silent when the routes move, and is used again afterwards. */
async function idleReuse(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc } = world
  const before = await quiet(world)
  await internet.routeVips(ams.node)
  const idle = ['--rate', '30/m']
  const clients = FAMILIES.map((family) => new Transfer(internet, family, 'small?[1-3]', idle))
  for (const [answers, next] of [
    [1, nyc],
    [2, ams],
  ] as const) {
    await until(`${answers} answers`, () =>
      clients.every((client) => client.over || client.answers().length >= answers),
    )
    await internet.routeVips(next.node)
  }
  for (const { outcome } of clients) {
    const { code, answers, switches, stderr } = await outcome
    t.equal(code, 0, stderr)
    t.equal(switches, 2)
    const answer = { status: '200', servedBy: 'ams' }
    t.same(answers, [
      { ...answer, connects: 1 },
      { ...answer, connects: 0 },
      { ...answer, connects: 0 },
    ])
  }
  const grown = await checkSums(t, world, before)
  t.equal(newFlows(grown.ams), clients.length)
  t.ok(forwarded(grown.nyc) >= clients.length, 'the second request went over nyc')
}

/** The same machines, routes and curl, but the router sends the VIPs to the web servers themselves. */
async function withoutSteadycast(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc, contents } = world
  for (const { steadycast, backend, web } of [ams, nyc]) {
    await Promise.all([steadycast.stop(), backend.stop()])
    await web.ip(`address add ${VIP4}/32 dev lo
      address add ${VIP6}/128 dev lo nodad`)
  }
  await internet.routeVips(ams.web)
  const both = { download: FAMILIES, upload: FAMILIES }
  const transfers = startTransfers(internet, ams, RATES, contents, both)
  await until('all transfers under way', async () => {
    const uploading = await ams.web.run('ss', '-Htn', 'state', 'established', 'sport = :80')
    return uploading.trim().split('\n').length === transfers.length
  })
  const before = await nyc.web.counters()
  await internet.routeVips(nyc.web)
  for (const { what, transfer } of transfers) {
    const { code, stderr } = await transfer.outcome
    t.ok(BROKEN.includes(code), `${what} over IPv${transfer.family}: ${code}: ${stderr.trim()}`)
  }
  const resets = (await nyc.web.counters()).since(before).value('TcpOutRsts')
  t.ok(resets >= transfers.length, `nyc's web server's machine sent ${resets} resets`)
}

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const world = await build()
  const tests: readonly (readonly [string, (t: Test, world: World) => Promise<void>])[] = [
    [
      'downloads, uploads and short requests survive more than ten switches, and the metrics moved by the right amounts',
      transfersSurvive,
    ],
    ['a switch between SYN and ACK of the handshake', splitHandshake],
    ['SYNs at one PoP and all else at the other, all the time', permanentSplit],
    ['switches of a half-closed connection', halfClosed],
    ['switches of an idle keep-alive connection', idleReuse],
    ['without Steadycast the same switch breaks the same transfers', withoutSteadycast],
  ]
  for (const [name, run] of tests) t.test(name, (t) => run(t, world))
}
