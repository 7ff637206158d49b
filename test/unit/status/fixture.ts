// A node's status made as `run` makes it, from a fleet file, a worker's view and counters that a test sets by name.

import { parseFleet } from '../../../src/config/fleet-file.js'
import { loadAddon, type NodeView, type PeerView } from '../../../src/dataplane/addon.js'
import { type Between, packGeneration } from '../../../src/dataplane/generation.js'
import type { Fleet } from '../../../src/fleet/model.js'
import { AS_CONFIGURED } from '../../../src/fleet/readiness.js'
import type { Said } from '../../../src/operator/store.js'
import type { Word } from '../../../src/operator/words.js'
import { buildStatus, type StatusInput } from '../../../src/status/build.js'
import type { StatusDocument } from '../../../src/status/model.js'

export const NOW_MS = 1_800_000_000_000

export const FLEET_TEXT = `
fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.0.0.1, admin: "10.9.0.1:6081" }, { name: ams-2, address: 10.0.0.2, admin: "10.9.0.2:6081" }]
      backends: [{ name: ams-web-1, address: 10.0.1.1 }, { name: ams-web-2, address: 10.0.1.2, weight: 2 }, { name: ams-dns, deliver: local, node: ams-1, pool: dns }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 10.1.0.1, admin: "10.9.1.1:6081" }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80, 443], protocol: tcp }
  - { name: dns, vip: 198.51.100.53, ports: [53], protocol: udp, pool: dns }
admin: { token_file: admin.token }
`

export function fleetOf(text = FLEET_TEXT): Fleet {
  const result = parseFleet(text, '/etc/steadycast/fleet.yaml')
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.fleet
}

export interface BackendCounts {
  readonly flows?: number
  readonly owned?: number
  readonly active?: number
  readonly oldestS?: number
  readonly packets?: number
  readonly bytes?: number
  readonly newFlows?: number
}

export interface Made {
  readonly node?: string
  readonly fleet?: Fleet
  /** By name. */
  readonly words?: { readonly node?: Word; readonly backends?: Readonly<Record<string, Word>> }
  readonly view?: Partial<NodeView>
  /** Names of peers that are down. */
  readonly down?: readonly string[]
  /** Names of peers whose fleet file is another. */
  readonly otherFiles?: readonly string[]
  /** By name of the peer. */
  readonly between?: Readonly<Record<string, Between>>
  /** By name of the peer. */
  readonly rttUs?: Readonly<Record<string, number>>
  readonly busyUs?: number
  /** By name of the counter, or of the backend. */
  readonly counters?: Readonly<Record<string, number>>
  readonly backends?: Readonly<Record<string, BackendCounts>>
  readonly services?: Readonly<
    Record<string, Pick<BackendCounts, 'packets' | 'bytes' | 'newFlows'>>
  >
  readonly more?: Partial<StatusInput>
}

export function makeStatus(made: Made = {}): StatusDocument {
  const { node = 'ams-1', fleet = fleetOf(), words = {}, down = [] } = made
  const pop = fleet.pops.find(({ nodes }) => nodes.some(({ name }) => name === node))
  const self = pop?.nodes.find(({ name }) => name === node)
  if (pop === undefined || self === undefined) throw new Error(`no node ${node}`)
  const said = (word: Word): Said => ({ word, sinceMs: NOW_MS - 90_000 })
  const ids = new Map(pop.backends.map(({ name, id }) => [name, id]))
  const spoken = new Map(
    Object.entries(words.backends ?? {}).flatMap(([name, word]) => {
      const id = ids.get(name)
      return id === undefined || word === 'ready' ? [] : [[id, word] as const]
    }),
  )
  const table = loadAddon().counterTable()
  const keys = [{ id: 1, key: new Uint8Array(16) }]
  const side = { kind: 'node', nodeId: self.id, keys } as const
  const generation = packGeneration(fleet, side, 1500, {
    ...AS_CONFIGURED,
    weightOf: (service, backend) =>
      spoken.has(backend.id) ? 0 : AS_CONFIGURED.weightOf(service, backend),
  })
  const inForce = made.more?.generation ?? generation
  const { serviceRows, backendRows, nodeRows } = generation
  const rows = serviceRows.length + backendRows.length
  const counters = new BigUint64Array(
    table.length + 3 * rows + 4 * backendRows.length + 2 * nodeRows.length,
  )
  const setTraffic = (row: number, { packets = 0, bytes = 0, newFlows = 0 }: BackendCounts) => {
    counters.set([packets, bytes, newFlows].map(BigInt), table.length + 3 * row)
  }
  for (const [name, of] of Object.entries(made.services ?? {})) {
    setTraffic(
      serviceRows.findIndex((service) => service.name === name),
      of,
    )
  }
  for (const [name, value] of Object.entries(made.counters ?? {})) {
    counters[table.findIndex((row) => row.name === name)] = BigInt(value)
  }
  for (const [name, of] of Object.entries(made.backends ?? {})) {
    const row = backendRows.findIndex((backend) => backend.name === name)
    const census = [of.flows ?? of.owned, of.owned, of.active, of.oldestS]
    census.forEach((value, i) => {
      counters[table.length + 3 * rows + i * backendRows.length + row] = BigInt(value ?? 0)
    })
    setTraffic(serviceRows.length + row, of)
  }
  for (const [name, { sent, received }] of Object.entries(made.between ?? {})) {
    const row = nodeRows.findIndex((one) => one.name === name)
    counters.set(
      [BigInt(sent), BigInt(received)],
      table.length + 3 * rows + 4 * backendRows.length + 2 * row,
    )
  }
  const peers = fleet.pops.flatMap(({ id, nodes, backends }) =>
    nodes
      .filter(({ name }) => name !== node)
      .map(
        (peer): PeerView => ({
          nodeId: peer.id,
          popId: id,
          up: !down.includes(peer.name),
          filled: !down.includes(peer.name),
          peerFilled: true,
          version: 2,
          rttUs: made.rttUs?.[peer.name] ?? 1234,
          unacked: 0,
          draining: false,
          silent: false,
          fleetDigest: made.otherFiles?.includes(peer.name) ? 1 : inForce.digest,
          unserved: serviceRows.flatMap(({ pool }, row) =>
            backends.some((one) => one.pool === pool && one.weight > 0) ? [] : [row],
          ),
        }),
      ),
  )
  const view: NodeView = {
    flowCapacity: 4096,
    flowsHalfOpen: 0,
    flowsEstablished: 0,
    flowsClosing: 0,
    filled: true,
    certain: down.length === 0,
    withholds: false,
    recalling: false,
    countedMs: 400,
    peers,
    ...made.view,
  }
  return buildStatus(
    {
      config: '/etc/steadycast/fleet.yaml',
      self,
      pop,
      whole: fleet,
      departed: new Set(),
      generation,
      table,
      counters,
      worker: { error: null, busyUs: made.busyUs ?? 2_500_000, loops: 9, view },
      words: {
        ofNode: said(words.node ?? 'ready'),
        ofBackend: (id) => {
          const word = spoken.get(id)
          return word === undefined ? undefined : said(word)
        },
      },
      reload: { successful: true, lastSuccessMs: NOW_MS - 3_600_000 },
      startedMs: NOW_MS - 11_520_000,
      ...made.more,
    },
    NOW_MS,
  )
}
