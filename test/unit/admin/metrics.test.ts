// The metrics of a node in memory, read by a Prometheus text parser that is not ours; and docs/metrics.md.

import { readFileSync } from 'node:fs'
import t from 'tap'
import type { HealthSource } from '../../../src/admin/health-metrics.js'
import type { MetricsInput } from '../../../src/admin/metric.js'
import { METRICS, metricsRegistry } from '../../../src/admin/metrics.js'
import { metricsReference } from '../../../src/admin/reference.js'
import { DROPS_TO_DO, METRICS_TO_DO } from '../../../src/admin/what-to-do.js'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { loadAddon, type NodeView, type PeerView } from '../../../src/dataplane/addon.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import type { Fleet } from '../../../src/fleet/model.js'
import { unknownSince } from '../../../src/health/machine.js'
import { RESULTS } from '../../../src/health/outcome.js'
import { NO_WORDS, type Words } from '../../../src/operator/words.js'
import { parseMetrics, sampleOf } from '../../support/prometheus.js'

const TEXT = `
fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.11 }]
      backends: [{ name: ams-web-1, address: 10.1.0.11 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 203.0.113.21 }]
      backends: [{ name: nyc-web-1, address: 10.2.0.11 }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80, 443], protocol: tcp }
  - { name: mail, vip: 198.51.100.11, ports: [25], protocol: tcp }
`

const table = loadAddon().counterTable()
const EMPTY: NodeView = {
  flowCapacity: 1024,
  flowsHalfOpen: 0,
  flowsEstablished: 0,
  flowsClosing: 0,
  filled: true,
  certain: false,
  withholds: false,
  recalling: false,
  peers: [],
}

function input(side: 'node' | 'backend', view: NodeView = EMPTY): MetricsInput {
  const result = parseFleet(TEXT, 'fleet.yaml')
  if (!result.ok) throw new Error('the fleet file of this test is wrong')
  const { fleet } = result
  const [node, peer] = fleet.pops.flatMap(({ nodes }) => nodes)
  if (node === undefined || peer === undefined) throw new Error('the fleet has two nodes')
  const keys = [{ id: 1, key: new Uint8Array(16) }]
  const generation = packGeneration(fleet, { kind: 'node', nodeId: node.id, keys }, 1500)
  const counters = new BigUint64Array(
    table.length + 3 * generation.serviceRows.length + 4 * generation.backendRows.length,
  )
  return {
    side,
    table,
    counters,
    generation,
    fleet,
    peers: side === 'node' ? [peer] : [],
    worker: () => ({ busyUs: 2_500_000, loops: 7, view: side === 'node' ? view : null }),
    reload: { successful: true, lastSuccessMs: 1_700_000_000_500 },
    ...(side === 'node' ? { health: healthOf(fleet) } : {}),
    ...(side === 'node' ? { self: node, words: () => NO_WORDS } : {}),
    announcements: () => ({
      prefixes: [
        {
          prefix: '198.51.100.0/24',
          state: 'announced',
          wanted: 'withdrawn',
          why: 'nobody else is left',
          sinceMs: 0,
          lastAnnouncer: true,
        },
      ],
      trouble: undefined,
      done: true,
    }),
  }
}

/** Of the first PoP's one backend, two services and a probe. */
function healthOf({ pops, services }: Fleet): HealthSource {
  const [backend] = pops[0]?.backends ?? []
  const [web] = services
  if (backend === undefined || web === undefined) throw new Error('the fleet has a backend')
  const up = { ...unknownSince(0), state: 'up', lastMs: 1, durationMs: 25, against: 0 } as const
  const health = {
    check: { kind: 'tcp' },
    ...{ port: 80, intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 },
    ...{ slowStartMs: 0, probe: true },
  } as const
  const counts = new Map([
    ['success', 8],
    ['status', 3],
  ] as const)
  return {
    checks: [{ service: web, backend, health, status: up, counts }],
    probeCounts: [{ service: web, counts }],
    report: () => ({
      backends: [
        { ...up, backendId: backend.id, service: 'web', share: 0.3, path: 'down', pathWhy: 'lost' },
      ],
      services: [{ service: 'web', ready: 1, configured: 2 }],
      probes: [{ service: 'web', ok: false, why: 'lost', sinceMs: 0 }],
      unprobed: [],
    }),
  }
}

