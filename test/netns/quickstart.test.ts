// docs/quickstart.md, followed to the letter as far as a namespace can be a machine: its fleet files, firewalls, sysctls
// and the command lines of its units. What is Debian's (apt, systemd, nginx's own configuration) is left out.

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type Running, until } from './net.js'
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
  sleep,
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

const only = (doing: string): string => blocks(doing, 1).join('')

/** Runs a block with the guide's variables, with our own program and folder; systemd is not there. */
async function follow(machine: Machine, block: string, variables: string): Promise<string> {
  const state = `--state ${stateOf(machine)}`
  const script = block
    .replaceAll(
      /(?<![\w/.])\/(etc|run)\//g,
      (_, folder) => `${etc(machine)}/${folder === 'run' ? 'run/' : ''}`,
    )
    .replaceAll(/^steadycast (status|drain|undrain) /gm, `steadycast $1 ${state} `)
    .replaceAll(/^steadycast /gm, `${process.execPath} ${MAIN} `)
    .replaceAll('birdc ', `birdc -s ${etc(machine)}/run/bird/bird.ctl `)
    .replaceAll(/^systemctl .*\n/gm, '')
  return await machine.run(
    'sh',
    '-ec',
    `mkdir -p ${etc(machine)}/run/bird ${etc(machine)}/bird ${etc(machine)}/prometheus; ${variables}\n${script}`,
  )
}

