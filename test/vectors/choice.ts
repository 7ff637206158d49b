// Which backend a PoP's Maglev table gives to a flow, computed apart from native/: the table of src/fleet/maglev.ts and
// the slot rule of docs/wire-format.md. Used by the vectors.

import { fillMaglev, maglevSize } from '../../src/fleet/maglev.js'
import type { Backend, Fleet } from '../../src/fleet/model.js'
import { maglevSlot } from './names.js'

const tables = new WeakMap<Fleet, Map<string, Uint16Array>>()

/** Throws a RangeError when the PoP has no backend that takes new connections in the pool. */
export function maglevChoice(fleet: Fleet, popId: number, pool: string, flow: bigint): Backend {
  const ready = fleet.pops
    .filter(({ id }) => id === popId)
    .flatMap(({ backends }) => backends)
    .filter((backend) => backend.pool === pool && backend.weight > 0)
  const table = tableOf(fleet, `${popId}/${pool}`, ready)
  const chosen = ready[table[maglevSlot(flow, table.length)] ?? -1]
  if (chosen === undefined) throw new RangeError(`PoP ${popId} has no backend in "${pool}"`)
  return chosen
}

function tableOf(fleet: Fleet, name: string, ready: readonly Backend[]): Uint16Array {
  const known = tables.get(fleet) ?? new Map<string, Uint16Array>()
  tables.set(fleet, known)
  const table = known.get(name) ?? fillMaglev(ready, maglevSize(ready.length))
  known.set(name, table)
  return table
}
