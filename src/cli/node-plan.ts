// What a node is to do, worked out from its files and from what it remembers of its PoP. Called by the verb `run`, at the
// start and for each reload. Guarantees: pure but for the reading of the files; a plan is never changed, only replaced.

import { isDeepStrictEqual } from 'node:util'
import { type Generation, type Key, packGeneration } from '../dataplane/generation.js'
import { type Departed, withDeparted } from '../fleet/departed.js'
import { fleetDifferences, keyDifferences } from '../fleet/differences.js'
import { fleetDigest } from '../fleet/digest.js'
import type { MaglevTables } from '../fleet/maglev-tables.js'
import type { Fleet, FleetNode, Pop, Service } from '../fleet/model.js'
import type { Readiness } from '../fleet/readiness.js'
import type { RoutingNeeds } from '../host/preconditions.js'
import type { Vip } from '../host/vip-routing.js'
import { UserError } from './errors.js'
import {
  findNamed,
  readFleet,
  readKeys,
  refuseReload,
  refuseStart,
  rereadFleet,
} from './fleet-input.js'
import type { Log } from './log.js'

/** What the files say. */
export interface NodeFiles {
  readonly fleet: Fleet
  readonly keys: readonly Key[]
  readonly self: FleetNode
  readonly pop: Pop
}

export interface NodeOutline extends NodeFiles {
  readonly departed: readonly Departed[]
  /** The fleet with the departed backends. */
  readonly whole: Fleet
  readonly vips: readonly Vip[]
}

export interface NodePlan extends NodeOutline {
  readonly mtu: number
  /** Of the operator, by which the generation goes. */
  readonly generation: Generation
}

/** At the start. */
export function readNodeFiles(path: string, node: string, log: Log): NodeFiles {
  const fleet = readFleet(path, log)
  return filesOf(fleet, readKeys(fleet.keyFile, log, refuseStart), path, node)
}

/** At a reload. */
export async function rereadNodeFiles(path: string, node: string, log: Log): Promise<NodeFiles> {
  const fleet = await rereadFleet(path, log)
  return filesOf(fleet, readKeys(fleet.keyFile, log, refuseReload(log)), path, node)
}

function filesOf(fleet: Fleet, keys: readonly Key[], path: string, node: string): NodeFiles {
  const what = { noun: 'node', option: '--node', path }
  const { found, pop } = findNamed(fleet, ({ nodes }) => nodes, what, node)
  return { fleet, keys, self: found, pop }
}

export function outline(files: NodeFiles, departed: readonly Departed[]): NodeOutline {
  const whole = withDeparted(files.fleet, files.pop.id, departed)
  return { ...files, departed, whole, vips: vipsOf(whole, files.self) }
}

export function completePlan(
  of: NodeOutline,
  mtu: number,
  readiness: Readiness,
  tables: MaglevTables,
): NodePlan {
  const side = { kind: 'node', nodeId: of.self.id, keys: of.keys } as const
  const digest = fleetDigest(of.fleet)
  return { ...of, mtu, generation: packGeneration(of.whole, side, mtu, readiness, tables, digest) }
}

/** Throws when a reload cannot bring this about. */
export function requireSameNode(before: NodeFiles, after: NodeFiles): void {
  const seeds = [before.fleet.hashSeed, after.fleet.hashSeed]
  if (seeds[0] !== seeds[1]) {
    const [was, is] = seeds.map((seed) => `0x${seed?.toString(16)}`)
    throw new UserError(
      `hash_seed was ${was} and is now ${is}, expected the same for ever: put ${was} back (a node with another seed than its peers is refused by them; with a new one all nodes would have to be stopped before the first is started, which ends all connections)`,
    )
  }
  const differ = [
    { what: "this node's id", from: before.self.id, to: after.self.id },
    { what: "this node's address", from: before.self.address, to: after.self.address },
    { what: "this node's PoP", from: before.pop.id, to: after.pop.id },
  ].filter(({ from, to }) => from !== to)
  const [first] = differ
  if (first === undefined) return
  throw new UserError(
    `${first.what} was ${first.from} and is now ${first.to}, which a running node cannot take over: restart it`,
  )
}

/** In words; none: the plans are the same. */
export function planDifferences(before: NodePlan, after: NodePlan): readonly string[] {
  const words = [
    ...fleetDifferences(before.fleet, after.fleet),
    ...keyDifferences(before.keys, after.keys),
    ...(before.mtu === after.mtu
      ? []
      : [`MTU to peers and backends ${before.mtu} to ${after.mtu}`]),
  ]
  if (words.length > 0 || samePlan(before, after)) return words
  return ['the order of the files']
}

function samePlan(before: NodePlan, after: NodePlan): boolean {
  return isDeepStrictEqual(before.whole, after.whole)
}

/** Each VIP once; local when a backend on this node answers one of its services. */
export function vipsOf(fleet: Fleet, node: FleetNode): readonly Vip[] {
  const vips = new Map<string, Vip>()
  for (const service of fleet.services) {
    const local = isLocal(fleet, service, node) || (vips.get(service.vip)?.local ?? false)
    vips.set(service.vip, { address: service.vip, family: service.family, local })
  }
  return [...vips.values()]
}

function isLocal({ pops }: Fleet, { pool }: Service, { id }: FleetNode): boolean {
  return pops.some(({ backends }) =>
    backends.some((backend) => backend.nodeId === id && backend.pool === pool),
  )
}

/** The machines that this node sends GUE to. */
export function neighbours({ whole, self, pop }: NodeOutline): readonly string[] {
  const remote = whole.pops
    .filter(({ id }) => id === pop.id)
    .flatMap(({ backends }) => backends)
    .filter(({ deliver }) => deliver === 'gue')
  return [...peersOf(whole, self), ...remote].map(({ address }) => address)
}

export function peersOf(fleet: Fleet, node: FleetNode): readonly FleetNode[] {
  return fleet.pops.flatMap((pop) => pop.nodes).filter(({ id }) => id !== node.id)
}

export function routingNeeds({ vips, whole, self }: NodeOutline): RoutingNeeds {
  const local = whole.services.filter((service) => isLocal(whole, service, self))
  return {
    ipv4: vips.some(({ family }) => family === 4),
    ipv6: vips.some(({ family }) => family === 6),
    localTcp: local.some(({ protocol }) => protocol === 'tcp'),
    localUdp: local.some(({ protocol }) => protocol === 'udp'),
    localIpv6: local.some(({ family }) => family === 6),
  }
}
