// The scenarios of `lab --scenario`: every event that anycast is known for, alone and in the combinations that break a
// hash with a flow table too. Pure: read by the command line (names), by phase.ts (what happens) and by the report.
// Guarantees that a seed gives the same events again.

import {
  BACKEND_CHANGES,
  type BackendChange,
  type Happening,
  happeningOf,
  type LabEvent,
  type NodePlace,
} from './events.js'
import { type Random, seeded } from './random.js'
import { FIRST_EVENT_MS, type Paces, scheduleOf } from './schedule.js'
import type { Topology } from './topology.js'
import type { TrafficPlan } from './traffic.js'

export interface Setting {
  readonly topology: Topology
  readonly traffic: TrafficPlan
  readonly seed: number
  readonly durationMs: number
}

export interface Scenario {
  readonly name: string
  /** The numbers that the docs give these events: another name. */
  readonly rows: string
  readonly what: string
  /** Schedules that run at the same time, each of them in order. */
  readonly tracks: (setting: Setting) => readonly (readonly LabEvent[])[]
  /** False: nothing of it happens to a PoP without nodes. */
  readonly hashAlone: boolean
  /** Some clients speak only to have their handshakes split. */
  readonly splitsHandshakes?: true
}

/** After the last event: for its connections to show whether they live. */
const LAST_EVENT_BEFORE_END_MS = 2_500
const RESHUFFLE_EVERY_MS = 600
const SWITCHES: Paces = { catchment: 1_500, client: 200 }
const HANDSHAKES: Paces = { handshake: 450 }
/** Of the clients, in the permanent split. */
const SPLIT_PART = 0.25

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'pop-switch',
    rows: '1',
    what: 'routing moves clients and whole catchments to other PoPs',
    tracks: (setting) => [moves(setting, SWITCHES)],
    hashAlone: true,
  },
  {
    name: 'handshake-split',
    rows: '2',
    what: 'the SYN reaches one PoP, the ACK another',
    tracks: (setting) => [moves(setting, HANDSHAKES)],
    hashAlone: true,
    splitsHandshakes: true,
  },
  {
    name: 'permanent-split',
    rows: '3',
    what: 'the packets of a quarter of the clients alternate between two PoPs',
    tracks: (setting) => [permanentSplit(setting)],
    hashAlone: true,
  },
  {
    name: 'ecmp-reshuffle',
    rows: '4',
    what: "the PoPs' routers spread the flows over their nodes in another way",
    tracks: (setting) => [reshuffles(setting)],
    hashAlone: false,
  },
  {
    name: 'backend-change',
    rows: '5',
    what: 'in every PoP: a backend gets another weight, one is added, one drained, one removed while in use',
    tracks: (setting) => [backendChanges(setting)],
    hashAlone: true,
  },
  {
    name: 'rolling-restart',
    rows: '6',
    what: 'one node of each PoP after the other restarts, and has newer backends than the rest',
    tracks: (setting) => [rollingRestart(setting)],
    hashAlone: true,
  },
  {
    name: 'node-crash',
    rows: '7',
    what: 'kill -9 of a node, of a node in each PoP, of all nodes of a PoP; each starts again',
    tracks: (setting) => [crashes(setting)],
    hashAlone: false,
  },
  {
    name: 'pop-maintenance',
    rows: '8',
    what: 'a PoP withdraws, its nodes restart, it is announced again',
    tracks: (setting) => [maintenance(setting)],
    hashAlone: true,
  },
  {
    name: 'pop-switch+backend-change',
    rows: '1+5',
    what: 'both at the same time',
    tracks: (setting) => [moves(setting, SWITCHES), backendChanges(setting)],
    hashAlone: true,
  },
  {
    name: 'ecmp-reshuffle+backend-change',
    rows: '4+5',
    what: 'both at the same time',
    tracks: (setting) => [reshuffles(setting), backendChanges(setting)],
    hashAlone: true,
  },
  {
    name: 'pop-switch+node-crash',
    rows: '1+7',
    what: 'both at the same time',
    tracks: (setting) => [moves(setting, SWITCHES), crashes(setting)],
    hashAlone: true,
  },
  {
    name: 'pop-maintenance+backend-change',
    rows: '8+5',
    what: 'both at the same time',
    tracks: (setting) => [maintenance(setting), backendChanges(setting)],
    hashAlone: true,
  },
]

export const ALL_SCENARIOS = 'all'

/** What `--scenario` asks for; a string is the sentence that says what was expected. */
export function scenariosNamed(name: string): readonly Scenario[] | string {
  if (name === ALL_SCENARIOS) return SCENARIOS
  const found = SCENARIOS.filter((scenario) => scenario.name === name || scenario.rows === name)
  if (found.length > 0) return found
  const names = SCENARIOS.map((scenario) => `${scenario.name} (${scenario.rows})`).join(', ')
  return `expected ${ALL_SCENARIOS}, list or one of ${names}, by name or by number; got ${JSON.stringify(name)}`
}