async function scrape(from: MetricsInput) {
  return parseMetrics(await metricsRegistry(from).metrics())
}

t.test(
  'every metric is there from the start, with its help, type and all its label sets',
  async (t) => {
    for (const side of ['node', 'backend'] as const) {
      const families = await scrape(input(side))
      for (const metric of METRICS) {
        const family = families.find(({ name }) => name === metric.name)
        if (side === 'backend' && metric.sides === 'node') {
          t.equal(family, undefined, `${metric.name} is not a backend's`)
          continue
        }
        t.equal(family?.type, metric.kind.toUpperCase(), metric.name)
        t.equal(family?.help, metric.help, metric.name)
        t.ok((family?.metrics.length ?? 0) > 0, metric.name)
        for (const { labels = {} } of family?.metrics ?? []) {
          t.same(Object.keys(labels).sort(), [...metric.labels].sort(), metric.name)
        }
      }
    }
  },
)

t.test('names follow the Prometheus guide, and no label is a client', async (t) => {
  for (const { name, kind, labels } of METRICS) {
    t.match(name, /^steadycast_[a-z0-9_]+$/)
    t.equal(name.endsWith('_total'), kind === 'counter', name)
    t.notMatch(name, /_(ms|us|milliseconds|kilobytes)(_|$)/)
    for (const label of labels) t.notMatch(label, /client|flow|address|src|dst/)
  }
  t.equal(new Set(METRICS.map(({ name }) => name)).size, METRICS.length)
})

t.test('every counter of the data path is shown by exactly one metric', async (t) => {
  const shown = METRICS.flatMap(({ events }) => events).sort()
  const events = table.filter(({ kind }) => kind === 'event').map(({ name }) => name)
  t.same(shown, events.sort())
  const families = await scrape(input('node'))
  const labels = (metric: string, label: string) =>
    families.find(({ name }) => name === metric)?.metrics.map((sample) => sample.labels?.[label])
  const names = (kind: string) => table.filter((row) => row.kind === kind).map(({ name }) => name)
  t.same(labels('steadycast_dropped_packets_total', 'reason'), names('drop'))
  t.same(labels('steadycast_packets_total', 'exit'), names('exit'))
})

t.test('values come from their counters, at every scrape anew', async (t) => {
  const from = input('node')
  const at = (kind: string, name: string) =>
    table.findIndex((row) => row.kind === kind && row.name === name)
  const registry = metricsRegistry(from)
  for (const factor of [1n, 3n]) {
    from.counters[at('event', 'rx_packets')] = 1000n * factor
    from.counters[at('drop', 'bad_tag')] = 5n * factor
    from.counters[at('drop', 'uncertain')] = 2n * factor
    from.counters[at('exit', 'forwarded')] = 7n * factor
    from.counters[at('event', 'publish_batches_acked')] = 11n * factor
    // Rows: web:80, web:443, mail:25, then ams-web-1, nyc-web-1; each packets, bytes, new flows.
    const base = table.length
    from.counters.set(
      [1n, 100n, 1n].map((n) => n * factor),
      base,
    )
    from.counters.set(
      [2n, 200n, 2n].map((n) => n * factor),
      base + 3,
    )
    from.counters.set(
      [4n, 400n, 4n].map((n) => n * factor),
      base + 6,
    )
    from.counters.set(
      [8n, 800n, 8n].map((n) => n * factor),
      base + 12,
    )
    // Flows that name a backend: one for each row, behind all the others.
    from.counters.set([16n * factor, 32n * factor], base + 15)
    from.counters[at('event', 'flows_recalled')] = 9n * factor
    from.counters[at('exit', 'relayed')] = 6n * factor
    const families = parseMetrics(await registry.metrics())
    const value = (name: string, labels = {}) =>
      sampleOf(families, `steadycast_${name}`, labels) ?? Number.NaN
    const times = Number(factor)
    t.equal(value('received_packets_total'), 1000 * times)
    t.equal(value('dropped_packets_total', { reason: 'bad_tag' }), 5 * times)
    t.equal(value('packets_total', { exit: 'forwarded' }), 7 * times)
    t.equal(value('publication_batches_total', { event: 'acknowledged' }), 11 * times)
    t.equal(value('misrouted_packets_total', { outcome: 'silent' }), 2 * times)
    t.equal(value('service_packets_total', { service: 'web' }), 3 * times, 'both ports')
    t.equal(value('service_bytes_total', { service: 'mail' }), 400 * times)
    t.equal(value('backend_new_flows_total', { backend: 'ams-web-1', pop: 'ams' }), 0)
    t.equal(value('backend_new_flows_total', { backend: 'nyc-web-1', pop: 'nyc' }), 8 * times)
    t.equal(value('backend_flows', { backend: 'ams-web-1', pop: 'ams' }), 16 * times)
    t.equal(value('backend_flows', { backend: 'nyc-web-1', pop: 'nyc' }), 32 * times)
    t.equal(value('recorded_flows_total', { source: 'recall' }), 9 * times)
    t.equal(value('misrouted_packets_total', { outcome: 'relayed' }), 6 * times)
    t.equal(value('maglev_slots', { backend: 'ams-web-1', service: 'web' }), 65537)
    t.equal(value('worker_busy_seconds_total'), 2.5)
  }
})

