// A short digest of what all nodes must have alike: the fleet file but for paths and the size of tables, whatever the order
// of its entries. Nodes tell each other theirs in HELLO. Called by src/dataplane, src/status and src/doctor. Guarantees: equal
// files give equal digests within one release of Steadycast, on any machine; never 0.

import { createHash } from 'node:crypto'
import type { Fleet } from './model.js'

/** 32 bits: the first of SHA-256. */
export function fleetDigest({ hashSeed, pops, services, announce }: Fleet): number {
  const byId = <T extends { readonly id: number }>(of: readonly T[]) =>
    [...of].sort((a, b) => a.id - b.id)
  const text = JSON.stringify([
    hashSeed.toString(),
    byId(pops).map((pop) => [pop.id, pop.name, byId(pop.nodes), byId(pop.backends)]),
    [...services].sort((a, b) => (a.name < b.name ? -1 : 1)),
    announce === undefined ? null : { ...announce, localNodes: [...announce.localNodes].sort() },
  ])
  return createHash('sha256').update(text).digest().readUInt32BE() || 1
}

export function digestText(digest: number): string {
  return digest.toString(16).padStart(8, '0')
}
