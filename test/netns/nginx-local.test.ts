// One machine for each PoP: nginx and the node together, `deliver: local`. The node may crash in the midst of transfers:
// nobody is told, and it starts again where it was. The machines talk to each other over IPv6.

import t, { type Test } from 'tap'
import { until } from './net.js'
import { FAMILIES, type Family, Transfer } from './support/curl.js'
import { Internet, VIP4, VIP6 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed, type Machine } from './support/machine.js'
import {
  balanceOf,
  betweenNodes,
  checkEquations,
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
  type Pop,
  requests,
  type Started,
  serversOf,
  startTransfers,
  switchAndAsk,
  WWW,
} from './support/traffic.js'

/** Five seconds for a transfer. */
const DOWNLOAD_BYTES = 30_000_000
const UPLOAD_BYTES = 15_000_000
const RATES = { download: '6M', upload: '3M' }
const SWITCH_EVERY_MS = 400
const MIN_SWITCHES = 5
const REQUESTS_EACH = 5
/** curl(1): the time for something is over. */
const TIMED_OUT = 28
/** curl(1): a failure to receive. */
const BROKEN = 56
/** Packets that clients repeat while nobody answers. */
const REPEATED = 10

interface Families {
  readonly download: readonly Family[]
  readonly upload: readonly Family[]
}

/** What a packet may meet that is at the other PoP before the news of its connection. */
const EARLY = ['uncertain', 'first_refusal']

interface World {
  readonly internet: Internet
  readonly ams: Pop
  readonly nyc: Pop
  readonly contents: Contents
}

async function build(): Promise<World> {
  const { internet, machines } = await Internet.make('local', [['ams-1'], ['nyc-1']])
  const [ams, nyc] = machines.flat()
  if (ams === undefined || nyc === undefined) throw new Error('there are two machines')
  const contents = await makeContents(DOWNLOAD_BYTES, UPLOAD_BYTES)
  writeKeys(newKey(1))
  writeFleet(
    `    - name: ams
      nodes: [{ name: ams-1, address: "${ams.address6}" }]
      backends: [{ name: ams-web-1, deliver: local, node: ams-1 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: "${nyc.address6}" }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }]`,
    `  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [80], protocol: tcp }`,
  )
  const pops = await Promise.all([startPop('ams', ams), startPop('nyc', nyc)])
  await Promise.all(pops.map(({ steadycast }) => steadycast.certain()))
  return { internet, ams: pops[0], nyc: pops[1], contents }
}

async function startPop(name: string, node: Machine): Promise<Pop> {
  await node.sysctls(await deployed('sysctl-steadycast.conf'))
  const [nginx, steadycast] = await Promise.all([
    startNginx(node, name, WWW),
    Steadycast.run(node, `${name}-1`),
  ])
  return { name, node, nginx, steadycast }
}

async function begin(
  { internet, contents }: World,
  pop: Pop,
  families: Families,
): Promise<readonly Started[]> {
  const before = await pop.steadycast.metrics()
  await internet.routeVips(pop.node)
  const started = startTransfers(internet, pop, RATES, contents, families)
  await begun(pop, before, started.length)
  return started
}

async function transfersSurvive(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc, contents } = world
  const read = () => Promise.all([ams.steadycast.metrics(), nyc.steadycast.metrics()])
  const before = await whenQuiet(read, (nodes) => nodes)
  const transfers = await begin(world, ams, { download: FAMILIES, upload: FAMILIES })
  const answered = await switchAndAsk(
    internet,
    [nyc.node, ams.node],
    () => transfers.every(({ transfer }) => transfer.over),
    { everyMs: SWITCH_EVERY_MS, requestsEach: REQUESTS_EACH },
  )
  for (const started of transfers) await checkTransfer(t, started, contents, MIN_SWITCHES)
  checkRequests(t, answered, REQUESTS_EACH)
  t.same(serversOf(answered), ['ams', 'nyc'], 'new connections at each PoP')

  let grown = before
  await checkEquations(t, async () => {
    const after = await read()
    grown = [after[0].since(before[0]), after[1].since(before[1])]
    const [amsNode, nycNode] = grown
    return [
      ...balanceOf('ams-1', amsNode, 'node'),
      ...balanceOf('nyc-1', nycNode, 'node'),
      ...betweenNodes('ams-1', amsNode, 'nyc-1', nycNode),
      ...betweenNodes('nyc-1', nycNode, 'ams-1', amsNode),
      ...troublesOf('ams-1', amsNode, 'node', EARLY),
      ...troublesOf('nyc-1', nycNode, 'node', EARLY),
    ]
  })
  const [amsNode, nycNode] = grown
  const connections = transfers.length + answered.length * REQUESTS_EACH
  t.equal(newFlows(amsNode) + newFlows(nycNode), connections, 'a new flow for each connection')
  t.ok(forwarded(nycNode) > 0, `nyc-1 forwarded ${forwarded(nycNode)} packets`)
  t.equal(nycNode.value('packets_total', { exit: 'delivered_gue' }), 0)
}

