// Rows of the failure matrix in which PoPs cannot do what they are asked for themselves: RELAY and spill. Called by the
// matrix's files.

import type { Test } from 'tap'
import { until } from '../net.js'
import type { PopNet } from './anycast.js'
import type { Load } from './load.js'
import type { Grown, Row, World } from './row.js'
import { requireServers } from './rows-fleet.js'
import { EARLY, everybody, grownOf, livingAt, seeAll } from './touch.js'

function sumAt({ fleet }: World, grown: Grown, pop: PopNet, exit: string): number {
  return fleet
    .nodesOf(pop)
    .reduce((sum, node) => sum + grownOf(grown, node).value('packets_total', { exit }), 0)
}

function threePops({ anycast: { pops } }: World): readonly [PopNet, PopNet, PopNet] {
  const [first, second, third] = pops
  if (first === undefined || second === undefined || third === undefined) {
    throw new Error('there are three PoPs')
  }
  return [first, second, third]
}

const SOME_BYTES = 500_000

/** Every download brings more, and every echo stream comes to an end and begins again. */
async function goOn(world: World, load: Load): Promise<void> {
  const downloads = load.living.filter(({ what }) => what === 'download')
  const before = downloads.map(({ transfer }) => transfer.bytes)
  const going = () =>
    downloads.every(({ transfer }, at) => transfer.bytes > (before[at] ?? 0) + SOME_BYTES)
  await until('all downloads to go on', going)
  await world.streams.settle()
  world.streams.go()
}

const partition: Row = {
  name: 'RELAY: two PoPs lose each other, and connections that one has of the other go on by way of the third',
  expected: [
    ...EARLY,
    'dropped as peer_unreachable',
    'dropped as relay_unknown',
    'dropped as no_session',
  ],
  async event(world, load) {
    const { anycast, fleet } = world
    const [one, other] = threePops(world)
    await anycast.part(one, other)
    const apart = async () => {
      const all = await Promise.all(
        fleet.nodesOf(one).map(({ steadycast }) => steadycast.metrics()),
      )
      return all.every((metrics) =>
        fleet
          .nodesOf(other)
          .every(({ name }) => metrics.value('peer_up', { peer: name, pop: other.name }) === 0),
      )
    }
    await until(`${one.name} to miss ${other.name}`, apart)
    const clients = everybody(world, load)
    const ofOne = clients.filter(({ pop }) => pop === one)
    const ofOther = clients.filter(({ pop }) => pop === other)
    await anycast.move(ofOne, other)
    await anycast.move(ofOther, one)
    await seeAll(world, load)
    await goOn(world, load)
    await anycast.join(one, other)
    await fleet.whole()
    await seeAll(world, load)
  },
  happened(t, world, grown) {
    const [one, other, third] = threePops(world)
    for (const pop of [one, other]) {
      const relayed = sumAt(world, grown, pop, 'relayed')
      t.ok(relayed > 0, `${pop.name} relayed ${relayed} packets`)
    }
    const forwarded = sumAt(world, grown, third, 'forwarded')
    t.ok(forwarded > 0, `${third.name} forwarded ${forwarded} packets`)
  },
}

const spill: Row = {
  name: 'spill: a PoP whose backends all take no new connections hands them on, and those live on afterwards',
  expected: EARLY,
  async event(world, load) {
    const { anycast, fleet } = world
    const [full] = threePops(world)
    for (const web of fleet.websOf(full)) fleet.weights.set(web, 0)
    fleet.write()
    await fleet.reload()
    const spilled = (await load.newClients(full)).map((client) => load.start(client))
    await load.live(spilled)
    const strays = livingAt(load, full).filter(({ backend }) => backend.pop !== full)
    if (strays.length !== spilled.length) throw new Error('not all new connections were spilled')
    await seeAll(world, load)
    fleet.weights.clear()
    fleet.write()
    await fleet.reload()
    await requireServers(load, full, fleet.websOf(full))
    await seeAll(world, load)
    await anycast.move(
      strays.map(({ client }) => client),
      strays[0]?.backend.pop ?? full,
    )
    await seeAll(world, load)
  },
  happened(t: Test, world, grown) {
    const [full] = threePops(world)
    for (const exit of ['spilled', 'forwarded']) {
      const packets = sumAt(world, grown, full, exit)
      t.ok(packets > 0, `${full.name}: ${packets} packets ${exit}`)
    }
  },
}

export const REACH_ROWS: readonly Row[] = [partition, spill]
