// What all nodes compute alike (docs/wire-format.md, section 1): flow id, home row, rendezvous order, home, Maglev slot.
// Written from the page, without a look at native/. Used by the vectors and by the tests of the protocol.

import xxhash from 'xxhash-wasm'
import { addressBytes } from '../../src/fleet/address.js'
import { type Bytes, join, u16, u32 } from './bytes.js'

const { h64Raw } = await xxhash()

export const PROTO = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const

/** As seen from the client. Addresses are text, IPv4 or IPv6. */
export interface Flow {
  readonly client: string
  readonly vip: string
  readonly sport: number
  readonly dport: number
  readonly proto: number
}

export function xxh64(bytes: Bytes, seed: bigint): bigint {
  return h64Raw(bytes, seed)
}

export function flowId(hashSeed: bigint, flow: Flow): bigint {
  return xxh64(
    join(
      addressBytes(flow.client),
      addressBytes(flow.vip),
      u16(flow.sport),
      u16(flow.dport),
      Uint8Array.of(flow.proto, 0, 0, 0),
    ),
    hashSeed,
  )
}

/** docs/wire-format.md, section 3.3. */
export function serviceId(hashSeed: bigint, vip: string, port: number, proto: number): number {
  const id = flowId(hashSeed, { client: vip, vip, sport: port, dport: port, proto })
  return Number(id & 0xffffffffn)
}

/** docs/wire-format.md, section 3.1. */
export function seedCheck(hashSeed: bigint): number {
  return Number(xxh64(new Uint8Array(0), hashSeed) & 0xffffn) | 1
}

export function homeRow(id: bigint): number {
  return Number((id >> 32n) & 0xfffn)
}

/** Node ids of one PoP, the first choice for this row first. */
export function rendezvousOrder(
  hashSeed: bigint,
  nodeIds: readonly number[],
  row: number,
): readonly number[] {
  const score = (node: number): bigint => xxh64(join(u16(node), u16(0), u32(row)), hashSeed)
  return nodeIds
    .map((node) => ({ node, score: score(node) }))
    .sort((a, b) => (a.score > b.score ? -1 : a.score < b.score ? 1 : a.node - b.node))
    .map(({ node }) => node)
}

/** The node id of the flow's home when all nodes of the PoP are alive and have filled. */
export function homeOf(hashSeed: bigint, nodeIds: readonly number[], id: bigint): number {
  const [first] = rendezvousOrder(hashSeed, nodeIds, homeRow(id))
  if (first === undefined) throw new RangeError('a PoP without nodes has no home')
  return first
}

export function maglevSlot(id: bigint, slots: number): number {
  return Number(((id >> 32n) * BigInt(slots)) >> 32n)
}

/** The PoP that a backend id names. */
export const popOfBackend = (backend: number): number => backend >>> 20
