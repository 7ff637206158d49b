// A row of the failure matrix, from a whole fleet to a whole fleet: living connections, the event, what must hold of both.
// Called by the matrix's files. Guarantees: a row in which nothing happened to a living connection fails; the next row
// begins only when all nodes are healthy, certain and quiet.

import { mkdirSync } from 'node:fs'
import type { Test } from 'tap'
import { Anycast, type Shape } from './anycast.js'
import { type Content, makeContent } from './content.js'
import { EchoStreams } from './echo.js'
import { growthOf, type NodeSide, type Reading, readNodes, TestFleet } from './fleet.js'
import { Load } from './load.js'
import {
  balanceOf,
  checkEquations,
  type Equation,
  type Metrics,
  troublesOf,
  whenQuiet,
} from './metrics.js'
import { WWW } from './traffic.js'
import { type Troubles, Watch } from './watch.js'

/** More than a minute at the pace of paced.ts. */
const LARGE_BYTES = 32_000_000
const SMALL_BYTES = 4_000

export interface World {
  readonly anycast: Anycast
  readonly fleet: TestFleet
  readonly watch: Watch
  readonly streams: EchoStreams
  readonly large: Content
}

/** What each node has counted since a row began. */
export type Grown = ReadonlyMap<NodeSide, Metrics>

export interface Row {
  /** A sentence. */
  readonly name: string
  /** What the event may make a node count that is otherwise a trouble: as troublesOf() calls it. */
  readonly expected: readonly string[]
  readonly event: (world: World, load: Load) => Promise<void>
  /** That the event did happen, and to living connections. */
  readonly happened: (t: Test, world: World, grown: Grown) => void
}

export async function buildWorld(shape: Shape, outer: 4 | 6): Promise<World> {
  mkdirSync(WWW)
  await makeContent(`${WWW}/small`, SMALL_BYTES)
  const [large, anycast] = await Promise.all([
    makeContent(`${WWW}/large`, LARGE_BYTES),
    Anycast.make(shape),
  ])
  const fleet = new TestFleet(anycast, outer)
  await fleet.start()
  const nodes = fleet.nodes.map(({ machine }) => machine)
  const watch = await Watch.begin(nodes, anycast.clients)
  const streams = await EchoStreams.open(anycast)
  return { anycast, fleet, watch, streams, large }
}

export async function runRow(t: Test, world: World, row: Row): Promise<void> {
  const beginning = await begin(world)
  world.streams.go()
  const load = await Load.begin(world.fleet, world.large)
  try {
    await world.watch.forget()
    await row.event(world, load)
    t.same(load.over(), [], 'all transfers live on when the event is over')
    await world.anycast.moveHome([...load.clients, ...world.streams.clients])
    await world.fleet.whole()
    await load.finish(t)
    await load.checkAfterwards(t)
  } finally {
    await load.abandon()
    await world.anycast.moveHome(world.streams.clients)
  }
  await judge(t, world, row, beginning)
}

async function judge(t: Test, world: World, row: Row, beginning: Beginning): Promise<void> {
  const { fleet, watch, streams } = world
  const { before, websBefore, noise, echoed } = beginning
  for (const [address, bytes] of await streams.settle()) {
    const grown = bytes - (echoed.get(address) ?? 0)
    t.ok(grown > 0, `the echo stream of ${address} went on: ${grown} bytes`)
  }
  t.same(streams.broken, [], 'no echo stream broke')
  checkTroubles(t, noise, await watch.troubles())
  let grown: Grown = new Map()
  await checkEquations(t, async () => {
    const after = await readNodes(fleet)
    grown = growthOf(before, after)
    return [
      ...nodeEquations(after, grown, row.expected),
      ...(await webEquations(fleet, websBefore)),
    ]
  })
  row.happened(t, world, grown)
}

function checkTroubles(t: Test, before: Troubles, after: Troubles): void {
  const resets = after.resets.filter((to) => !before.resets.includes(to))
  const among = resets.length === 0 ? 'none was sent' : `to ${resets.join(', ')}`
  t.equal(after.broken, before.broken, `no living connection was reset (resets: ${among})`)
  t.same(after.errors, before.errors, 'no ICMP error reached a client')
}

interface Beginning {
  readonly before: Reading
  readonly websBefore: readonly Metrics[]
  readonly noise: Troubles
  readonly echoed: ReadonlyMap<string, number>
}

async function begin({ fleet, watch, streams }: World): Promise<Beginning> {
  await fleet.whole()
  const echoed = await streams.settle()
  const before = await whenQuiet(
    () => readNodes(fleet),
    (reading) => [...reading.values()].map(({ metrics }) => metrics),
    { news: false },
  )
  const websBefore = await readWebs(fleet)
  return { before, websBefore, noise: await watch.troubles(), echoed }
}

const readWebs = (fleet: TestFleet): Promise<Metrics[]> =>
  Promise.all(fleet.webs.map(({ steadycast }) => steadycast.metrics()))

/** Sums hold since the beginning of each process: a reading to count from may come amid a publication. */
function nodeEquations(
  after: Reading,
  grown: Grown,
  expected: readonly string[],
): readonly Equation[] {
  return [
    ...[...after].flatMap(([{ name }, { metrics }]) => balanceOf(name, metrics, 'node')),
    ...[...grown]
      .flatMap(([{ name }, metrics]) => troublesOf(name, metrics, 'node'))
      .filter(([what]) => !expected.some((known) => what.endsWith(`: ${known}`))),
  ]
}

async function webEquations(
  fleet: TestFleet,
  before: readonly Metrics[],
): Promise<readonly Equation[]> {
  const after = await readWebs(fleet)
  return fleet.webs.flatMap(({ machine: { name } }, at) => {
    const [from, to] = [before[at], after[at]]
    if (from === undefined || to === undefined) throw new Error(`${name} was not read`)
    return [...balanceOf(name, to, 'backend'), ...troublesOf(name, to.since(from), 'backend')]
  })
}