t.test('health is told by backend and service, with every way to fail', async (t) => {
  const families = await scrape(input('node'))
  const value = (name: string, labels: Readonly<Record<string, string>>) =>
    sampleOf(families, `steadycast_${name}`, labels)
  const check = { backend: 'ams-web-1', service: 'web' }
  t.equal(value('backend_up', check), 1)
  t.equal(value('backend_share_ratio', check), 0.3)
  t.equal(value('backend_check_duration_seconds', check), 0.025)
  t.equal(value('service_backends_ready', { service: 'web' }), 1)
  t.equal(value('service_backends', { service: 'web' }), 2)
  t.equal(value('probe_up', { service: 'web' }), 0)
  for (const result of RESULTS) {
    const count = { success: 8, status: 3 }[result as string] ?? 0
    t.equal(value('backend_checks_total', { ...check, result }), count)
    t.equal(value('probes_total', { service: 'web', result }), count)
  }
})

t.test('peers are there before they are seen, and in seconds after', async (t) => {
  const peer = { peer: 'nyc-1', pop: 'nyc' }
  const unseen = await scrape(input('node'))
  t.equal(sampleOf(unseen, 'steadycast_peer_up', peer), 0)
  const [{ id = 0 } = {}] = input('node').peers
  const seen = {
    nodeId: id,
    popId: 1,
    up: true,
    filled: true,
    peerFilled: false,
    version: 1,
    rttUs: 12_500,
    unacked: 3,
    draining: false,
    silent: false,
    fleetDigest: 1,
    unserved: null,
  }
  const families = await scrape(input('node', { ...EMPTY, certain: true, peers: [seen] }))
  t.equal(sampleOf(families, 'steadycast_peer_up', peer), 1)
  t.equal(sampleOf(families, 'steadycast_peer_filled', peer), 1)
  t.equal(sampleOf(families, 'steadycast_peer_reports_filled', peer), 0)
  t.equal(sampleOf(families, 'steadycast_peer_round_trip_seconds', peer), 0.0125)
  t.equal(sampleOf(families, 'steadycast_peer_unacknowledged_batches', peer), 3)
  t.equal(sampleOf(families, 'steadycast_certain'), 1)
  t.equal(sampleOf(families, 'steadycast_peer_fleet_differs', peer), 1)
  const differs = async (more: Partial<PeerView>) =>
    sampleOf(
      await scrape(input('node', { ...EMPTY, peers: [{ ...seen, ...more }] })),
      'steadycast_peer_fleet_differs',
      peer,
    )
  t.equal(await differs({ fleetDigest: 0 }), 0, 'it has not said')
  t.equal(await differs({ fleetDigest: input('node').generation.digest }), 0, 'the same')
  t.equal(await differs({ up: false }), 0, 'what it said last is over')
})

