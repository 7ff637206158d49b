// Packs the fleet into the blob that native/generation.h describes, and remembers which counter belongs to what.
// Called by `run`, `backend` and tests. Guarantees: rows keep the order of the fleet file; a node gets its keys and the
// Maglev tables of its PoP, a backend machine neither.

import { addressBytes } from '../fleet/address.js'
import { fleetDigest } from '../fleet/digest.js'
import { MAX_SLOTS, MAX_TABLES } from '../fleet/limits.js'
import { MAGLEV_EMPTY, maglevSize } from '../fleet/maglev.js'
import { MaglevTables } from '../fleet/maglev-tables.js'
import type { Backend, Fleet, FleetNode, Service } from '../fleet/model.js'
import { AS_CONFIGURED, type Readiness } from '../fleet/readiness.js'

const MAGIC = 0x33474353
const HEADER_BYTES = 48
const KEY_BYTES = 24
const NODE_BYTES = 24
const BACKEND_BYTES = 32
const SERVICE_BYTES = 40
const POOL_BYTES = 8
const SLOT_BYTES = 2

const PROTOCOL = { tcp: 6, udp: 17 } as const
const DELIVER = { gue: 0, local: 1 } as const
/** enum sc_backend_state. */
const STATE = { ready: 0, draining: 1, down: 2 } as const
/** enum sc_service_flags. */
const SERVICE_FRAGMENTS = 1
const SERVICE_WITHHELD = 2
const SERVICE_SILENT = 4

/** SC_TRAFFIC_COUNT of native/node.h. */
const TRAFFIC_COUNT = 3
/** SC_CENSUS_COUNT. */
const CENSUS_COUNT = 4
/** SC_BETWEEN_COUNT. */
const BETWEEN_COUNT = 2

export interface Key {
  readonly id: number
  /** 16 bytes. */
  readonly key: Uint8Array
}

export type Side =
  | { readonly kind: 'node'; readonly nodeId: number; readonly keys: readonly Key[] }
  | { readonly kind: 'backend' }

/** A service's Maglev table: who takes its new connections here. */
export interface ServiceSlots {
  readonly service: Service
  /** Rows of backends; none: nobody does. */
  readonly slots: Uint16Array
  /** Of all backends of its pool in this PoP. */
  readonly held: readonly { readonly backend: Backend; readonly slots: number }[]
}

