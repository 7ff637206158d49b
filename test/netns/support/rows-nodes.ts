// Rows of the failure matrix in which nodes die and come back: event 7, alone and with PoP switches. Called by the matrix's
// files.

import type { Test } from 'tap'
import type { NodeSide } from './fleet.js'
import type { Load } from './load.js'
import type { Grown, Row, World } from './row.js'
import {
  bringSome,
  checkForwarded,
  EARLY,
  everybody,
  grownOf,
  nextPop,
  passThrough,
  rotate,
  seeAll,
} from './touch.js'

/** What belongs to a node that goes and comes back. */
export const RESTART = [...EARLY, 'dropped as peer_unreachable', 'dropped as no_session']

/** One node of each PoP: the first, the second... */
export function nth({ anycast, fleet }: World, index: number): readonly NodeSide[] {
  return anycast.pops.flatMap((pop) => fleet.nodesOf(pop).slice(index, index + 1))
}

/** Nodes through which living connections pass die at once, and start again. */
export async function restart(
  world: World,
  load: Load,
  nodes: readonly NodeSide[],
  signal: 'SIGKILL' | 'SIGTERM',
): Promise<void> {
  await bringSome(world, load, nodes)
  await Promise.all(nodes.map((node) => node.stop(signal)))
  if (nodes.length < world.fleet.nodes.length) await seeAll(world, load)
  await Promise.all(nodes.map((node) => node.start()))
}

const restarts: Row = {
  name: '7: one node of each PoP is killed and starts again, then the other is stopped and starts again',
  expected: RESTART,
  async event(world, load) {
    for (const [index, signal] of (['SIGKILL', 'SIGTERM'] as const).entries()) {
      const nodes = nth(world, index)
      await restart(world, load, nodes, signal)
      await passThrough(world, load, nodes)
    }
  },
  happened: (t, { fleet }, grown) => checkLearned(t, fleet.nodes, grown),
}

/** Each of them has begun anew, was told what the others knew, and sent packets on. */
function checkLearned(t: Test, nodes: readonly NodeSide[], grown: Grown): void {
  for (const node of nodes) {
    const metrics = grownOf(grown, node)
    const learned = metrics.value('published_flows_total', { direction: 'received' })
    const packets = metrics.value('packets_total', { exit: 'delivered_gue' })
    t.ok(
      learned > 0 && packets > 0,
      `${node.name} was told of ${learned} flows, delivered ${packets} packets`,
    )
  }
}

export const switchesAndDeaths: Row = {
  name: '1+7: PoP switches while nodes die, at last all nodes of a PoP at once, break nothing',
  expected: RESTART,
  async event(world, load) {
    const { anycast, fleet } = world
    await rotate(world, load)
    const nodes = nth(world, 0)
    await bringSome(world, load, nodes)
    await Promise.all(nodes.map((node) => node.stop('SIGKILL')))
    await rotate(world, load)
    await seeAll(world, load)
    await Promise.all(nodes.map((node) => node.start()))
    await rotate(world, load)
    await seeAll(world, load)

    const dying = nextPop(world, 0)
    const all = fleet.nodesOf(dying)
    await Promise.all(all.map((node) => node.stop('SIGKILL')))
    await anycast.move(
      everybody(world, load).filter(({ pop }) => pop === dying),
      nextPop(world, anycast.pops.indexOf(dying)),
    )
    await seeAll(world, load)
    await Promise.all(all.map((node) => node.start()))
    await rotate(world, load)
    await seeAll(world, load)
  },
  happened(t, world, grown) {
    checkForwarded(t, world, grown)
    checkLearned(t, nth(world, 0), grown)
  },
}

/** Of a fleet of one node. */
export const onlyNode: Row = {
  name: '7: the only node of a fleet is killed twice and stopped once, and each time takes its flows from its own memory',
  expected: EARLY,
  async event(world, load) {
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      await restart(world, load, world.fleet.nodes, signal)
      await seeAll(world, load)
    }
  },
  happened(t, { fleet }, grown) {
    for (const node of fleet.nodes) {
      const recalled = grownOf(grown, node).value('recorded_flows_total', { source: 'recall' })
      t.ok(recalled > 0, `${node.name} recalled ${recalled} flows`)
    }
  },
}

export const NODE_ROWS: readonly Row[] = [restarts, switchesAndDeaths]
