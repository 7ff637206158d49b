// Rows of the failure matrix in which packets move between nodes and PoPs, and nothing else happens: the events 1 to 4 and
// 8. Called by the matrix's files.

import type { Row } from './row.js'
import {
  checkForwarded,
  EARLY,
  everybody,
  grownOf,
  nextPop,
  passThrough,
  reach,
  rotate,
  seeAll,
  spread,
} from './touch.js'
import { sleep } from './traffic.js'

const FLAPS = 6
const FLAP_EVERY_MS = 200
const ALTERNATE_FOR_MS = 2000

const popSwitches: Row = {
  name: '1: switches of all clients from PoP to PoP break nothing',
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

const splitHandshakes: Row = {
  name: '2: handshakes whose SYN and ACK reach different PoPs succeed, and what follows them',
  expected: EARLY,
  async event(world, load) {
    const { anycast, watch } = world
    const split = await Promise.all(
      anycast.pops.map(async (pop) => ({ pop, clients: await load.newClients(pop) })),
    )
    const clients = split.flatMap((group) => group.clients)
    await watch.forget()
    await anycast.silence(clients)
    const started = clients.map((client) => load.start(client))
    for (const { pop } of split) {
      await reach(
        world,
        started.filter(({ client }) => client.pop === pop),
        pop.nodes,
      )
    }
    for (const [index, group] of split.entries()) {
      await anycast.move(group.clients, nextPop(world, index))
    }
    await anycast.hear(clients)
    await load.live(started)
    await seeAll(world, load)
  },
  happened: checkForwarded,
}

const permanentSplits: Row = {
  name: '3: packets that alternate between all PoPs, one by one, break nothing',
  expected: EARLY,
  async event(world, load) {
    const { anycast, watch } = world
    await anycast.alternate()
    await watch.forget()
    for (const pop of anycast.pops) await reach(world, load.living, pop.nodes)
    await sleep(ALTERNATE_FOR_MS)
    await anycast.stopAlternating()
  },
  happened: checkForwarded,
}

const reshuffles: Row = {
  name: '4: ECMP that sends every flow to another node of its PoP, again and again, breaks nothing',
  expected: EARLY,
  async event(world, load) {
    for (let flap = 0; flap < FLAPS; flap++) {
      await Promise.all(world.anycast.pops.map((pop) => pop.reshuffle()))
      await sleep(FLAP_EVERY_MS)
    }
    await passThrough(world, load, world.fleet.nodes)
  },
  happened(t, { fleet }, grown) {
    for (const node of fleet.nodes) {
      const asked = grownOf(grown, node).value('packets_total', { exit: 'asked' })
      t.ok(asked > 0, `${node.name} asked the home about ${asked} packets`)
    }
  },
}

const maintenance: Row = {
  name: '8: a PoP withdraws, its connections arrive at the others, and come back; each PoP in turn',
  expected: EARLY,
  async event(world, load) {
    const { anycast } = world
    for (const leaving of anycast.pops) {
      const others = anycast.pops.filter((pop) => pop !== leaving)
      const clients = everybody(world, load).filter(({ pop }) => pop === leaving)
      await spread(world, clients, others)
      await seeAll(world, load)
      await anycast.move(clients, leaving)
      await seeAll(world, load)
    }
  },
  happened: checkForwarded,
}

export const ROUTE_ROWS: readonly Row[] = [
  popSwitches,
  splitHandshakes,
  permanentSplits,
  reshuffles,
  maintenance,
]
