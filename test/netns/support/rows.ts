// The rows of the failure matrix that move packets: numbers are those of the events. Called by the matrix's files.

import type { Test } from 'tap'
import type { Client, PopNet } from './anycast.js'
import type { NodeSide } from './fleet.js'
import type { Load } from './load.js'
import type { Metrics } from './metrics.js'
import { EARLY, type Row, reach, type World } from './row.js'
import { forwarded, sleep } from './traffic.js'

type Grown = ReadonlyMap<NodeSide, Metrics>

const FLAPS = 6
const FLAP_EVERY_MS = 200

const everybody = ({ streams }: World, load: Load): readonly Client[] => [
  ...load.clients,
  ...streams.clients,
]

const at = (clients: readonly Client[], pop: PopNet): readonly Client[] =>
  clients.filter((client) => client.pop === pop)

/** The next PoP in the order of the fleet. */
function after({ anycast: { pops } }: World, pop: PopNet): PopNet {
  return pops[(pops.indexOf(pop) + 1) % pops.length] ?? pop
}

/** Packets went from each of these PoPs to others. */
function checkForwarded(t: Test, { anycast, fleet }: World, grown: Grown, pops = anycast.pops) {
  for (const pop of pops) {
    const packets = fleet
      .nodesOf(pop)
      .reduce((sum, node) => sum + forwarded(grown.get(node) ?? missing(node)), 0)
    t.ok(packets > 0, `${pop.name} forwarded ${packets} packets to other PoPs`)
  }
}

function missing({ name }: NodeSide): never {
  throw new Error(`${name} was not read`)
}

/** Every client to the next PoP. */
async function rotate(world: World, load: Load): Promise<void> {
  const clients = everybody(world, load)
  const groups = world.anycast.pops.map((pop) => [after(world, pop), at(clients, pop)] as const)
  for (const [to, group] of groups) await world.anycast.move(group, to)
}

async function seeAll(world: World, load: Load): Promise<void> {
  await world.watch.forget()
  for (const pop of world.anycast.pops) {
    await reach(
      world,
      load.living.filter(({ client }) => client.pop === pop),
      pop.nodes,
    )
  }
}

const popSwitch: Row = {
  name: '1: PoP switches of all clients at once break nothing',
  expected: EARLY,
  async event(world, load) {
    for (let flap = 0; flap < FLAPS; flap++) {
      await rotate(world, load)
      await sleep(FLAP_EVERY_MS)
    }
    for (const _ of world.anycast.pops) {
      await rotate(world, load)
      await seeAll(world, load)
    }
  },
  happened: checkForwarded,
}

const handshakeSplit: Row = {
  name: '2: handshakes whose SYN and ACK reach different PoPs succeed',
  expected: EARLY,
  async event(world, load) {
    const { anycast, watch } = world
    const split = await Promise.all(anycast.pops.map((pop) => load.newClients(pop)))
    await watch.forget()
    await anycast.silence(split.flat())
    const started = split.map((clients) => load.start(clients))
    for (const [index, pop] of anycast.pops.entries()) {
      await reach(world, started[index] ?? [], pop.nodes)
    }
    for (const [index, pop] of anycast.pops.entries()) {
      await anycast.move(split[index] ?? [], after(world, pop))
    }
    await watch.forget()
    await anycast.hear(split.flat())
    await load.live(started.flat())
    await seeAll(world, load)
  },
  happened(t, world, grown) {
    checkForwarded(t, world, grown)
  },
}

const permanentSplit: Row = {
  name: '3: packets that alternate between PoPs all the time break nothing',
  expected: EARLY,
  async event(world, load) {
    const { anycast, watch } = world
    await anycast.alternate()
    await watch.forget()
    for (const pop of anycast.pops) await reach(world, load.living, pop.nodes)
    await sleep(2000)
    await anycast.stopAlternating()
  },
  happened: checkForwarded,
}

export const ROWS: readonly Row[] = [popSwitch, handshakeSplit, permanentSplit]
