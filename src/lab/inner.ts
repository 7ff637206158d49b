// The lab from within: the first process of its namespaces. Started by outer.ts; builds the topology, starts the
// processes, runs both phases, reports. Guarantees: everything it makes is inside the namespaces, so that its end, of
// whatever kind, is the end of all of it; it ends when the outer process does.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readlinkSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { type Alternation, startSplitter } from './alternation.js'
import { ipBatch, ipLines, runCommand, writeSysctls } from './commands.js'
import { LabFailure } from './failure.js'
import { fleetText, keyText } from './fleet-text.js'
import type {
  Door,
  FromClients,
  FromInner,
  PhaseResult,
  Tally,
  ToClients,
  ToInner,
  ToRelay,
} from './messages.js'
import { Moves } from './moves.js'
import { type LabOptions, phaseMs, STALL_LIMIT_MS } from './options.js'
import { ADMIN_PORT, Processes, type Started, startAll } from './processes.js'
import { plural, progressLine, tallyText } from './report.js'
import { initialRules } from './routing.js'
import { scheduleOf } from './schedule.js'
import {
  CLIENTS_NAMESPACE,
  deviceLines,
  INTERNET_NAMESPACE,
  namespaceLines,
  namespacePlans,
  plainHashingRoutes,
  SERVER_PORT,
  splitRules,
  steadycastRoutes,
  type Topology,
  topologyOf,
  VIP4,
} from './topology.js'
import { type TrafficPlan, trafficOf } from './traffic.js'

const FOLDER = '/run/steadycast-lab'
const PROGRESS_EVERY_MS = 1_000

const send = (message: FromInner, then: () => void = () => undefined): void =>
  void process.send?.(message, undefined, undefined, then)

/** What the lab consists of, once it stands. */
interface Lab {
  readonly options: LabOptions
  readonly startedAt: number
  readonly topology: Topology
  readonly traffic: TrafficPlan
  readonly processes: Processes
  readonly clients: Started
  readonly moves: Moves
  readonly alternation: Alternation
}

async function main(options: LabOptions, startedAt: number): Promise<Lab> {
  const say = (text: string): void =>
    send({ kind: 'progress', text: progressLine((Date.now() - startedAt) / 1000, text) })
  const lab = await build(options, startedAt, say)
  const durationMs = phaseMs(options, Date.now() - startedAt)

  say('Steadycast: raw VIP packets go to the node of the PoP they reach')
  const steadycast = await runPhase(lab, durationMs, say)
  await routePops(lab.topology, plainHashingRoutes)
  say(
    'plain hashing, what operators have today: the same clients and moves, each PoP hashes alone (ECMP)',
  )
  const plainHashing = await runPhase(lab, durationMs, say)

  if (options.keep) await routePops(lab.topology, steadycastRoutes)
  const doors = options.keep ? openDoors(lab) : []
  send({ kind: 'result', result: { steadycast, plainHashing }, doors })
  return lab
}

async function build(
  options: LabOptions,
  startedAt: number,
  say: (text: string) => void,
): Promise<Lab> {
  const topology = topologyOf(options.pops, options.clients)
  const traffic = trafficOf(topology)
  await prepareFolders()
  await layOut(topology)
  const { pops, clients } = topology
  say(
    `${plural(pops.length, 'PoP')} (${pops.map(({ name }) => name).join(', ')}), a node and two ` +
      `backends each, ${plural(clients.length, 'client')}; --seed ${options.seed} plays the same again`,
  )
  const keyFile = `${FOLDER}/fleet.key`
  const fleetFile = `${FOLDER}/fleet.yaml`
  writeFileSync(keyFile, keyText(randomBytes(16)), { mode: 0o600 })
  writeFileSync(fleetFile, fleetText(topology, keyFile))
  const processes = new Processes(FOLDER, fleetFile)
  const [clientsProcess, alternation] = await Promise.all([
    processes.startClients(),
    startSplitter(processes, topology),
    startAll(processes, topology),
  ])
  const moves = new Moves(topology, processes, clientsProcess, say)
  const lab = {
    options,
    startedAt,
    topology,
    traffic,
    processes,
    clients: clientsProcess,
    moves,
    alternation,
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
  await Promise.all([
    ipLines(INTERNET_NAMESPACE, [...initialRules(topology), ...splitRules(topology)]),
    routePops(topology, steadycastRoutes),
  ])
}

async function routePops(topology: Topology, routes: typeof steadycastRoutes): Promise<void> {
  await Promise.all(topology.pops.map((pop) => ipBatch(routes(pop), { namespace: pop.namespace })))
}

/** One client of each catchment asks first: a lab that does not work says so instead of counting broken connections. */
async function tryVips({ topology, traffic, processes, clients }: Lab): Promise<void> {
  const first = topology.pops
    .map(({ number }) => topology.clients.find(({ catchment }) => catchment === number)?.id)
    .filter((id) => id !== undefined)
  const tried = processes.message<FromClients>(clients, ({ kind }) => kind === 'tried')
  clients.child.send({ kind: 'try', traffic, clients: first } satisfies ToClients)
  const answer = await tried
  if (answer.kind !== 'tried' || answer.error === '') return
  throw new LabFailure(`the VIPs do not answer: ${answer.error}`)
}

async function runPhase(
  lab: Lab,
  durationMs: number,
  say: (text: string) => void,
): Promise<PhaseResult> {
  const { topology, traffic, processes, clients, moves, options, alternation } = lab
  const alternatedBefore = alternation.count()
  let last: Tally | undefined
  const listen = (message: FromClients): void => {
    if (message.kind === 'tally') last = message.tally
  }
  clients.child.on('message', listen)
  const progress = setInterval(() => {
    if (last !== undefined) say(tallyText(last))
  }, PROGRESS_EVERY_MS)
  const done = processes.message<FromClients>(clients, ({ kind }) => kind === 'done')
  const { seed } = options
  const start: ToClients = { kind: 'start', traffic, seed, durationMs, stallMs: STALL_LIMIT_MS }
  clients.child.send(start)
  const schedule = scheduleOf(topology, traffic, seed, durationMs)
  const [end] = await Promise.all([done, Promise.race([moves.play(schedule), processes.failed])])
  clearInterval(progress)
  clients.child.off('message', listen)
  await moves.reset()
  if (end.kind !== 'done') throw new LabFailure('the clients ended without their count')
  say(tallyText(end.tally))
  return { tally: end.tally, alternations: alternation.count() - alternatedBefore }
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
    ...topology.pops.map(({ node }) => ({
      name: `node ${node.name}`,
      namespace: node.namespace,
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
    standing = main(message.options, message.startedAt)
    standing.catch(fail)
  } else if (handle !== undefined) {
    standing?.then(({ processes }) => passDoor(processes, message.door, handle)).catch(fail)
  }
})
// The process id as the outer process sees it: /proc is still the old one.
send({ kind: 'hello', pid: Number(readlinkSync('/proc/self')) })