export interface Generation {
  readonly blob: Uint8Array
  /** What peers are told of the fleet file. */
  readonly digest: number
  /** In the order of the service rows and so of their counters: one for each port. */
  readonly serviceRows: readonly Service[]
  /** In the order of the backend rows and so of their counters. */
  readonly backendRows: readonly Backend[]
  /** In the order of the node rows and so of their counters. */
  readonly nodeRows: readonly FleetNode[]
  readonly tables: readonly ServiceSlots[]
  /** Services that go by the table of another one of their pool, for want of room (MAX_TABLES, MAX_SLOTS). */
  readonly sharing: readonly string[]
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

/** Where the counts that follow those of services' and backends' traffic begin. */
function firstCensus(fixed: number, { serviceRows, backendRows }: Generation): number {
  return fixed + TRAFFIC_COUNT * (serviceRows.length + backendRows.length)
}

/** Of the backend of that row. counters: a worker's, of which the first `fixed` are those of the counter table. */
export function backendCensus(
  counters: BigUint64Array,
  fixed: number,
  generation: Generation,
  row: number,
): Census {
  const first = firstCensus(fixed, generation)
  const { backendRows } = generation
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

/** Clients' packets in encapsulation between this node and another: enum sc_between of native/node.h. */
export interface Between {
  readonly sent: number
  readonly received: number
}

/** With the node of that row. */
export function betweenOf(
  counters: BigUint64Array,
  fixed: number,
  generation: Generation,
  row: number,
): Between {
  const census = firstCensus(fixed, generation)
  const first = census + CENSUS_COUNT * generation.backendRows.length + BETWEEN_COUNT * row
  const at = (what: number) => Number(counters[first + what] ?? 0n)
  return { sent: at(0), received: at(1) }
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
  /** Rows of backends and their weights. */
  readonly key: string
  readonly slots: Uint16Array
}

interface Weighted extends Backend {
  readonly row: number
}

interface Tables {
  readonly pools: readonly string[]
  readonly tables: readonly Uint16Array[]
  readonly ofService: ReadonlyMap<string, number>
  readonly sharing: readonly string[]
}

const NO_SLOTS = new Uint16Array(0)

/**
 * `readiness`: of this node's PoP. `filled`: what earlier calls have filled. `digest`: of the fleet file, where `fleet` has
 * departed backends besides.
 */
export function packGeneration(
  fleet: Fleet,
  side: Side,
  mtu: number,
  readiness: Readiness = AS_CONFIGURED,
  filled: MaglevTables = new MaglevTables(),
  digest: number = fleetDigest(fleet),
): Generation {
  const nodes = fleet.pops.flatMap((pop) => pop.nodes)
  const backends = fleet.pops.flatMap((pop) => pop.backends)
  const rows = fleet.services.flatMap((service, label) =>
    service.ports.map((port) => ({ service, label, port })),
  )
  const popId = nodes.find(({ id }) => side.kind === 'node' && id === side.nodeId)?.popId
  const { pools, tables, ofService, sharing } = chooseTables(
    fleet,
    popId,
    backends,
    readiness,
    filled,
  )
  const poolIndex = new Map(pools.map((pool, index) => [pool, index]))
  const keys = side.kind === 'node' ? side.keys : []
  const slots = tables.reduce((sum, { length }) => sum + length, 0)

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
  blob.u64(fleet.hashSeed).u32(digest).skip(4)
  for (const { id, key } of keys) blob.u8(id).skip(7).bytes(key)
  for (const node of nodes) {
    blob.bytes(addressBytes(node.address)).u16(node.id).u16(node.popId).skip(4)
  }
  for (const backend of backends) {
    blob.bytes(addressBytes(backend.address)).u32(backend.id).u16(backend.popId)
    blob
      .u16(backend.nodeId)
      .u8(DELIVER[backend.deliver])
      .u8(STATE[readiness.stateOf(backend)])
      .skip(2)
    blob.u32(poolIndex.get(backend.pool) ?? 0)
  }
  for (const { service, label, port } of rows) {
    blob.bytes(addressBytes(service.vip)).u16(port).u8(PROTOCOL[service.protocol])
    const fragments = service.fragments ? SERVICE_FRAGMENTS : 0
    const withheld = readiness.withheld(service) ? SERVICE_WITHHELD : 0
    const silent = readiness.silent() ? SERVICE_SILENT : 0
    blob.u8(fragments | withheld | silent).u16(poolIndex.get(service.pool) ?? 0)
    blob.u16(ofService.get(service.name) ?? 0)
    blob.u32(service.halfOpenS).u32(service.idleS).u32(service.closingS).u32(label)
  }
  let first = 0
  for (const table of tables) {
    blob.u32(first).u32(table.length)
    first += table.length
  }
  for (const table of tables) blob.u16s(table)

  return {
    blob: blob.finish(slots % 2),
    digest,
    serviceRows: rows.map(({ service }) => service),
    backendRows: backends,
    nodeRows: nodes,
    tables: fleet.services.map((service) => {
      const slots = tables[ofService.get(service.name) ?? 0] ?? NO_SLOTS
      return countSlots(service, slots, popId, backends)
    }),
    sharing,
  }
}

/** The tables' rows: each pool's first, which names it, then those that services need besides. */
function chooseTables(
  fleet: Fleet,
  popId: number | undefined,
  rows: readonly Backend[],
  { weightOf }: Readiness,
  filled: MaglevTables,
): Tables {
  const pools = [...new Set([...fleet.services, ...rows].map(({ pool }) => pool))].sort()
  const all: (Table | undefined)[] = pools.map(() => undefined)
  const ofService = new Map<string, number>()
  const sharing: string[] = []
  for (const service of fleet.services) {
    const weighted = rows.flatMap((backend, row): readonly Weighted[] => {
      const member = backend.popId === popId && backend.pool === service.pool
      const weight = member ? weightOf(service, backend) : 0
      return weight > 0 ? [{ ...backend, weight, row }] : []
    })
    const key = weighted.map(({ row, weight }) => `${row}=${weight}`).join(' ')
    const pool = pools.indexOf(service.pool)
    const index = all.findIndex((table) => table?.pool === service.pool && table.key === key)
    if (index >= 0) {
      ofService.set(service.name, index)
    } else if (all[pool] === undefined) {
      all[pool] = { pool: service.pool, key, slots: slotsOf(weighted, filled) }
      ofService.set(service.name, pool)
    } else if (fits(all, weighted.length)) {
      ofService.set(service.name, all.length)
      all.push({ pool: service.pool, key, slots: slotsOf(weighted, filled) })
    } else {
      ofService.set(service.name, pool)
      sharing.push(service.name)
    }
  }
  return { pools, tables: all.map((table) => table?.slots ?? NO_SLOTS), ofService, sharing }
}

function fits(all: readonly (Table | undefined)[], backends: number): boolean {
  const slots = all.reduce((sum, table) => sum + (table?.slots.length ?? 0), 0)
  return all.length < MAX_TABLES && slots + maglevSize(backends) <= MAX_SLOTS
}

function slotsOf(weighted: readonly Weighted[], filled: MaglevTables): Uint16Array {
  if (weighted.length === 0) return NO_SLOTS
  const rows = Uint16Array.from(weighted, ({ row }) => row)
  const slots = filled.table(weighted).slice()
  for (let slot = 0; slot < slots.length; slot++)
    slots[slot] = rows[slots[slot] ?? 0] ?? MAGLEV_EMPTY
  return slots
}

function countSlots(
  service: Service,
  slots: Uint16Array,
  popId: number | undefined,
  rows: readonly Backend[],
): ServiceSlots {
  const counts = new Uint32Array(rows.length)
  for (let slot = 0; slot < slots.length; slot++) {
    const row = slots[slot] ?? MAGLEV_EMPTY
    counts[row] = (counts[row] ?? 0) + 1
  }
  const held = rows.flatMap((backend, row) =>
    backend.popId === popId && backend.pool === service.pool
      ? [{ backend, slots: counts[row] ?? 0 }]
      : [],
  )
  return { service, slots, held }
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

  /** As they lie in memory: the data path reads the blob so, too. */
  u16s(values: Uint16Array): this {
    this.#bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.#at)
    return this.skip(values.byteLength)
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
