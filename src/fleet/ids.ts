// Ids of PoPs, nodes and backends, derived from their names: XXH64, seed 0, over UTF-8 text.
// Called by src/config (which refuses collisions) and by tests. Guarantees: an id depends on nothing but the
// names (and a backend's address), never on the order of a file, so that editing it renumbers nothing.

import xxhash from 'xxhash-wasm'
import { canonicalAddress } from './address.js'
import { MAX_NODE_ID, MAX_POP_ID } from './limits.js'

const { h64Raw } = await xxhash()
const utf8 = new TextEncoder()

const BACKEND_HASH_BITS = 20
const BACKEND_HASH_MASK = 0xfffffn

/** XXH64 of the text's UTF-8 bytes. */
export function xxh64(text: string, seed = 0n): bigint {
  return h64Raw(utf8.encode(text), seed)
}

/** 1 to 4095. */
export function derivedPopId(name: string): number {
  return 1 + Number(xxh64(`pop:${name}`) % BigInt(MAX_POP_ID))
}

/** 1 to 65535. */
export function derivedNodeId(name: string): number {
  return 1 + Number(xxh64(`node:${name}`) % BigInt(MAX_NODE_ID))
}

/** 32 bits: the PoP's id, then 20 bits of hash, never 0. For `deliver: local` the address is the node's. */
export function backendId(popId: number, name: string, address: string): number {
  const hash = Number(xxh64(`backend:${name}@${canonicalAddress(address)}`) & BACKEND_HASH_MASK)
  return ((popId << BACKEND_HASH_BITS) | (hash === 0 ? 1 : hash)) >>> 0
}
