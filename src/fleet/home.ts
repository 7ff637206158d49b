// The home of a flow in a PoP whose nodes are all alive (docs/wire-format.md, section 1), for the few flows that this side
// makes itself. Called by src/health. The data path's own is native/home.c.

import xxhash from 'xxhash-wasm'

const { h64Raw } = await xxhash()
const HOME_ROWS = 4096n

/** Id of the node that comes first in the flow's rendezvous order. */
export function homeNode(hashSeed: bigint, nodeIds: readonly number[], flow: bigint): number {
  const row = Number((flow >> 32n) % HOME_ROWS)
  const input = new DataView(new ArrayBuffer(8))
  input.setUint32(4, row)
  let home = 0
  let best = -1n
  for (const id of nodeIds) {
    input.setUint16(0, id)
    const score = h64Raw(new Uint8Array(input.buffer), hashSeed)
    if (score < best || (score === best && id > home)) continue
    home = id
    best = score
  }
  return home
}

/** Where in a Maglev table of that size the flow is looked up. */
export function maglevSlot(flow: bigint, size: number): number {
  return Number(((flow >> 32n) * BigInt(size)) >> 32n)
}