/** What clients and servers would notice of a crash. */
async function noise({ internet, ams, nyc }: World) {
  const [client, ...servers] = await Promise.all(
    [internet.client, ams.node, nyc.node].map((machine) => machine.counters()),
  )
  return {
    resetsSent: servers.map((counters) => counters.value('TcpOutRsts')),
    icmpReceived: client?.value('IcmpInMsgs'),
    icmp6Received: ['DestUnreachs', 'PktTooBigs', 'TimeExcds', 'ParmProblems'].map((kind) =>
      client?.value(`Icmp6In${kind}`),
    ),
  }
}

const repeated = async ({ internet }: World): Promise<number> =>
  (await internet.client.counters()).value('TcpRetransSegs')

async function crash(t: Test, world: World): Promise<World> {
  const { internet, ams, nyc, contents } = world
  // Those of nyc are the ones that this machine's kernel would reset: it has no such sockets.
  const transfers = [
    ...(await begin(world, nyc, { download: [4], upload: [6] })),
    ...(await begin(world, ams, { download: [6], upload: [4] })),
  ]
  await until('downloads in their midst', () =>
    transfers.every(({ what, transfer }) => what === 'upload' || transfer.bytes > 1_000_000),
  )
  const before = await noise(world)
  const repeatedBefore = await repeated(world)
  await internet.routeVips(ams.node)
  await ams.steadycast.stop('SIGKILL')
  await until('repeated packets', async () => (await repeated(world)) > repeatedBefore + REPEATED)
  t.same(
    transfers.filter(({ transfer }) => transfer.over),
    [],
    'no transfer ends with the node',
  )
  t.same(await newConnections(world, 1), [TIMED_OUT, TIMED_OUT], 'new connections meet silence')

  await internet.routeVips(nyc.node)
  const elsewhere = FAMILIES.map((family) => requests(internet, family, REQUESTS_EACH))
  const answered = await Promise.all(elsewhere.map(({ outcome }) => outcome))
  checkRequests(t, answered, REQUESTS_EACH)
  t.same(serversOf(answered), ['nyc'], 'the other PoP answers')

  await internet.routeVips(ams.node)
  const again = await Steadycast.run(ams.node, 'ams-1')
  await again.certain()
  const here = FAMILIES.map((family) => requests(internet, family, REQUESTS_EACH))
  const answeredHere = await Promise.all(here.map(({ outcome }) => outcome))
  checkRequests(t, answeredHere, REQUESTS_EACH)
  t.same(serversOf(answeredHere), ['ams'], 'started again, it takes new connections')
  for (const started of transfers) await checkTransfer(t, started, contents, 2)
  t.same(await noise(world), before, 'no reset was sent, and no ICMP error received')
  return { ...world, ams: { ...ams, steadycast: again } }
}

/** The proof that the test above can fail: what the node leaves behind is what keeps its machine silent. */
async function crashWithoutRules(t: Test, world: World): Promise<void> {
  const { internet, ams, nyc } = world
  const before = await noise(world)
  const transfers = await begin(world, nyc, { download: FAMILIES, upload: [] })
  await internet.routeVips(ams.node)
  await ams.steadycast.stop('SIGKILL')
  for (const [family, vip] of [
    ['-4', VIP4],
    ['-6', VIP6],
  ] as const) {
    await ams.node.run('ip', family, 'rule', 'del', 'pref', '1000', 'to', vip)
  }
  for (const { transfer } of transfers) {
    const { code, stderr } = await transfer.outcome
    t.equal(code, BROKEN, `IPv${transfer.family}: ${stderr.trim()}`)
  }
  t.notSame((await noise(world)).resetsSent, before.resetsSent)
}

/** Exit codes of requests that wait so many seconds for an answer to their SYN. */
async function newConnections({ internet }: World, seconds: number): Promise<readonly number[]> {
  const patience = ['--connect-timeout', String(seconds)]
  const asked = FAMILIES.map((family) => new Transfer(internet, family, 'small', patience))
  const outcomes = await Promise.all(asked.map(({ outcome }) => outcome))
  return outcomes.map(({ code }) => code)
}

if (await isolated(t, import.meta.url, ['nginx', 'curl'])) {
  let world = await build()
  t.test('with nginx on the nodes themselves transfers survive switches', async (t) => {
    await transfersSurvive(t, world)
  })
  t.test('kill -9 of a node is silent; started again it goes on as before', async (t) => {
    world = await crash(t, world)
  })
  t.test('without the rules that a node leaves behind its crash is not silent', async (t) => {
    await crashWithoutRules(t, world)
  })
}
