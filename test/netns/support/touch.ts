// How a row's event touches living connections, and how it is seen that it did. Called by the rows. Guarantees: what waits
// for packets of living connections waits for each of them, and fails when there is none.

import type { Test } from 'tap'
import { until } from '../net.js'
import type { Client, PopNet } from './anycast.js'
import type { NodeSide } from './fleet.js'
import { describe, type Living, type Load } from './load.js'
import type { Machine } from './machine.js'
import type { Metrics } from './metrics.js'
import type { Paced } from './paced.js'
import type { Grown, World } from './row.js'
import { forwarded, sleep } from './traffic.js'
import type { Sightings } from './watch.js'

/** A packet may be at a node before the news of its connection; and where many processes share few cores, three HELLOs of a
 * living peer may be late, after which it is told everything again. */
export const EARLY = ['dropped as uncertain', 'dropped as first_refusal', 'table walks']

/** In which every connection sends something. */
const SOON_MS = 250

/** All that an event can move. */
export const everybody = ({ streams }: World, load: Load): readonly Client[] => [
  ...load.clients,
  ...streams.clients,
]

export const livingAt = ({ living }: Load, pop: PopNet): readonly Living[] =>
  living.filter(({ client }) => client.pop === pop)

/** Of these, those of which no packet has reached any of the machines. */
function absentFrom(
  seen: Sightings,
  connections: readonly Paced[],
  machines: readonly Machine[],
): readonly Paced[] {
  return connections.filter(({ client, family }) => {
    const at = seen.get(client.newClient(family))
    return !machines.some((machine) => at?.has(machine))
  })
}

async function untilNoneIsMissing(
  where: string,
  connections: readonly Paced[],
  missing: () => Promise<readonly Paced[]>,
): Promise<void> {
  if (connections.length === 0) throw new Error('the event touches no living connection')
  let last = connections
  const arrived = async () => {
    last = await missing()
    return last.length === 0
  }
  await until(`packets at ${where}`, arrived).catch(({ message }: Error) => {
    throw new Error(`${message}: none from the ${last.map(describe).join(', the ')}`)
  })
}

/** Waits until packets of each of these have reached one of the machines since watch.forget(). */
export async function reach(
  world: World,
  connections: readonly Paced[],
  machines: readonly Machine[],
): Promise<void> {
  const where = machines.map(({ name }) => name).join(' or ')
  await untilNoneIsMissing(where, connections, async () =>
    absentFrom(await world.watch.sightings(), connections, machines),
  )
}

/** Each living connection is seen where its client's packets go now. */
export async function seeAll(world: World, load: Load): Promise<void> {
  await world.watch.forget()
  for (const pop of world.anycast.pops) {
    const connections = livingAt(load, pop)
    if (connections.length > 0) await reach(world, connections, pop.nodes)
  }
}

/** Reshuffles until each living connection of their PoPs has passed through each of these nodes. */
export async function passThrough(
  world: World,
  load: Load,
  nodes: readonly NodeSide[],
): Promise<void> {
  await world.watch.forget()
  const all = nodes.flatMap(({ pop }) => livingAt(load, pop))
  await untilNoneIsMissing(namesOf(nodes), all, async () => {
    await sleep(SOON_MS)
    const seen = await world.watch.sightings()
    const missing = nodes.map((node) => absentFrom(seen, livingAt(load, node.pop), [node.machine]))
    await reshuffleWhere(nodes, (_, at) => (missing[at] ?? []).length > 0)
    return missing.flat()
  })
}

/** Reshuffles until some living connection of its PoP passes through each of these nodes. */
export async function bringSome(
  world: World,
  load: Load,
  nodes: readonly NodeSide[],
): Promise<void> {
  const all = nodes.flatMap(({ pop }) => livingAt(load, pop))
  await untilNoneIsMissing(namesOf(nodes), all, async () => {
    await world.watch.forget()
    await sleep(SOON_MS)
    const seen = await world.watch.sightings()
    const without = nodes.filter(({ machine, pop }) => {
      const living = livingAt(load, pop)
      return absentFrom(seen, living, [machine]).length === living.length
    })
    await reshuffleWhere(nodes, (node) => without.includes(node))
    return without.flatMap(({ pop }) => livingAt(load, pop))
  })
}

const namesOf = (nodes: readonly NodeSide[]): string => nodes.map(({ name }) => name).join(', ')

async function reshuffleWhere(
  nodes: readonly NodeSide[],
  wanted: (node: NodeSide, at: number) => boolean,
): Promise<void> {
  const pops = new Set(nodes.filter(wanted).map(({ pop }) => pop))
  await Promise.all([...pops].map((pop) => pop.reshuffle()))
}

/** Every client to the next PoP, in the order of the fleet. */
export async function rotate(world: World, load: Load): Promise<void> {
  const { anycast } = world
  const clients = everybody(world, load)
  const groups = anycast.pops.map((pop) => clients.filter((client) => client.pop === pop))
  for (const [index, group] of groups.entries()) {
    await anycast.move(group, nextPop(world, index))
  }
}

/** These clients in equal parts to the PoPs. */
export async function spread(
  { anycast }: World,
  clients: readonly Client[],
  pops: readonly PopNet[],
): Promise<void> {
  for (const [index, pop] of pops.entries()) {
    await anycast.move(
      clients.filter((_, at) => at % pops.length === index),
      pop,
    )
  }
}

export function nextPop({ anycast: { pops } }: World, index: number): PopNet {
  const next = pops[(index + 1) % pops.length]
  if (next === undefined) throw new Error('there are no PoPs')
  return next
}

export function grownOf(grown: Grown, node: NodeSide): Metrics {
  const metrics = grown.get(node)
  if (metrics === undefined) throw new Error(`${node.name} was not read`)
  return metrics
}

/** Packets went from each of these PoPs to others. */
export function checkForwarded(
  t: Test,
  { anycast, fleet }: World,
  grown: Grown,
  pops = anycast.pops,
): void {
  for (const pop of pops) {
    const packets = fleet
      .nodesOf(pop)
      .reduce((sum, node) => sum + forwarded(grownOf(grown, node)), 0)
    t.ok(packets > 0, `${pop.name} forwarded ${packets} packets to other PoPs`)
  }
}
