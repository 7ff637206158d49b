// The second part of docs/quickstart.md, web servers on machines of their own, followed as far as a namespace can be a
// machine: its fleet file, firewalls, sysctls and the command lines of its units. What is Debian's (apt, systemd, nginx's
// own configuration) is left out; quickstart.test.ts follows the first part with all of it.

import { cpSync, readFileSync, writeFileSync } from 'node:fs'
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
const stateOf = (machine: Machine): string => `${etc(machine)}/run/steadycast`

const DOWNLOAD_BYTES = 64_000_000
const UPLOAD_BYTES = 8_000_000
const RATES = { download: '8M', upload: '3M' }
const SWITCHING = { everyMs: 500, requestsEach: 2, families: [4] } as const
const NODE_UNIT = 'steadycast.service'
const BACKEND_UNIT = 'steadycast-backend.service'
const STRANGER = `const socket = require('node:dgram').createSocket('udp4')
  socket.send('h', 6080, process.argv[1], () => socket.close())`

const BLOCKS = [...GUIDE.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text)

/** The guide's shell commands that do this, in its order. */
function blocks(doing: string, count: number): readonly string[] {
  const found = BLOCKS.filter((text) => text.includes(doing))
  if (found.length !== count) throw new Error(`expected ${count} blocks with ${doing} in the guide`)
  return found
}

/** Runs a block with the guide's variables, with our own program and folder; systemd is not there. */
async function follow(machine: Machine, block: string, variables: string): Promise<string> {
  const script = block
    .replaceAll(
      /(?<![\w/.])\/(etc|run)\//g,
      (_, folder) => `${etc(machine)}/${folder === 'run' ? 'run/' : ''}`,
    )
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
  for (const other of others) {
    cpSync(`${etc(first)}/steadycast`, `${etc(other)}/steadycast`, { recursive: true })
    const fleet = `${etc(other)}/steadycast/fleet.yaml`
    writeFileSync(fleet, readFileSync(fleet, 'utf8').replaceAll(etc(first), etc(other)))
  }
}

/** Starts what the unit starts on a host of this name. */
async function startUnit(machine: Machine, unit: string, host: string): Promise<Steadycast> {
  const command = /^ExecStart=\/usr\/bin\/steadycast (.*)$/m.exec(await deployed(unit))?.[1] ?? ''
  const args = command
    .replace('%l', host)
    .replace('/etc/', `${etc(machine)}/`)
    .split(' ')
  // The unit's RuntimeDirectory=, which each machine has for itself.
  const state = unit === NODE_UNIT ? ['--state', stateOf(machine)] : []
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

async function webServersOfTheirOwn(t: Test, contents: Contents): Promise<void> {
  const lans = [
    ['ams-1', 'ams-web-1'],
    ['nyc-1', 'nyc-web-1'],
  ]
  const { internet, machines } = await Internet.make('two', lans)
  const [ams, amsWeb, nyc, nycWeb] = machines.flat() as [Machine, Machine, Machine, Machine]
  // The guide's first firewall names two machines that are not in its second part.
  const variables = `AMS=${ams.address4} NYC=${nyc.address4} SIN=${nyc.address4} CLIENT=${ams.address4} VIP=${VIP4}
    AMS_WEB=${amsWeb.address4} NYC_WEB=${nycWeb.address4}`
  const all = [ams, amsWeb, nyc, nycWeb] as const
  await distribute(t, blocks('fleet.yaml <<EOF', 2)[1] ?? '', variables, all)
  const start = async (node: Machine, web: Machine, name: string): Promise<Pop> => {
    await node.sysctls(await deployed('sysctl-steadycast.conf'))
    await follow(node, blocks('nft -f', 2)[0] ?? '', variables)
    const firewall = blocks('nft -f', 2)[1] ?? ''
    await follow(web, name === 'nyc' ? firewall.replace('$AMS', '$NYC') : firewall, variables)
    const nginx = await startNginx(web, name, WWW)
    await startUnit(web, BACKEND_UNIT, `${name}-web-1`)
    return { name, node, nginx, steadycast: await startUnit(node, NODE_UNIT, `${name}-1`) }
  }
  const pops = await Promise.all([start(ams, amsWeb, 'ams'), start(nyc, nycWeb, 'nyc')])
  await tryOut(t, { internet, pops, contents })
}

if (await isolated(t, import.meta.url, ['curl', 'nft', 'nginx'])) {
  const contents = await makeContents(DOWNLOAD_BYTES, UPLOAD_BYTES)
  t.test('the quickstart, with nginx on machines of its own', (t) =>
    webServersOfTheirOwn(t, contents),
  )
}
