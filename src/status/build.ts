// Makes a node's status from what the process has at hand. Called by the verb `run` for every request of /status.
// Guarantees: pure; nothing secret is in it, for nothing secret goes in.

import type { AnnounceReport } from '../announce/report.js'
import type { CounterInfo, WorkerStatus } from '../dataplane/addon.js'
import { backendCensus, type Generation, trafficOf } from '../dataplane/generation.js'
import { digestText } from '../fleet/digest.js'
import { servedElsewhere } from '../fleet/elsewhere.js'
import type { Fleet, FleetNode, Pop, Service } from '../fleet/model.js'
import type { HealthReport } from '../health/report.js'
import type { Said } from '../operator/store.js'
import { VERSION } from '../version.js'
import { judge } from './judge.js'
import {
  type BackendState,
  type BackendStatus,
  type CheckStatus,
  type DropStatus,
  type PacketStatus,
  type PeerStatus,
  type ServiceStatus,
  STATUS_FORMAT,
  type StatusDocument,
} from './model.js'

export interface StatusInput {
  readonly config: string
  readonly self: FleetNode
  readonly pop: Pop
  /** With the departed backends of this PoP. */
  readonly whole: Fleet
  readonly departed: ReadonlySet<number>
  readonly generation: Generation
  readonly table: readonly CounterInfo[]
  readonly counters: BigUint64Array
  readonly worker: WorkerStatus
  readonly words: { readonly ofNode: Said; ofBackend(id: number): Said | undefined }
  readonly reload: {
    readonly successful: boolean
    readonly lastSuccessMs: number
    readonly why?: string
  }
  readonly startedMs: number
  readonly health?: HealthReport | undefined
  readonly announce?: AnnounceReport | undefined
}

export function buildStatus(input: StatusInput, nowMs: number): StatusDocument {
  const { self, pop, worker, words, reload, health, announce } = input
  const since = (ms: number) => Math.max(0, Math.round((nowMs - ms) / 1000))
  const { view } = worker
  const document: Omit<StatusDocument, 'health'> = {
    format: STATUS_FORMAT,
    node: self.name,
    pop: pop.name,
    address: self.address,
    version: VERSION,
    uptime_s: since(input.startedMs),
    config: input.config,
    fleet_digest: digestText(input.generation.digest),
    word: words.ofNode.word,
    word_since_s: words.ofNode.word === 'ready' ? null : since(words.ofNode.sinceMs),
    worker: { error: worker.error, busy_s: worker.busyUs / 1e6 },
    reload: {
      successful: reload.successful,
      last_success_s: since(reload.lastSuccessMs),
      why: reload.why ?? null,
    },
    publication: {
      filled: view?.filled ?? false,
      certain: view?.certain ?? false,
      withholds: view?.withholds ?? false,
      recalling: view?.recalling ?? false,
    },
    flows: {
      capacity: view?.flowCapacity ?? 0,
      half_open: view?.flowsHalfOpen ?? 0,
      established: view?.flowsEstablished ?? 0,
      closing: view?.flowsClosing ?? 0,
      counted_ms: view?.countedMs ?? null,
    },
    packets: packetsOf(input),
    drops: dropsOf(input),
    peers: peersOf(input),
    services: servicesOf(input),
    backends: backendsOf(input, since),
    probes:
      health === undefined
        ? null
        : health.probes.map(({ service, ok, why, sinceMs }) => ({
            service,
            ok,
            why: why ?? null,
            since_s: since(sinceMs),
          })),
    announcements:
      announce === undefined
        ? null
        : {
            prefixes: announce.prefixes.map(({ prefix, state, wanted, why, ...rest }) => ({
              prefix,
              state,
              wanted,
              why,
              since_s: since(rest.sinceMs),
              last_announcer: rest.lastAnnouncer,
            })),
            trouble: announce.trouble ?? null,
            done: announce.done,
          },
  }
  return { ...document, health: judge(document) }
}

const SILENT = ['uncertain', 'first_refusal', 'peer_unreachable', 'relay_unknown'] as const

function packetsOf({ table, counters }: StatusInput): PacketStatus {
  const at = (kind: CounterInfo['kind'], name: string): number => {
    const index = table.findIndex((row) => row.kind === kind && row.name === name)
    if (index < 0) throw new Error(`the data path has no counter ${kind} ${name}`)
    return Number(counters[index] ?? 0n)
  }
  const dropped = table.reduce(
    (sum, { kind }, index) => (kind === 'drop' ? sum + Number(counters[index] ?? 0n) : sum),
    0,
  )
  return {
    received: at('event', 'rx_packets'),
    transmitted: at('event', 'tx_packets'),
    ingress: at('event', 'ingress_packets'),
    delivered: at('exit', 'delivered_gue') + at('exit', 'delivered_local'),
    forwarded: at('exit', 'forwarded'),
    forwarded_here: at('event', 'forward_received'),
    relayed: at('exit', 'relayed'),
    spilled: at('exit', 'spilled'),
    dropped,
    misrouted: {
      cached: at('event', 'misrouted_cached'),
      home: at('event', 'misrouted_home'),
      relayed: at('exit', 'relayed'),
      silent: SILENT.reduce((sum, name) => sum + at('drop', name), 0),
      certain_no: at('event', 'certain_no'),
    },
  }
}

function dropsOf({ table, counters }: StatusInput): readonly DropStatus[] {
  return table
    .flatMap(({ kind, name, help }, index): DropStatus[] => {
      const packets = Number(counters[index] ?? 0n)
      return kind === 'drop' && packets > 0 ? [{ reason: name, meaning: help, packets }] : []
    })
    .sort((a, b) => b.packets - a.packets)
}

