// Packs the fleet into the blob that native/generation.h describes, and remembers which counter belongs to what.
// Called by `run`, `backend` and tests. Guarantees: rows keep the order of the fleet file; a node gets its keys and the
// Maglev tables of its PoP, a backend machine neither.

import { addressBytes } from '../fleet/address.js'
import { fillMaglev, MAGLEV_EMPTY, maglevSize } from '../fleet/maglev.js'
import type { Backend, Fleet, Service } from '../fleet/model.js'

const MAGIC = 0x32474353
const HEADER_BYTES = 40
const KEY_BYTES = 24
const NODE_BYTES = 24
const BACKEND_BYTES = 32
const SERVICE_BYTES = 40
const POOL_BYTES = 8
const SLOT_BYTES = 2

const PROTOCOL = { tcp: 6, udp: 17 } as const
const DELIVER = { gue: 0, local: 1 } as const
/** enum sc_backend_state. */
const READY = 0
const DRAINING = 1
const SERVICE_FRAGMENTS = 1

/** SC_TRAFFIC_COUNT of native/node.h. */
const TRAFFIC_COUNT = 3

export interface Key {
  readonly id: number
  /** 16 bytes. */
  readonly key: Uint8Array
}

export type Side =
  | { readonly kind: 'node'; readonly nodeId: number; readonly keys: readonly Key[] }
  | { readonly kind: 'backend' }

/** One pool's Maglev table as the operator sees it: how many slots each backend of this PoP holds. */
export interface PoolSlots {
  readonly pool: string
  readonly slots: number
  readonly held: readonly { readonly backend: Backend; readonly slots: number }[]
}

export interface Generation {
  readonly blob: Uint8Array
  /** In the order of the service rows and so of their counters: one for each port. */
  readonly serviceRows: readonly Service[]
  /** In the order of the backend rows and so of their counters. */
  readonly backendRows: readonly Backend[]
  readonly pools: readonly PoolSlots[]
}

/** Flows that name a backend, as the node last counted them: enum sc_census of native/node.h. */
export interface Census {
  /** In whatever role the node holds them. */
  readonly flows: number
  /** Those that this node is the owner node of: each flow of a PoP is at one of its nodes. */
  readonly owned: number
  /** Of these, with a packet within the last ACTIVE_S. */
  readonly active: number
  /** Since the oldest of the owned ones began, at most OLDEST_MAX_S. */
  readonly oldestS: number
}

/** SC_OWNER_CACHE_S of native/limits.h. */
export const ACTIVE_S = 30
/** SC_AGE_MAX ticks: what is older looks the same. */
export const OLDEST_MAX_S = 1022

/** Of the backend of that row. counters: a worker's, of which the first `fixed` are those of the counter table. */
export function backendCensus(
  counters: BigUint64Array,
  fixed: number,
  { serviceRows, backendRows }: Generation,
  row: number,
): Census {
  const first = fixed + TRAFFIC_COUNT * (serviceRows.length + backendRows.length)
  const at = (what: number) => Number(counters[first + what * backendRows.length + row] ?? 0n)
  return { flows: at(0), owned: at(1), active: at(2), oldestS: at(3) }
}

/** How many flows name the backend of that row, counted within the last minute. */
export function backendFlows(
  counters: BigUint64Array,
  fixed: number,
  generation: Generation,
  row: number,
): number {
  return backendCensus(counters, fixed, generation, row).flows
}

export interface Traffic {
  readonly packets: number
  readonly bytes: number
  readonly newFlows: number
}

/** Of a service row, or of a backend row counted on behind the service rows: enum sc_traffic of native/node.h. */
export function trafficOf(counters: BigUint64Array, fixed: number, row: number): Traffic {
  const at = (what: number) => Number(counters[fixed + row * TRAFFIC_COUNT + what] ?? 0n)
  return { packets: at(0), bytes: at(1), newFlows: at(2) }
}

interface Table {
  readonly pool: string
  /** Of this PoP, those that take no new connections too. */
  readonly backends: readonly Backend[]
  /** Rows of backends. */
  readonly slots: Uint16Array
}