t.test('a prefix has one series for each state, of which one is 1', async (t) => {
  const prefix = '198.51.100.0/24'
  const families = await scrape(input('node'))
  const value = (name: string, labels = {}) => sampleOf(families, `steadycast_${name}`, labels)
  for (const state of ['announced', 'de-preferred', 'withdrawn']) {
    t.equal(value('announced', { prefix, state }), Number(state === 'announced'), state)
    t.equal(value('announced_wanted', { prefix, state }), Number(state === 'withdrawn'), state)
  }
  t.equal(value('last_announcer', { prefix }), 1)
  t.equal(value('announce_trouble'), 0)
  const troubled = await scrape({
    ...input('node'),
    announcements: () => ({ prefixes: [], trouble: 'BIRD is not running', done: false }),
  })
  t.equal(sampleOf(troubled, 'steadycast_announce_trouble'), 1)
})

t.test('what a reload changes is there at the next scrape', async (t) => {
  let now = input('node')
  const registry = metricsRegistry({
    ...now,
    get counters() {
      return now.counters
    },
    get generation() {
      return now.generation
    },
    get fleet() {
      return now.fleet
    },
    get reload() {
      return now.reload
    },
  })
  const scraped = async () => parseMetrics(await registry.metrics())
  const config = 'steadycast_config_last_reload_success'
  t.equal(sampleOf(await scraped(), `${config}ful`), 1)
  t.equal(sampleOf(await scraped(), `${config}_timestamp_seconds`), 1_700_000_000.5)

  // nyc's backend was removed; another of its name and another id has come.
  const [ams, nyc] = now.fleet.pops
  const [old] = nyc?.backends ?? []
  if (ams === undefined || nyc === undefined || old === undefined) throw new Error('two PoPs')
  const backends = [
    { ...old, weight: 0 },
    { ...old, id: old.id + 1, address: '10.2.0.12' },
  ]
  const fleet = { ...now.fleet, pops: [ams, { ...nyc, backends }] }
  const keys = [{ id: 1, key: new Uint8Array(16) }]
  const side = { kind: 'node', nodeId: nyc.nodes[0]?.id ?? 0, keys } as const
  const generation = packGeneration(fleet, side, 1500)
  const counters = new BigUint64Array(table.length + 3 * 3 + 4 * 3)
  counters.set([1n, 2n, 4n], table.length + 3 * 6)
  now = { ...now, fleet, generation, counters, reload: { ...now.reload, successful: false } }
  t.equal(sampleOf(await scraped(), `${config}ful`), 0)
  const flows = (backend: string, families: Awaited<ReturnType<typeof scraped>>) =>
    sampleOf(families, 'steadycast_backend_flows', { backend })
  t.equal(flows('ams-web-1', await scraped()), 1)
  t.equal(flows('nyc-web-1', await scraped()), 6, 'both of that name')
  t.equal(
    sampleOf(await scraped(), 'steadycast_maglev_slots', { backend: 'nyc-web-1', service: 'web' }),
    65537,
  )
})

t.test(
  'what the operator said has a series for every word, of this PoP’s backends alone',
  async (t) => {
    const before = input('node')
    const [backend] = before.fleet.pops[0]?.backends ?? []
    const words: Words = {
      node: 'draining',
      backends: new Map([[backend?.id ?? 0, 'maintenance']]),
    }
    const families = await scrape({ ...before, words: () => words })
    const node = (word: string) => sampleOf(families, 'steadycast_node_word', { word })
    t.same(['ready', 'draining', 'maintenance'].map(node), [0, 1, 0])
    const of = (name: string, word: string) =>
      sampleOf(families, 'steadycast_backend_word', { backend: name, word })
    t.equal(of(backend?.name ?? '', 'maintenance'), 1)
    t.equal(of(backend?.name ?? '', 'ready'), 0)
    for (const { name } of before.fleet.pops[1]?.backends ?? [])
      t.equal(of(name, 'ready'), undefined)
  },
)

t.test('what there is to do is said of metrics and reasons that there are', async (t) => {
  const names = METRICS.map(({ name }) => name)
  for (const name of Object.keys(METRICS_TO_DO)) t.ok(names.includes(`steadycast_${name}`), name)
  const reasons = table.filter(({ kind }) => kind === 'drop').map(({ name }) => name)
  for (const reason of Object.keys(DROPS_TO_DO)) t.ok(reasons.includes(reason), reason)
})

t.test('docs/metrics.md is what "npm run docs:metrics" writes', async (t) => {
  const file = new URL('../../../docs/metrics.md', import.meta.url)
  t.equal(readFileSync(file, 'utf8'), metricsReference(table))
})