function peersOf({ whole, self, worker, generation }: StatusInput): readonly PeerStatus[] {
  const seen = new Map(worker.view?.peers.map((peer) => [peer.nodeId, peer]))
  return whole.pops.flatMap((pop) =>
    pop.nodes
      .filter(({ id }) => id !== self.id)
      .map(({ id, name, address }): PeerStatus => {
        const peer = seen.get(id)
        const rtt = peer?.rttUs ?? null
        return {
          name,
          pop: pop.name,
          address,
          up: peer?.up ?? false,
          filled: peer?.filled ?? false,
          reports_filled: peer?.peerFilled ?? false,
          draining: peer?.draining ?? false,
          version: peer?.version ?? 0,
          round_trip_ms: rtt === null ? null : rtt / 1000,
          unacknowledged_batches: peer?.unacked ?? 0,
          same_fleet:
            peer === undefined || !peer.up || peer.fleetDigest === 0
              ? null
              : peer.fleetDigest === generation.digest,
        }
      }),
  )
}

function servicesOf(input: StatusInput): readonly ServiceStatus[] {
  const { whole, pop, generation, counters, table, health, worker } = input
  return whole.services.map((service): ServiceStatus => {
    const rows = generation.serviceRows.flatMap(({ name }, row) =>
      name === service.name ? [trafficOf(counters, table.length, row)] : [],
    )
    const report = health?.services.find((one) => one.service === service.name)
    const members = membersOf(input, service)
    const takers = members.filter(({ slots }) => slots > 0).length
    const ready = report?.ready ?? takers
    return {
      name: service.name,
      vip: service.vip,
      ports: service.ports,
      protocol: service.protocol,
      pool: service.pool,
      ready,
      configured: report?.configured ?? members.length,
      elsewhere: servedElsewhere(
        service,
        generation.serviceRows,
        whole.pops.filter(({ id }) => id !== pop.id),
        worker.view?.peers ?? [],
      ).map(({ name }) => name),
      to_all: ready === 0 && takers > 0,
      new_flows: rows.reduce((sum, { newFlows }) => sum + newFlows, 0),
      packets: rows.reduce((sum, { packets }) => sum + packets, 0),
      bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
    }
  })
}

/** Of this PoP, those in the file. */
function membersOf({ generation, departed }: StatusInput, { name }: Service) {
  const held = generation.tables.find(({ service }) => service.name === name)?.held ?? []
  return held.filter(({ backend }) => !departed.has(backend.id))
}

function backendsOf(input: StatusInput, since: (ms: number) => number): readonly BackendStatus[] {
  const { whole, generation, counters, table, words, health } = input
  const nodes = new Map(whole.pops.flatMap((pop) => pop.nodes).map((node) => [node.id, node.name]))
  const pops = new Map(whole.pops.map(({ id, name }) => [id, name]))
  const slots = mostSlots(generation)
  const weights = new Map(
    whole.pops.flatMap((pop) => pop.backends).map(({ id, weight }) => [id, weight]),
  )
  const checksOf = new Map<number, CheckStatus[]>()
  for (const { backendId, service, state, sinceMs, why, share } of health?.backends ?? []) {
    const check = { service, state, since_s: since(sinceMs), why: why ?? null, share }
    const others = checksOf.get(backendId)
    if (others === undefined) checksOf.set(backendId, [check])
    else others.push(check)
  }
  return generation.backendRows.map((backend, row): BackendStatus => {
    const said = words.ofBackend(backend.id)
    const checks = checksOf.get(backend.id) ?? []
    const held = slots.get(backend.id) ?? { slots: 0, of: 0 }
    const census = backendCensus(counters, table.length, generation, row)
    const traffic = trafficOf(counters, table.length, generation.serviceRows.length + row)
    const weight = weights.get(backend.id) ?? backend.weight
    return {
      name: backend.name,
      pop: pops.get(backend.popId) ?? '',
      pool: backend.pool,
      address: backend.address,
      local_to: backend.deliver === 'local' ? (nodes.get(backend.nodeId) ?? null) : null,
      weight,
      state: stateOf(input.departed.has(backend.id), said, checks, weight),
      word: said?.word ?? 'ready',
      word_since_s: said === undefined ? null : since(said.sinceMs),
      checks,
      slots: held.slots,
      share: held.of === 0 ? 0 : held.slots / held.of,
      flows: census.flows,
      owned_flows: census.owned,
      active_flows: census.active,
      oldest_s: census.oldestS,
      new_flows: traffic.newFlows,
      packets: traffic.packets,
      bytes: traffic.bytes,
    }
  })
}

/** By backend id: of its services' tables the one that it holds most of. */
function mostSlots({ tables }: Generation): ReadonlyMap<number, { slots: number; of: number }> {
  const most = new Map<number, { slots: number; of: number }>()
  for (const { slots: all, held } of tables) {
    for (const { backend, slots } of held) {
      const before = most.get(backend.id)
      const part = (one: { slots: number; of: number }) => (one.of === 0 ? 0 : one.slots / one.of)
      const now = { slots, of: all.length }
      if (before === undefined || part(now) > part(before)) most.set(backend.id, now)
    }
  }
  return most
}

/** The operator's word first, then what checks say. */
function stateOf(
  departed: boolean,
  said: Said | undefined,
  checks: readonly CheckStatus[],
  weight: number,
): BackendState {
  if (departed) return 'departed'
  if (said !== undefined && said.word !== 'ready') return said.word
  if (checks.length > 0 && checks.every(({ state }) => state === 'down')) return 'unhealthy'
  return weight === 0 ? 'idle' : 'ready'
}