export function packGeneration(fleet: Fleet, side: Side, mtu: number): Generation {
  const nodes = fleet.pops.flatMap((pop) => pop.nodes)
  const backends = fleet.pops.flatMap((pop) => pop.backends)
  const rows = fleet.services.flatMap((service, label) =>
    service.ports.map((port) => ({ service, label, port })),
  )
  const tables = fillTables(fleet, side, backends)
  const poolIndex = new Map(tables.map(({ pool }, index) => [pool, index]))
  const keys = side.kind === 'node' ? side.keys : []
  const slots = tables.reduce((sum, table) => sum + table.slots.length, 0)

  const bytes =
    HEADER_BYTES +
    keys.length * KEY_BYTES +
    nodes.length * NODE_BYTES +
    backends.length * BACKEND_BYTES +
    rows.length * SERVICE_BYTES +
    tables.length * POOL_BYTES +
    (slots + (slots % 2)) * SLOT_BYTES
  const blob = new Writer(bytes)
  blob.u32(MAGIC).u32(keys.length).u32(nodes.length).u32(backends.length).u32(rows.length)
  blob.u32(tables.length).u32(slots)
  blob.u16(side.kind === 'node' ? side.nodeId : 0).u16(mtu)
  blob.u64(fleet.hashSeed)
  for (const { id, key } of keys) blob.u8(id).skip(7).bytes(key)
  for (const node of nodes) {
    blob.bytes(addressBytes(node.address)).u16(node.id).u16(node.popId).skip(4)
  }
  for (const backend of backends) {
    blob.bytes(addressBytes(backend.address)).u32(backend.id).u16(backend.popId)
    blob
      .u16(backend.nodeId)
      .u8(DELIVER[backend.deliver])
      .u8(backend.weight > 0 ? READY : DRAINING)
      .skip(2)
    blob.u32(poolIndex.get(backend.pool) ?? 0)
  }
  for (const { service, label, port } of rows) {
    blob.bytes(addressBytes(service.vip)).u16(port).u8(PROTOCOL[service.protocol])
    blob.u8(service.fragments ? SERVICE_FRAGMENTS : 0).u32(poolIndex.get(service.pool) ?? 0)
    blob.u32(service.halfOpenS).u32(service.idleS).u32(service.closingS).u32(label)
  }
  let first = 0
  for (const table of tables) {
    blob.u32(first).u32(table.slots.length)
    first += table.slots.length
  }
  for (const table of tables) for (const slot of table.slots) blob.u16(slot)

  return {
    blob: blob.finish(slots % 2),
    serviceRows: rows.map(({ service }) => service),
    backendRows: backends,
    pools: tables.map((table) => countSlots(table, backends)),
  }
}

/** One table for each pool that a service or a backend names; empty where this PoP has no backend for new connections. */
function fillTables(fleet: Fleet, side: Side, backends: readonly Backend[]): readonly Table[] {
  const pools = [...new Set([...fleet.services, ...backends].map(({ pool }) => pool))].sort()
  const popId = fleet.pops.find((pop) =>
    pop.nodes.some((node) => side.kind === 'node' && node.id === side.nodeId),
  )?.id
  return pools.map((pool) => {
    const members = backends
      .map((backend, row) => ({ backend, row }))
      .filter(({ backend }) => backend.popId === popId && backend.pool === pool)
    const ready = members.filter(({ backend }) => backend.weight > 0)
    const table = { pool, backends: members.map(({ backend }) => backend) }
    if (ready.length === 0) return { ...table, slots: new Uint16Array(0) }
    const positions = fillMaglev(
      ready.map(({ backend }) => backend),
      maglevSize(ready.length),
    )
    return {
      ...table,
      slots: positions.map((position) => ready[position]?.row ?? MAGLEV_EMPTY),
    }
  })
}

function countSlots(table: Table, rows: readonly Backend[]): PoolSlots {
  const counts = new Map<Backend | undefined, number>()
  for (const row of table.slots) counts.set(rows[row], (counts.get(rows[row]) ?? 0) + 1)
  return {
    pool: table.pool,
    slots: table.slots.length,
    held: table.backends.map((backend) => ({ backend, slots: counts.get(backend) ?? 0 })),
  }
}

/** Little-endian, front to back; what is skipped stays zero. */
class Writer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(size: number) {
    this.#bytes = new Uint8Array(size)
    this.#view = new DataView(this.#bytes.buffer)
  }

  u8(value: number): this {
    this.#view.setUint8(this.#at, value)
    return this.skip(1)
  }

  u16(value: number): this {
    this.#view.setUint16(this.#at, value, true)
    return this.skip(2)
  }

  u32(value: number): this {
    this.#view.setUint32(this.#at, value, true)
    return this.skip(4)
  }

  u64(value: bigint): this {
    this.#view.setBigUint64(this.#at, value, true)
    return this.skip(8)
  }

  bytes(value: Uint8Array): this {
    if (value.length !== 16)
      throw new RangeError(`an address or key has 16 bytes, got ${value.length}`)
    this.#bytes.set(value, this.#at)
    return this.skip(16)
  }

  skip(count: number): this {
    this.#at += count
    return this
  }

  /** The whole blob, when exactly `unwrittenSlots` slots of padding are left. */
  finish(unwrittenSlots: number): Uint8Array {
    const end = this.#at + unwrittenSlots * SLOT_BYTES
    if (end !== this.#bytes.length)
      throw new Error(`packed ${end} bytes into ${this.#bytes.length}`)
    return this.#bytes
  }
}