/** One line each: its rows, its name, what it does. */
export function scenarioLines(): string[] {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length))
  return SCENARIOS.map(({ rows, name, what }) => `${rows.padEnd(4)} ${name.padEnd(width)}  ${what}`)
}

/** What must have happened to living connections when the scenario is over. */
export function happeningsOf(tracks: readonly (readonly LabEvent[])[]): Happening[] {
  return [...new Set(tracks.flat().map(happeningOf))]
}

function moves({ topology, traffic, seed, durationMs }: Setting, paces: Paces): LabEvent[] {
  return scheduleOf(topology, traffic, seed, durationMs, paces)
}

/** Evenly, from when connections are made to when they still have time to show whether they live. */
function times(count: number, durationMs: number): number[] {
  const last = Math.max(FIRST_EVENT_MS, durationMs - LAST_EVENT_BEFORE_END_MS)
  const step = (last - FIRST_EVENT_MS) / Math.max(1, count - 1)
  return Array.from({ length: count }, (_, index) => Math.round(FIRST_EVENT_MS + index * step))
}

function permanentSplit({ topology, seed }: Setting): LabEvent[] {
  const count = Math.ceil(topology.clients.length * SPLIT_PART)
  const clients = seeded(seed)
    .shuffle(topology.clients)
    .slice(0, count)
    .map(({ id }) => id)
    .sort((a, b) => a - b)
  return [{ kind: 'split', atMs: 2 * FIRST_EVENT_MS, clients }]
}

function reshuffles({ topology, durationMs }: Setting): LabEvent[] {
  const span = durationMs - FIRST_EVENT_MS - LAST_EVENT_BEFORE_END_MS
  const count = Math.max(topology.pops.length, Math.floor(span / RESHUFFLE_EVERY_MS))
  return times(count, durationMs).map((atMs, index) => ({
    kind: 'reshuffle',
    atMs,
    pop: 1 + (index % topology.pops.length),
  }))
}

function backendChanges({ durationMs }: Setting): LabEvent[] {
  const at = times(BACKEND_CHANGES.length, durationMs)
  return BACKEND_CHANGES.map((change, index) => backendChange(at[index] ?? 0, change, true))
}

const backendChange = (atMs: number, change: BackendChange, hup: boolean): LabEvent => ({
  kind: 'backends',
  atMs,
  change,
  hup,
})

/** Each restart finds a newer fleet file: at any time the nodes of one PoP differ. */
function rollingRestart({ topology, durationMs }: Setting): LabEvent[] {
  const at = times(BACKEND_CHANGES.length, durationMs)
  return BACKEND_CHANGES.flatMap((change, turn): LabEvent[] => {
    const atMs = at[turn] ?? 0
    const nodes = topology.pops.map((pop) => ({
      pop: pop.number,
      node: turn % pop.nodes.length,
    }))
    return [backendChange(atMs, change, false), { kind: 'restart', atMs, nodes }]
  })
}

function crashes({ topology, seed, durationMs }: Setting): LabEvent[] {
  const random = seeded(seed)
  const one = (pop: number): NodePlace => ({ pop, node: random.int(0, nodesOf(topology, pop)) })
  const [alone, whole] = twoPops(topology, random)
  const nodes = [
    [one(alone)],
    topology.pops.map(({ number }) => one(number)),
    Array.from({ length: nodesOf(topology, whole) }, (_, node) => ({ pop: whole, node })),
  ]
  const at = times(nodes.length, durationMs)
  return nodes.map((places, index) => ({ kind: 'crash', atMs: at[index] ?? 0, nodes: places }))
}

function maintenance({ topology, seed, durationMs }: Setting): LabEvent[] {
  const [first, second] = twoPops(topology, seeded(seed))
  const at = times(4, durationMs)
  const [withdrawn = 0, announced = 0, again = 0, over = 0] = at
  const restarts = Array.from(
    { length: nodesOf(topology, first) },
    (_, node): LabEvent => ({ kind: 'restart', atMs: withdrawn, nodes: [{ pop: first, node }] }),
  )
  return [
    { kind: 'withdraw', atMs: withdrawn, pop: first },
    ...restarts,
    { kind: 'announce', atMs: announced, pop: first },
    { kind: 'withdraw', atMs: again, pop: second },
    { kind: 'announce', atMs: over, pop: second },
  ]
}

function twoPops(topology: Topology, random: Random): [number, number] {
  const [first, second] = random.shuffle(topology.pops)
  if (first === undefined || second === undefined) throw new RangeError('a lab has two PoPs')
  return [first.number, second.number]
}

function nodesOf({ pops }: Topology, number: number): number {
  return pops.find((pop) => pop.number === number)?.nodes.length ?? 0
}
