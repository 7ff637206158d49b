// Rows of the failure matrix in which the fleet file changes: event 5, alone and with others, and rolling restarts, event 6.
// The backends that leave have living connections, always. Called by the matrix's files.

import type { Test } from 'tap'
import type { PopNet } from './anycast.js'
import type { WebSide } from './fleet.js'
import type { Load } from './load.js'
import type { Grown, Row, World } from './row.js'
import { nth, RESTART, restart } from './rows-nodes.js'
import {
  checkForwarded,
  EARLY,
  everybody,
  grownOf,
  passThrough,
  rotate,
  seeAll,
  spread,
} from './touch.js'

const HIGH_WEIGHT = 30

/** Of a PoP's backends one leaves the file, one is drained, the others get another weight. */
interface Change {
  readonly pop: PopNet
  readonly leaving: WebSide
  readonly draining: WebSide
  readonly staying: readonly WebSide[]
}

/** Those with living connections first. */
function planChange({ fleet }: World, load: Load, pop: PopNet): Change {
  const busy = new Set(
    load.living.map(({ backend }) => backend).filter((backend) => backend.pop === pop),
  )
  if (busy.size === 0) throw new Error(`no backend of ${pop.name} has living connections`)
  const [leaving, draining, ...staying] = new Set([...busy, ...fleet.websOf(pop)])
  if (leaving === undefined || draining === undefined || staying.length === 0) {
    throw new Error(`${pop.name} has too few backends`)
  }
  return { pop, leaving, draining, staying }
}

function writeReweighted({ fleet }: World, changes: readonly Change[]): void {
  for (const { draining, staying } of changes) {
    fleet.weights.set(draining, 0)
    for (const web of staying) fleet.weights.set(web, HIGH_WEIGHT)
  }
  fleet.write()
}

function writeRemoved({ fleet }: World, changes: readonly Change[]): void {
  for (const { leaving } of changes) fleet.removed.add(leaving)
  fleet.write()
}

/** All PoPs change at once. `meanwhile` comes after each half. */
async function changeFleet(
  world: World,
  load: Load,
  meanwhile: () => Promise<unknown>,
): Promise<void> {
  const { anycast, fleet } = world
  const changes = anycast.pops.map((pop) => planChange(world, load, pop))
  writeReweighted(world, changes)
  await fleet.reload()
  await meanwhile()
  writeRemoved(world, changes)
  await fleet.reload()
  await meanwhile()
  for (const { pop, staying } of changes) await requireServers(load, pop, staying)
  await changeBack(world, load)
  await meanwhile()
}

/** The one that had left is added again, and gets its share. */
async function changeBack({ anycast, fleet }: World, load: Load): Promise<void> {
  fleet.weights.clear()
  fleet.removed.clear()
  fleet.write()
  await fleet.reload()
  for (const pop of anycast.pops) await requireServers(load, pop, fleet.websOf(pop))
}

/** New connections go to these backends, to each of them and to no other. */
export async function requireServers(
  load: Load,
  pop: PopNet,
  webs: readonly WebSide[],
): Promise<void> {
  const expected = webs.map(({ machine }) => machine.name).sort()
  const servers = [...(await load.serversAt(pop))].sort()
  if (servers.join() !== expected.join()) {
    throw new Error(`new connections at ${pop.name} went to ${servers}, expected ${expected}`)
  }
}

/** Each node has taken over a file since the row began. */
function checkReloaded(t: Test, { fleet }: World, grown: Grown): void {
  for (const node of fleet.nodes) {
    const later = grownOf(grown, node).value('config_last_reload_success_timestamp_seconds')
    t.ok(later > 0, `${node.name} has taken the file over`)
  }
}

const changes: Row = {
  name: '5: backends with living connections are drained, removed and added again, others reweighted',
  expected: EARLY,
  event: (world, load) => changeFleet(world, load, () => seeAll(world, load)),
  happened: checkReloaded,
}

const rollingRestart: Row = {
  name: '6: a rolling restart, kill -9 and SIGTERM, with another fleet file for each node that starts',
  expected: RESTART,
  async event(world, load) {
    const { anycast } = world
    const changes = anycast.pops.map((pop) => planChange(world, load, pop))
    writeReweighted(world, changes)
    writeRemoved(world, changes)
    await restart(world, load, nth(world, 0), 'SIGKILL')
    await passThrough(world, load, nth(world, 0))
    await restart(world, load, nth(world, 1), 'SIGTERM')
    for (const { pop, staying } of changes) await requireServers(load, pop, staying)
    await passThrough(world, load, nth(world, 1))
    await changeBack(world, load)
    await seeAll(world, load)
  },
  happened: checkReloaded,
}

const switchesAndChanges: Row = {
  name: '1+5: PoP switches between changes of the fleet break nothing',
  expected: EARLY,
  event: (world, load) =>
    changeFleet(world, load, async () => {
      await rotate(world, load)
      await seeAll(world, load)
    }),
  happened(t, world, grown) {
    checkReloaded(t, world, grown)
    checkForwarded(t, world, grown)
  },
}

const reshufflesAndChanges: Row = {
  name: '4+5: ECMP reshuffles between changes of the fleet, what breaks a flow table per node, break nothing',
  expected: EARLY,
  event: (world, load) =>
    changeFleet(world, load, () => passThrough(world, load, world.fleet.nodes)),
  happened: checkReloaded,
}

const maintenanceAndChanges: Row = {
  name: '8+5: a PoP withdraws and its backends change while its connections arrive at others',
  expected: EARLY,
  async event(world, load) {
    const { anycast } = world
    const [leaving, ...others] = anycast.pops
    if (leaving === undefined) throw new Error('there are no PoPs')
    const clients = everybody(world, load).filter(({ pop }) => pop === leaving)
    // Somebody still asks the PoP for new connections, to see how it has changed.
    const living = clients.filter((client) => !load.askers.includes(client))
    await spread(world, living, others)
    await changeFleet(world, load, () => seeAll(world, load))
    await anycast.move(clients, leaving)
    await seeAll(world, load)
  },
  happened(t, world, grown) {
    checkReloaded(t, world, grown)
    checkForwarded(t, world, grown, world.anycast.pops.slice(1))
  },
}

export const FLEET_ROWS: readonly Row[] = [
  changes,
  rollingRestart,
  switchesAndChanges,
  reshufflesAndChanges,
  maintenanceAndChanges,
]
