// docs/quickstart.md, followed to the letter as far as a namespace can be a machine: its fleet files, firewalls, sysctls
// and the command lines of its units. What is Debian's (apt, systemd, nginx's own configuration) is left out.

import { cpSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { until } from './net.js'
import { Internet, VIP4 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed, type Machine } from './support/machine.js'
import { startNginx } from './support/nginx.js'
import { Steadycast } from './support/steadycast.js'
import {
  type Contents,
  checkRequests,
  checkTransfer,
  forwarded,
  makeContents,
  type Pop,
  serversOf,
  startTransfers,
  switchAndAsk,
  WWW,
} from './support/traffic.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const GUIDE = readFileSync(new URL('../../docs/quickstart.md', import.meta.url), 'utf8')
/** In place of the machine's /etc. */
const etc = ({ namespace }: Machine): string => `/run/etc-${namespace}`

const DOWNLOAD_BYTES = 20_000_000
const UPLOAD_BYTES = 8_000_000
const RATES = { download: '8M', upload: '3M' }
const SWITCHING = { everyMs: 500, requestsEach: 2, families: [4] } as const
const NODE_UNIT = 'steadycast.service'
const BACKEND_UNIT = 'steadycast-backend.service'
const STRANGER = `const socket = require('node:dgram').createSocket('udp4')
  socket.send('h', 6080, process.argv[1], () => socket.close())`

/** The guide's shell commands that do this, in its order: first with nginx on the nodes, then on machines of its own. */
function blocks(doing: string): readonly [string, string] {
  const all = [...GUIDE.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text)
  const [first, second, ...more] = all.filter((text) => text.includes(doing))
  if (first === undefined || second === undefined || more.length > 0) {
    throw new Error(`expected two blocks with ${doing} in the guide`)
  }
  return [first, second]
}

/** Runs a block with the guide's variables, with our own program and folder; systemd is not there. */
async function follow(machine: Machine, block: string, variables: string): Promise<string> {
  const script = block
    .replaceAll('/etc/', `${etc(machine)}/`)
    .replaceAll(/^steadycast /gm, `${process.execPath} ${MAIN} `)
    .replaceAll(/^systemctl .*\n/gm, '')
  return await machine.run('sh', '-ec', `mkdir -p ${etc(machine)}; ${variables}\n${script}`)
}

/** The guide's fleet file and key, made on one machine and copied to the others. */
async function distribute(
  t: Test,
  block: string,
  variables: string,
  [first, ...others]: readonly [Machine, ...Machine[]],
): Promise<void> {
  t.match(await follow(first, block, variables), /fleet\.yaml: ok: 2 PoPs/)
  for (const other of others) cpSync(etc(first), etc(other), { recursive: true })
}

/** Starts what the unit starts on a host of this name. */
async function startUnit(machine: Machine, unit: string, host: string): Promise<Steadycast> {
  const command = /^ExecStart=\/usr\/bin\/steadycast (.*)$/m.exec(await deployed(unit))?.[1] ?? ''
  const args = command
    .replace('%l', host)
    .replace('/etc/', `${etc(machine)}/`)
    .split(' ')
  // The unit's RuntimeDirectory=, which each machine has for itself.
  const state = unit === NODE_UNIT ? ['--state', `${etc(machine)}/run`] : []
  return await Steadycast.start(machine, [...args, ...state])
}

/** What the guide's step 6 does, and what it says one sees; and a stranger's words to a node, which its firewall has. */
async function tryOut(
  t: Test,
  {
    internet,
    pops,
    contents,
  }: { internet: Internet; pops: readonly [Pop, Pop]; contents: Contents },
): Promise<void> {
  const [ams, nyc] = pops
  await ams.steadycast.running.says(/peer nyc-1 is up/)
  await nyc.steadycast.running.says(/peer ams-1 is up/)
  await Promise.all([ams.steadycast.healthy(), nyc.steadycast.healthy()])
  await internet.client.run(process.execPath, '-e', STRANGER, nyc.node.address4)
  await internet.routeVips(ams.node)
  const families = { download: [4], upload: [4] } as const
  const transfers = startTransfers(internet, ams, RATES, contents, families)
  await until('a download in its midst', () => transfers[0]?.transfer.bytes !== 0)
  const over = () => transfers.every(({ transfer }) => transfer.over)
  const asked = await switchAndAsk(internet, [nyc.node, ams.node], over, SWITCHING)
  for (const started of transfers) await checkTransfer(t, started, contents, 2)
  checkRequests(t, asked, SWITCHING.requestsEach)
  t.same(serversOf(asked), ['ams', 'nyc'], 'new connections go where the route leads')
  const metrics = await nyc.steadycast.metrics()
  t.ok(forwarded(metrics) > 0, `nyc-1 forwarded ${forwarded(metrics)} packets`)
  t.equal(
    metrics.value('dropped_packets_total', { reason: 'gue_bad_length' }),
    0,
    'it hears no stranger',
  )
}

async function webServersOnNodes(t: Test, contents: Contents): Promise<void> {
  const { internet, machines } = await Internet.make('one', [['ams-1'], ['nyc-1']])
  const [ams, nyc] = machines.flat() as [Machine, Machine]
  const variables = `AMS=${ams.address4} NYC=${nyc.address4} VIP=${VIP4}`
  await distribute(t, blocks('fleet.yaml <<EOF')[0], variables, [ams, nyc])
  const start = async (node: Machine, name: string): Promise<Pop> => {
    await node.sysctls(await deployed('sysctl-steadycast.conf'))
    await follow(node, blocks('nft -f')[0], variables)
    const nginx = await startNginx(node, name, WWW)
    return { name, node, nginx, steadycast: await startUnit(node, NODE_UNIT, `${name}-1`) }
  }
  const pops = await Promise.all([start(ams, 'ams'), start(nyc, 'nyc')])
  await tryOut(t, { internet, pops, contents })
}

async function webServersOfTheirOwn(t: Test, contents: Contents): Promise<void> {
  const lans = [
    ['ams-1', 'ams-web-1'],
    ['nyc-1', 'nyc-web-1'],
  ]
  const { internet, machines } = await Internet.make('two', lans)
  const [ams, amsWeb, nyc, nycWeb] = machines.flat() as [Machine, Machine, Machine, Machine]
  const variables = `AMS=${ams.address4} NYC=${nyc.address4} VIP=${VIP4}
    AMS_WEB=${amsWeb.address4} NYC_WEB=${nycWeb.address4}`
  const all = [ams, amsWeb, nyc, nycWeb] as const
  await distribute(t, blocks('fleet.yaml <<EOF')[1], variables, all)
  const start = async (node: Machine, web: Machine, name: string): Promise<Pop> => {
    await node.sysctls(await deployed('sysctl-steadycast.conf'))
    await follow(node, blocks('nft -f')[0], variables)
    const firewall = blocks('nft -f')[1]
    await follow(web, name === 'nyc' ? firewall.replace('$AMS', '$NYC') : firewall, variables)
    const nginx = await startNginx(web, name, WWW)
    await startUnit(web, BACKEND_UNIT, `${name}-web-1`)
    return { name, node, nginx, steadycast: await startUnit(node, NODE_UNIT, `${name}-1`) }
  }
  const pops = await Promise.all([start(ams, amsWeb, 'ams'), start(nyc, nycWeb, 'nyc')])
  await tryOut(t, { internet, pops, contents })
}

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const contents = await makeContents(DOWNLOAD_BYTES, UPLOAD_BYTES)
  t.test('the quickstart, with nginx on the nodes', (t) => webServersOnNodes(t, contents))
  t.test('the quickstart, with nginx on machines of its own', (t) =>
    webServersOfTheirOwn(t, contents),
  )
}