/** The guide's fleet file and key, made on one machine and copied to the others. */
async function distribute(
  t: Test,
  block: string,
  variables: string,
  [first, ...others]: readonly [Machine, ...Machine[]],
): Promise<void> {
  t.match(await follow(first, block, variables), /fleet\.yaml: ok: [23] PoPs/)
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

const NAMES = ['ams-1', 'nyc-1', 'sin-1'] as const

/** The three machines and the client of the guide's first part, all on one network. */
class Places {
  readonly nodes: readonly Machine[]
  readonly running = new Map<Machine, Steadycast>()

  constructor(
    readonly client: Machine,
    nodes: readonly Machine[],
    readonly vip: string,
  ) {
    this.nodes = nodes
  }

  variables(machine: Machine): string {
    const [ams, nyc, sin] = this.nodes.map(({ address4 }) => address4)
    return `AMS=${ams} NYC=${nyc} SIN=${sin} CLIENT=${this.client.address4} VIP=${this.vip}
      PREFIX=198.51.100.0/24 ME=${machine.address4}`
  }

  async follow(machine: Machine, block: string): Promise<string> {
    return await follow(machine, block, this.variables(machine))
  }

  async startBird(machine: Machine, block: string): Promise<void> {
    await this.follow(machine, block.replace('log syslog all;', 'log stderr all;'))
    const folder = etc(machine)
    const bird = machine.start(
      'bird',
      '-f',
      '-c',
      `${folder}/bird/bird.conf`,
      '-s',
      `${folder}/run/bird/bird.ctl`,
    )
    await until(
      `BIRD on ${machine.name}`,
      () => existsSync(`${folder}/run/bird/bird.ctl`),
      bird.ended,
    )
  }

  async startNode(machine: Machine, at: number): Promise<void> {
    this.running.set(machine, await startUnit(machine, NODE_UNIT, NAMES[at] ?? ''))
  }

  async where(): Promise<string> {
    return (
      await this.client.run('curl', '--silent', '--max-time', '5', `http://${this.vip}/where`)
    ).trim()
  }

  /** The sum of what comes. */
  download(rate: string): Running {
    const command = `curl -sS --limit-rate ${rate} http://${this.vip}/large | sha256sum | cut -d' ' -f1`
    return this.client.start('sh', '-c', command)
  }

  async query(text: string): Promise<string> {
    const url = `http://127.0.0.1:9090/api/v1/query?query=${text}`
    return await this.client.run('curl', '--silent', url)
  }
}

async function makePlaces(t: Test, contents: Contents): Promise<Places> {
  const { machines } = await Internet.make('one', [[...NAMES, 'people']])
  const [ams, nyc, sin, client] = machines.flat() as [Machine, Machine, Machine, Machine]
  const places = new Places(client, [ams, nyc, sin], VIP4)
  const fleet = blocks('fleet.yaml <<EOF', 2)[0] ?? ''
  await distribute(t, fleet, places.variables(ams), [ams, nyc, sin, client])
  const [ofNode = '', ofClient = ''] = blocks('bird.conf <<EOF', 2)
  await places.startBird(client, ofClient)
  for (const [at, node] of places.nodes.entries()) {
    await node.sysctls(await deployed('sysctl-steadycast.conf'))
    await places.follow(node, blocks('nft -f', 2)[0] ?? '')
    const root = `/run/www-${node.name}`
    mkdirSync(root)
    writeFileSync(`${root}/where`, `${NAMES[at]}\n`)
    cpSync(contents.large.path, `${root}/large`)
    await startNginx(node, NAMES[at] ?? '', root)
    await places.startBird(node, ofNode)
  }
  await until('three sessions', async () => {
    const shown = await places.follow(client, 'birdc show protocols')
    return [...shown.matchAll(/Established/g)].length === NAMES.length
  })
  const route = await places.follow(client, 'ip route show $PREFIX')
  t.equal(route, '', 'nothing is announced before Steadycast says so')
  await Promise.all(places.nodes.map((node, at) => places.startNode(node, at)))
  return places
}

/** Steps 6 and 7. */
async function look(t: Test, places: Places): Promise<void> {
  const [ams] = places.nodes as [Machine]
  const status = only('steadycast status')
  let said = ''
  await until('a fleet that is well', async () => {
    said = await places.follow(ams, `${status.trim()} || true`)
    return said.startsWith('OK')
  }).catch((error: Error) => t.fail(`${error.message}: ${said}`))
  await until('a route', async () =>
    (await places.follow(places.client, 'ip route show $PREFIX')).includes(' via '),
  )
  t.ok((NAMES as readonly string[]).includes(await places.where()))
  await places.follow(places.client, only('prometheus.yml <<EOF'))
  const folder = etc(places.client)
  places.client.start(
    'prometheus',
    `--config.file=${folder}/prometheus/prometheus.yml`,
    `--storage.tsdb.path=${folder}/prometheus/data`,
    '--web.listen-address=127.0.0.1:9090',
  )
  const query = only('query=sum(')
  await until('Prometheus to have asked all three', async () => {
    return (await places.follow(places.client, query).catch(() => '')).includes('"6"')
  })
}

/** Steps 8 to 10, each with a download from the place where it begins. */
async function survive(t: Test, places: Places, contents: Contents): Promise<void> {
  const [ams] = places.nodes as [Machine]
  const whole = async (download: Running, what: string) => {
    const { stdout, stderr } = await download.ended
    t.equal(stdout.trim(), contents.large.sha256, `${what}: ${stderr}`)
  }
  await until('the first place to be chosen', async () => (await places.where()) === 'ams-1')
  const first = places.download('2M')
  const heard = await places.follow(places.client, only('birdc disable ams'))
  t.match(heard, /ams: disabled/)
  const answers = heard.split('\n').filter((line) => /^[a-z]+-1$/.test(line))
  t.equal(answers.length, 6, heard)
  t.ok(
    answers.some((name) => name !== 'ams-1'),
    'new connections went elsewhere',
  )
  t.equal(first.child.exitCode, null, 'the download lasted longer than the switches')
  await whole(first, 'a download through switches')
  await until('a forwarded packet in Prometheus', async () =>
    /"value":\[[\d.]+,"[1-9]/.test(await places.follow(places.client, only('exit="forwarded"'))),
  )

  await until('the first place again', async () => (await places.where()) === 'ams-1')
  const second = places.download('5M')
  const drained = await places.follow(ams, only('steadycast drain'))
  t.match(drained, /safe to stop/)
  await whole(second, 'a download through a drain')
  t.not(await places.where(), 'ams-1')
  await places.follow(ams, only('steadycast undrain'))
  await until('the first place again', async () => (await places.where()) === 'ams-1')

  const third = places.download('5M')
  await sleep(1000)
  t.match(only('systemctl kill'), '--signal=KILL steadycast\n')
  await places.running.get(ams)?.stop('SIGKILL')
  await until('another place', async () =>
    /^(nyc|sin)-1$/.test(await places.where().catch(() => '')),
  )
  await places.startNode(ams, 0)
  await whole(third, 'a download through a death')
}

async function webServersOnNodes(t: Test, contents: Contents): Promise<void> {
  const places = await makePlaces(t, contents)
  await look(t, places)
  await survive(t, places, contents)
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

if (await isolated(t, import.meta.url, ['bird', 'curl', 'nft', 'nginx', 'prometheus'])) {
  const contents = await makeContents(DOWNLOAD_BYTES, UPLOAD_BYTES)
  t.test('the quickstart, with nginx on the nodes', (t) => webServersOnNodes(t, contents))
  t.test('the quickstart, with nginx on machines of its own', (t) =>
    webServersOfTheirOwn(t, contents),
  )
}
