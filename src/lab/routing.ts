// Which PoP the lab's Internet brings each client to, and the `ip rule` lines that change it. Pure: used by the
// schedule (to know what a move would be) and by moves.ts (to make it). Guarantees that between the lines of one
// change every packet of every client finds a PoP: a new rule is added before the old one goes.

import type { Client, Family, IpLine, Topology } from './topology.js'
import { catchmentPrefix, tableOf, vipOf } from './topology.js'

const CLIENT_PREF = 1000
const CATCHMENT_PREF = 2000
const FAMILIES: readonly Family[] = [4, 6]

export interface Routing {
  /** Catchment -> PoP number. */
  readonly catchments: ReadonlyMap<number, number>
  /** Client id -> PoP number, where a client was moved alone. */
  readonly alone: ReadonlyMap<number, number>
}

export interface RouteChange {
  readonly routing: Routing
  readonly lines: readonly IpLine[]
  /** Ids of the clients whose PoP changed. */
  readonly moved: readonly number[]
}

export function initialRouting(topology: Topology): Routing {
  return {
    catchments: new Map(topology.pops.map((pop) => [pop.number, pop.number])),
    alone: new Map(),
  }
}

export function initialRules(topology: Topology): IpLine[] {
  return topology.pops.flatMap((pop) =>
    FAMILIES.map((family) => catchmentRule('add', pop.number, pop.number, family)),
  )
}

export function popOfClient(routing: Routing, client: Client): number {
  const pop = routing.alone.get(client.id) ?? routing.catchments.get(client.catchment)
  if (pop === undefined) throw new RangeError(`client ${client.id} is in no catchment`)
  return pop
}

/** The whole catchment goes to one PoP, clients that were moved alone included. */
export function moveCatchment(
  topology: Topology,
  routing: Routing,
  catchment: number,
  pop: number,
): RouteChange {
  const members = clientsOf(topology, catchment)
  const before = routing.catchments.get(catchment)
  const lines: IpLine[] = []
  for (const family of FAMILIES) {
    if (before !== undefined && before !== pop) {
      lines.push(catchmentRule('add', catchment, pop, family))
      lines.push(catchmentRule('del', catchment, before, family))
    }
    for (const client of members) {
      const alone = routing.alone.get(client.id)
      if (alone !== undefined) lines.push(clientRule('del', client, alone, family))
    }
  }
  const alone = new Map(routing.alone)
  for (const client of members) alone.delete(client.id)
  return {
    routing: { catchments: new Map(routing.catchments).set(catchment, pop), alone },
    lines,
    moved: members.filter((client) => popOfClient(routing, client) !== pop).map(({ id }) => id),
  }
}

export function moveClient(routing: Routing, client: Client, pop: number): RouteChange {
  if (popOfClient(routing, client) === pop) return { routing, lines: [], moved: [] }
  const before = routing.alone.get(client.id)
  const home = routing.catchments.get(client.catchment) === pop
  const lines: IpLine[] = []
  for (const family of FAMILIES) {
    if (!home) lines.push(clientRule('add', client, pop, family))
    if (before !== undefined) lines.push(clientRule('del', client, before, family))
  }
  const alone = new Map(routing.alone)
  if (home) alone.delete(client.id)
  else alone.set(client.id, pop)
  return { routing: { ...routing, alone }, lines, moved: [client.id] }
}

/** All that reaches this PoP reaches the next one of `pops` instead. */
export function leavePop(
  topology: Topology,
  routing: Routing,
  pop: number,
  others: readonly number[],
): RouteChange {
  const next = others.find((other) => other > pop) ?? others[0]
  if (next === undefined) throw new RangeError('the last PoP cannot be withdrawn')
  const change = { routing, lines: [] as IpLine[], moved: [] as number[] }
  const add = (more: RouteChange): void => {
    change.routing = more.routing
    change.lines.push(...more.lines)
    change.moved.push(...more.moved)
  }
  for (const client of topology.clients) {
    if (change.routing.alone.get(client.id) === pop) add(moveClient(change.routing, client, next))
  }
  for (const [catchment, at] of routing.catchments) {
    if (at === pop) add(leaveCatchment(topology, change.routing, catchment, next))
  }
  return change
}

/** Clients of the catchment that were moved alone stay where they are. */
function leaveCatchment(
  topology: Topology,
  routing: Routing,
  catchment: number,
  pop: number,
): RouteChange {
  const before = routing.catchments.get(catchment) ?? pop
  const lines = FAMILIES.flatMap((family) => [
    catchmentRule('add', catchment, pop, family),
    catchmentRule('del', catchment, before, family),
  ])
  const moved = clientsOf(topology, catchment).filter(({ id }) => !routing.alone.has(id))
  return {
    routing: { ...routing, catchments: new Map(routing.catchments).set(catchment, pop) },
    lines,
    moved: moved.map(({ id }) => id),
  }
}

/** Back to where every phase starts. */
export function resetRouting(topology: Topology, routing: Routing): IpLine[] {
  const lines: IpLine[] = []
  let current = routing
  for (const pop of topology.pops) {
    const change = moveCatchment(topology, current, pop.number, pop.number)
    lines.push(...change.lines)
    current = change.routing
  }
  return lines
}

export function clientsOf(topology: Topology, catchment: number): readonly Client[] {
  return topology.clients.filter(
    (client) => client.catchment === catchment && client.id !== topology.alternating,
  )
}

function catchmentRule(
  action: 'add' | 'del',
  catchment: number,
  pop: number,
  family: Family,
): IpLine {
  const from = catchmentPrefix(catchment, family)
  return { family, line: rule(action, CATCHMENT_PREF + catchment, from, pop, family) }
}

function clientRule(action: 'add' | 'del', client: Client, pop: number, family: Family): IpLine {
  const from = family === 4 ? client.address4 : client.address6
  return { family, line: rule(action, CLIENT_PREF + client.id, from, pop, family) }
}

function rule(
  action: 'add' | 'del',
  pref: number,
  from: string,
  pop: number,
  family: Family,
): string {
  return `rule ${action} pref ${pref} from ${from} to ${vipOf(family)} lookup ${tableOf(pop)}`
}
