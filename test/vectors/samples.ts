// Small fleets for the vectors and the tests of the protocol: n PoPs of m nodes and k backends, addresses that tell
// PoP and machine, and a few services. Guarantees: the same options give the same fleet, ids included.

import { canonicalAddress } from '../../src/fleet/address.js'
import { backendId } from '../../src/fleet/ids.js'
import type { Backend, Fleet, FleetNode, Pop, Service } from '../../src/fleet/model.js'
import type { Key } from './wire.js'

export interface FleetOptions {
  readonly pops?: number
  readonly nodesPerPop?: number
  readonly backendsPerPop?: number
  /** Family of the addresses of nodes and backends. */
  readonly outer?: 4 | 6
  /** `local`: each node is its own only backend. */
  readonly deliver?: 'gue' | 'local'
  readonly services?: readonly Service[]
}

export const HASH_SEED = 0x9f1c5e7702ab44d1n
export const KEY: Key = {
  id: 7,
  key: Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i),
}
export const VIP4 = '198.51.100.10'
export const VIP6 = '2001:db8:100::10'
export const DNS4 = '198.51.100.53'
export const DNS6 = '2001:db8:100::53'
export const CLIENT4 = '203.0.113.77'
export const CLIENT6 = '2001:db8:c11e::77'

const POOL = 'web'
const TIMES = { halfOpenS: 65, idleS: 3 * 3600, closingS: 60 } as const

const service = (
  name: string,
  vip: string,
  ports: readonly number[],
  protocol: 'tcp' | 'udp',
  fragments = false,
): Service => ({
  ...TIMES,
  name,
  vip,
  family: vip.includes(':') ? 6 : 4,
  ports,
  protocol,
  pool: POOL,
  fragments,
  health: undefined,
})

/** TCP 80 and 443 and UDP 443 on one pair of VIPs; UDP 53 with fragments and TCP 53 on the other. */
export const SERVICES: readonly Service[] = [
  service('web', VIP4, [80, 443], 'tcp'),
  service('web-v6', VIP6, [80, 443], 'tcp'),
  service('quic', VIP4, [443], 'udp'),
  service('quic-v6', VIP6, [443], 'udp'),
  service('dns', DNS4, [53], 'udp', true),
  service('dns-v6', DNS6, [53], 'udp', true),
  service('dns-tcp', DNS4, [53], 'tcp'),
]

export function sampleFleet(options: FleetOptions = {}): Fleet {
  const { pops = 1, services = SERVICES } = options
  return {
    keyFile: '/nowhere',
    hashSeed: HASH_SEED,
    flowTableEntries: 1024,
    pops: Array.from({ length: pops }, (_, i) => samplePop(i + 1, options)),
    services,
  }
}

/** PoPs a, b, c, ... with nodes a1, a2, ... */
function samplePop(id: number, options: FleetOptions): Pop {
  const { nodesPerPop = 1, backendsPerPop = 2, outer = 4, deliver = 'gue' } = options
  const name = String.fromCharCode(0x60 + id)
  const address = (net: number, host: number): string =>
    canonicalAddress(outer === 4 ? `10.${id}.${net}.${host}` : `fd00:${id}:${net}::${host}`)
  const nodes = Array.from({ length: nodesPerPop }, (_, i): FleetNode => {
    const number = i + 1
    return { id: id * 100 + number, name: name + number, popId: id, address: address(0, number) }
  })
  const common = { popId: id, weight: 1, pool: POOL } as const
  const own = nodes.map((node): Backend => {
    const backend = { ...common, name: `${node.name}-web`, address: node.address }
    return { ...backend, id: idOf(backend), deliver: 'local', nodeId: node.id }
  })
  const others = Array.from({ length: backendsPerPop }, (_, i): Backend => {
    const backend = { ...common, name: `${name}-web-${i + 1}`, address: address(1, i + 1) }
    return { ...backend, id: idOf(backend), deliver: 'gue', nodeId: 0 }
  })
  return { id, name, nodes, backends: deliver === 'local' ? own : others }
}

/** The fleet with no backend in these PoPs. */
export function withoutBackends(fleet: Fleet, ...names: readonly string[]): Fleet {
  const pops = fleet.pops.map((pop) => (names.includes(pop.name) ? { ...pop, backends: [] } : pop))
  return { ...fleet, pops }
}

const idOf = ({ popId, name, address }: Pick<Backend, 'popId' | 'name' | 'address'>): number =>
  backendId(popId, name, address)

export const nodesOf = (fleet: Fleet): readonly FleetNode[] => fleet.pops.flatMap((p) => p.nodes)
export const backendsOf = (fleet: Fleet): readonly Backend[] =>
  fleet.pops.flatMap((p) => p.backends)

export function nodeNamed(fleet: Fleet, name: string): FleetNode {
  const node = nodesOf(fleet).find((candidate) => candidate.name === name)
  if (node === undefined) throw new RangeError(`no node "${name}" in this fleet`)
  return node
}

export function popNamed(fleet: Fleet, name: string): Pop {
  const pop = fleet.pops.find((candidate) => candidate.name === name)
  if (pop === undefined) throw new RangeError(`no PoP "${name}" in this fleet`)
  return pop
}
