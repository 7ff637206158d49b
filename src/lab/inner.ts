// The lab from within: the first process of its namespaces. Started by outer.ts; builds the topology, starts the
// processes, runs the phases, reports. Guarantees: everything it makes is inside the namespaces, so that its end, of
// whatever kind, is the end of all of it; it ends when the outer process does.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readlinkSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { startSplitter } from './alternation.js'
import { initialBackends } from './backend-set.js'
import { ipBatch, ipLines, runCommand, writeSysctls } from './commands.js'
import { LabFailure } from './failure.js'
import { FleetFile, keyText } from './fleet-text.js'
import type {
  Door,
  FromClients,
  FromInner,
  LabResult,
  ScenarioResult,
  ToClients,
  ToInner,
  ToRelay,
} from './messages.js'
import { type LabOptions, phaseMs, scenarioPhaseMs } from './options.js'
import { type Lab, runPhase } from './phase.js'
import { ADMIN_PORT, Processes, type Started, startAll } from './processes.js'
import { plural, progressLine } from './report.js'
import { initialRules } from './routing.js'
import { happeningsOf, SCENARIOS, type Scenario } from './scenarios.js'
import { scheduleOf } from './schedule.js'
import {
  CLIENTS_NAMESPACE,
  deviceLines,
  INTERNET_NAMESPACE,
  machinesOf,
  namespaceLines,
  namespacePlans,
  PLAIN_LAYOUT,
  SCENARIO_LAYOUT,
  SERVER_PORT,
  splitClient,
  splitterRules,
  type Topology,
  topologyOf,
  VIP4,
  vipRoutes,
} from './topology.js'
import { trafficOf } from './traffic.js'

const FOLDER = '/run/steadycast-lab'
/** For the few of anything that a PoP has. */
const words = ['no', 'one', 'two', 'three']

const send = (message: FromInner, then: () => void = () => undefined): void =>
  void process.send?.(message, undefined, undefined, then)

type Start = Extract<ToInner, { kind: 'start' }>

async function main(start: Start): Promise<Lab> {
  const { options } = start
  const lab = await build(start)
  const result =
    options.scenarios.length === 0 ? await runPlain(lab, options) : await runScenarios(lab, options)
  if (options.keep) await routeToNodes(lab.topology)
  send({ kind: 'result', result, doors: options.keep ? openDoors(lab) : [] })
  return lab
}

async function runPlain(lab: Lab, options: LabOptions): Promise<LabResult> {
  const { topology, sayEvent } = lab
  const traffic = trafficOf(topology)
  const { seed } = options
  const durationMs = phaseMs(options, Date.now() - lab.startedAt)
  const tracks = [scheduleOf(topology, traffic, seed, durationMs)]
  const plan = { scenario: '', traffic, seed, durationMs, tracks }
  sayEvent('Steadycast: raw VIP packets go to the node of the PoP they reach')
  const steadycast = await runPhase(lab, { ...plan, steadycast: true })
  sayEvent(
    'plain hashing, what operators have today: the same clients and moves, each PoP hashes alone (ECMP)',
  )
  const plainHashing = await runPhase(lab, { ...plan, steadycast: false })
  return { kind: 'plain', steadycast, plainHashing }
}

async function runScenarios(lab: Lab, options: LabOptions): Promise<LabResult> {
  const scenarios = SCENARIOS.filter(({ name }) => options.scenarios.includes(name))
  const results: ScenarioResult[] = []
  for (const [index, scenario] of scenarios.entries()) {
    const place = scenarios.length === 1 ? '' : `, ${index + 1} of ${scenarios.length}`
    results.push(await runScenario(lab, scenario, `${scenario.name}${place}`, options))
  }
  return { kind: 'scenarios', scenarios: results }
}

async function runScenario(
  lab: Lab,
  scenario: Scenario,
  label: string,
  options: LabOptions,
): Promise<ScenarioResult> {
  const { topology, sayEvent } = lab
  const begun = Date.now()
  const durationMs = scenarioPhaseMs(options)
  const { seed } = options
  const traffic = trafficOf(topology, scenario.splitsHandshakes)
  const tracks = scenario.tracks({ topology, traffic, seed, durationMs })
  const plan = { scenario: label, traffic, seed, durationMs, tracks }
  sayEvent(`${label}: ${scenario.what}`)
  const steadycast = await runPhase(lab, { ...plan, steadycast: true })
  if (scenario.hashAlone) sayEvent(`${label}: the same with a hash alone`)
  const hashAlone = scenario.hashAlone
    ? await runPhase(lab, { ...plan, steadycast: false })
    : undefined
  return {
    name: scenario.name,
    expected: happeningsOf(tracks),
    steadycast,
    hashAlone,
    durationMs: Date.now() - begun,
  }
}

