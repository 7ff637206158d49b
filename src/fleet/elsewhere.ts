// Which other PoPs serve a service, by the word of their nodes (REACH, docs/wire-format.md section 3.3). Called where
// health chooses between its own backends and spill, and where announcements are decided. Guarantees: pure; a PoP that has
// not told counts as one that does not serve.

import type { Pop, Service } from './model.js'

/** As the data path sees a peer: PeerView of src/dataplane/addon.ts. */
export interface PeerWord {
  readonly nodeId: number
  readonly up: boolean
  readonly peerFilled: boolean
  readonly draining: boolean
  /** Rows of services that it does not serve; null: not told. */
  readonly unserved: readonly number[] | null
}

/** `rows`: the service of each row. A service of several rows is served where all of them are. */
export function servedElsewhere(
  service: Service,
  rows: readonly Service[],
  others: readonly Pop[],
  peers: readonly PeerWord[],
): readonly Pop[] {
  const mine = new Set(rows.flatMap(({ name }, row) => (name === service.name ? [row] : [])))
  const serving = new Set(
    peers
      .filter(serves)
      .flatMap(({ nodeId, unserved }) => (unserved?.some((row) => mine.has(row)) ? [] : [nodeId])),
  )
  return others.filter(({ nodes }) => nodes.some(({ id }) => serving.has(id)))
}

function serves({ up, peerFilled, draining, unserved }: PeerWord): boolean {
  return up && peerFilled && !draining && unserved !== null
}