async function build({ options, startedAt, live }: Start): Promise<Lab> {
  const say = (of: 'event' | 'tally') => (text: string) =>
    send({ kind: 'progress', text: progressLine((Date.now() - startedAt) / 1000, text), of })
  const sayEvent = say('event')
  const layout = options.scenarios.length === 0 ? PLAIN_LAYOUT : SCENARIO_LAYOUT
  const topology = topologyOf(options.pops, options.clients, layout)
  await prepareFolders()
  await layOut(topology)
  const { pops, clients } = topology
  const each = layout.nodes === 1 ? 'a node' : `${words[layout.nodes]} nodes`
  sayEvent(
    `${plural(pops.length, 'PoP')} (${pops.map(({ name }) => name).join(', ')}), ${each} and ` +
      `${words[layout.backends]} backends each, ${plural(clients.length, 'client')}; --seed ${options.seed} plays the same again`,
  )
  const keyFile = `${FOLDER}/fleet.key`
  writeFileSync(keyFile, keyText(randomBytes(16)), { mode: 0o600 })
  const fleetFile = new FleetFile(`${FOLDER}/fleet.yaml`, keyFile, topology)
  fleetFile.write((pop) => initialBackends(pop).configured)
  // A machine that is to become a backend is set up before the nodes hear of it.
  const backendsFile = new FleetFile(`${FOLDER}/backends.yaml`, keyFile, topology)
  backendsFile.write((pop) => machinesOf(pop).map((host) => ({ host, weight: 1 })))
  const processes = new Processes(FOLDER, fleetFile.path, backendsFile.path)
  const [clientsProcess, alternation] = await Promise.all([
    processes.startClients(),
    startSplitter(processes, topology),
    startAll(processes, topology),
  ])
  const lab: Lab = {
    topology,
    processes,
    clients: clientsProcess,
    alternation,
    fleetFile,
    startedAt,
    live,
    sayEvent,
    sayTally: say('tally'),
    show: (state) => send({ kind: 'state', state }),
  }
  await tryVips(lab)
  return lab
}

async function prepareFolders(): Promise<void> {
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', '/run'])
  // The process ids of this namespace. Some containers refuse; all that is needed works with the old /proc too.
  await runCommand('mount', ['-t', 'proc', 'proc', '/proc']).catch(() => undefined)
  mkdirSync(FOLDER, { mode: 0o700 })
  process.env.TMPDIR = FOLDER
}

async function layOut(topology: Topology): Promise<void> {
  const plans = namespacePlans(topology)
  await ipBatch(namespaceLines(topology))
  await Promise.all(plans.map((plan) => writeSysctls(plan.namespace, plan.sysctls)))
  await ipBatch(deviceLines(topology))
  await Promise.all(plans.map(({ namespace, lines }) => ipBatch(lines, { namespace })))
  const alternating = topology.clients.filter(({ id }) => id === topology.alternating)
  await Promise.all([
    ipLines(INTERNET_NAMESPACE, [
      ...initialRules(topology),
      ...splitterRules(topology),
      ...alternating.flatMap((client) => splitClient('add', client)),
    ]),
    routeToNodes(topology),
  ])
}

async function routeToNodes(topology: Topology): Promise<void> {
  await Promise.all(
    topology.pops.map(({ nodes, namespace }) =>
      ipBatch(vipRoutes(nodes.map((host) => ({ host, weight: 1 }))), { namespace }),
    ),
  )
}

/** One client of each catchment asks first: a lab that does not work says so instead of counting broken connections. */
async function tryVips({ topology, processes, clients }: Lab): Promise<void> {
  const first = topology.pops
    .map(({ number }) => topology.clients.find(({ catchment }) => catchment === number)?.id)
    .filter((id) => id !== undefined)
  const tried = processes.message<FromClients>(clients, ({ kind }) => kind === 'tried')
  const traffic = trafficOf(topology)
  clients.child.send({ kind: 'try', traffic, clients: first } satisfies ToClients)
  const answer = await tried
  if (answer.kind !== 'tried' || answer.error === '') return
  throw new LabFailure(`the VIPs do not answer: ${answer.error}`)
}

const relays = new Map<string, Started>()

function openDoors({ topology, processes }: Lab): Door[] {
  const doors: Door[] = [
    {
      name: 'VIP',
      namespace: CLIENTS_NAMESPACE,
      host: VIP4,
      port: SERVER_PORT,
      localAddress: topology.clients[0]?.address4 ?? '',
    },
    ...topology.pops
      .flatMap(({ nodes }) => nodes)
      .map(({ name, namespace }) => ({
        name: `node ${name}`,
        namespace,
        host: '127.0.0.1',
        port: ADMIN_PORT,
      })),
  ]
  for (const { name, namespace } of doors) relays.set(name, processes.startRelay(name, namespace))
  processes.failed.catch(fail)
  return doors
}

/** Open is a door when the relay accepts, and nobody else does. */
async function passDoor(processes: Processes, door: Door, server: Server): Promise<void> {
  const relay = relays.get(door.name)
  if (relay === undefined) throw new LabFailure(`no relay for ${door.name}`)
  const accepts = processes.message(relay, (message) => message === 'ready')
  await new Promise((resolve) => {
    relay.child.send(door satisfies ToRelay, server, () => server.close(resolve))
  })
  await accepts
  send({ kind: 'open', door })
}

function fail(error: unknown): void {
  const isPlain = error instanceof LabFailure
  const message = isPlain ? error.message : String((error as Error)?.stack ?? error)
  send({ kind: 'failure', message, log: isPlain ? error.log : [] }, () => process.exit(2))
}

let standing: Promise<Lab> | undefined

process.on('disconnect', () => process.exit(0))
process.on('uncaughtException', fail)
process.on('message', (message: ToInner, handle: Server | undefined) => {
  if (message.kind === 'start') {
    standing = main(message)
    standing.catch(fail)
  } else if (handle !== undefined) {
    standing?.then(({ processes }) => passDoor(processes, message.door, handle)).catch(fail)
  }
})
// The process id as the outer process sees it: /proc is still the old one.
send({ kind: 'hello', pid: Number(readlinkSync('/proc/self')) })
