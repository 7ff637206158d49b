// The one table of metrics: name, labels, help, and where each value comes from. Read by the registry below (for
// /metrics) and by reference.ts (for docs/metrics.md). Guarantees: prefix steadycast_, base units, every label set there
// from the start, never a client as a label.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { PeerView } from '../dataplane/addon.js'
import { backendFlows, betweenOf, trafficOf } from '../dataplane/generation.js'
import { VERSION } from '../version.js'
import { ANNOUNCE_METRICS } from './announce-metrics.js'
import { HEALTH_METRICS } from './health-metrics.js'
import {
  at,
  event,
  events,
  gauge,
  kind,
  type Metric,
  type MetricsInput,
  type Sample,
} from './metric.js'
import { OPERATOR_METRICS } from './operator-metrics.js'

/** A gauge of every peer, 0 until the worker has seen it. */
function peerGauge(
  name: string,
  help: string,
  value: (peer: PeerView, input: MetricsInput) => number,
): Metric {
  return gauge(name, ['peer', 'pop'], help, (input) => {
    const seen = new Map(input.worker().view?.peers.map((peer) => [peer.nodeId, peer]))
    return input.peers.map((node) => {
      const peer = seen.get(node.id)
      const pop = input.fleet.pops.find(({ id }) => id === node.popId)?.name ?? ''
      return [{ peer: node.name, pop }, peer === undefined ? 0 : value(peer, input)]
    })
  })
}

const TRAFFIC = [
  { of: 'packets', name: 'packets', what: 'Packets', verb: 'delivered' },
  { of: 'bytes', name: 'bytes', what: 'Bytes of packets', verb: 'delivered' },
  { of: 'newFlows', name: 'new_flows', what: 'New flows', verb: 'recorded' },
] as const

function serviceMetrics(): readonly Metric[] {
  return TRAFFIC.map(({ of, name, what, verb }) => ({
    name: `steadycast_service_${name}_total`,
    kind: 'counter',
    labels: ['service'],
    help: `${what} of the service that this node ${verb}, all its ports together; what it forwards is counted by the node that delivers.`,
    sides: 'node',
    events: [],
    read: (input) => {
      const sums = new Map(input.fleet.services.map((service) => [service.name, 0]))
      input.generation.serviceRows.forEach((service, row) => {
        sums.set(
          service.name,
          (sums.get(service.name) ?? 0) + trafficOf(input.counters, input.table.length, row)[of],
        )
      })
      return [...sums].map(([service, value]): Sample => [{ service }, value])
    },
  }))
}

function backendMetrics(): readonly Metric[] {
  return TRAFFIC.map(({ of, name, what, verb }) => ({
    name: `steadycast_backend_${name}_total`,
    kind: 'counter',
    labels: ['backend', 'pop'],
    help: `${what} that this node ${verb} for the backend; those of other PoPs' backends are counted by the nodes there.`,
    sides: 'node',
    events: [],
    read: (input) =>
      input.generation.backendRows.map((backend, position): Sample => {
        const row = input.generation.serviceRows.length + position
        const pop = input.fleet.pops.find(({ id }) => id === backend.popId)?.name ?? ''
        return [
          { backend: backend.name, pop },
          trafficOf(input.counters, input.table.length, row)[of],
        ]
      }),
  }))
}

/** Of two backends of one name, such as one that has moved to another machine and its departed self, the sum. */
const backendFlowsNow = gauge(
  'backend_flows',
  ['backend', 'pop'],
  'Flows that name the backend, in whatever role this node holds them, counted within the last minute. A backend that was removed from the fleet file stays until this is 0.',
  (input) => {
    const sums = new Map<string, Sample>()
    input.generation.backendRows.forEach(({ name, popId }, row) => {
      const pop = input.fleet.pops.find(({ id }) => id === popId)?.name ?? ''
      const flows = backendFlows(input.counters, input.table.length, input.generation, row)
      const [, before] = sums.get(name) ?? [{}, 0]
      sums.set(name, [{ backend: name, pop }, before + flows])
    })
    return sums.values()
  },
)

const SILENT = ['uncertain', 'first_refusal', 'peer_unreachable', 'relay_unknown'] as const

const misrouted: Metric = {
  name: 'steadycast_misrouted_packets_total',
  kind: 'counter',
  labels: ['outcome'],
  help: "Packets of flows that another PoP holds or that nobody here knows: cached and home went to the owner node (known from an OWNER answer, or as the flow's home), relayed were handed to a PoP that may know or reach it, silent were dropped rather than risk a reset, certain_no went to the Maglev choice.",
  sides: 'node',
  events: ['misrouted_cached', 'misrouted_home', 'certain_no'],
  read: (input) => [
    [{ outcome: 'cached' }, at(input, 'event', 'misrouted_cached')],
    [{ outcome: 'home' }, at(input, 'event', 'misrouted_home')],
    [{ outcome: 'relayed' }, at(input, 'exit', 'relayed')],
    [{ outcome: 'silent' }, SILENT.reduce((sum, name) => sum + at(input, 'drop', name), 0)],
    [{ outcome: 'certain_no' }, at(input, 'event', 'certain_no')],
  ],
}

const flowEntries = gauge(
  'flow_table_entries',
  ['state'],
  'Entries of the flow table by state, in whatever role this node holds them.',
  (input) => {
    const view = input.worker().view
    return [
      [{ state: 'half_open' }, view?.flowsHalfOpen ?? 0],
      [{ state: 'established' }, view?.flowsEstablished ?? 0],
      [{ state: 'closing' }, view?.flowsClosing ?? 0],
    ]
  },
)

const maglevSlots = gauge(
  'maglev_slots',
  ['service', 'backend'],
  "Slots that the backend holds of this PoP's Maglev table for the service: its share of the service's new flows here, 0 when it takes none.",
  (input) =>
    input.generation.tables.flatMap(({ service, held }) =>
      held.map(
        ({ backend, slots }): Sample => [{ service: service.name, backend: backend.name }, slots],
      ),
    ),
)

/** Of the worker and the program, on both sides. */
const program: readonly Metric[] = [
  {
    name: 'steadycast_config_last_reload_successful',
    kind: 'gauge',
    labels: [],
    help: '1 when the files were taken over at the last reload (or the start), 0 when they were refused and the configuration of before stays in force.',
    sides: 'both',
    events: [],
    read: (input) => [[{}, Number(input.reload.successful)]],
  },
  {
    name: 'steadycast_config_last_reload_success_timestamp_seconds',
    kind: 'gauge',
    labels: [],
    help: 'When files were last taken over, in seconds since 1970.',
    sides: 'both',
    events: [],
    read: (input) => [[{}, input.reload.lastSuccessMs / 1000]],
  },
  {
    name: 'steadycast_worker_busy_seconds_total',
    kind: 'counter',
    labels: [],
    help: 'Time the worker spent on packets and timers; its rate is the load of one core, 1 is all of it.',
    sides: 'both',
    events: [],
    read: (input) => [[{}, input.worker().busyUs / 1e6]],
  },
  {
    name: 'steadycast_worker_loops_total',
    kind: 'counter',
    labels: [],
    help: 'Turns of the worker loop; standing still, the worker hangs.',
    sides: 'both',
    events: [],
    read: (input) => [[{}, input.worker().loops]],
  },
  {
    name: 'steadycast_node_info',
    kind: 'gauge',
    labels: ['node', 'pop'],
    help: 'Always 1; the labels say which node of the fleet file this is.',
    sides: 'node',
    events: [],
    read: ({ self, fleet }) => {
      if (self === undefined) return []
      const pop = fleet.pops.find(({ id }) => id === self.popId)?.name ?? ''
      return [[{ node: self.name, pop }, 1]]
    },
  },
  {
    name: 'steadycast_build_info',
    kind: 'gauge',
    labels: ['version', 'node_version'],
    help: 'Always 1; the labels say what is running.',
    sides: 'both',
    events: [],
    read: () => [[{ version: VERSION, node_version: process.version }, 1]],
  },
]

export const METRICS: readonly Metric[] = [
  event('received_packets', 'rx_packets', 'both', 'Packets received, raw and encapsulated.'),
  event('received_bytes', 'rx_bytes', 'both', 'Bytes of received packets, IP headers included.'),
  event('transmitted_packets', 'tx_packets', 'both', 'Packets transmitted.'),
  event(
    'transmitted_bytes',
    'tx_bytes',
    'both',
    'Bytes of transmitted packets, IP headers included.',
  ),
  event(
    'ingress_packets',
    'ingress_packets',
    'node',
    "Packets for a service that came from elsewhere than a node of the fleet: what routers send here. The node's own connections through a VIP are not in it.",
  ),
  event('transmit_errors', 'tx_errors', 'both', 'Packets that the kernel refused to send.'),
  kind('dropped_packets', 'reason', 'drop', 'Packets whose way ended here, by reason.'),
  kind('packets', 'exit', 'exit', 'Packets that were not dropped, by where they went.'),
  misrouted,
  event(
    'forward_received_packets',
    'forward_received',
    'node',
    'FORWARD packets from other PoPs taken in.',
  ),
  event(
    'ask_received_packets',
    'ask_received',
    'node',
    'ASK packets from nodes of this PoP taken in.',
  ),
  event(
    'relay_received_packets',
    'relay_received',
    'node',
    'RELAY packets from other PoPs taken in.',
  ),
  ...serviceMetrics(),
  ...backendMetrics(),
  backendFlowsNow,
  events(
    'recorded_flows',
    'source',
    { syn: 'flows_new', forward: 'flows_learned', recall: 'flows_recalled' },
    "Flows entered in the flow table: on a SYN, from a FORWARD of a flow unknown here, or recalled from this node's own table of before its restart.",
  ),
  event('expired_flows', 'flows_expired', 'node', 'Flows that ended by their idle time.'),
  flowEntries,
  gauge('flow_table_capacity_entries', [], 'Entries that the flow table has room for.', (input) => [
    [{}, input.worker().view?.flowCapacity ?? 0],
  ]),
  events(
    'flow_table_evictions',
    'cause',
    {
      half_open: 'flows_evicted_half_open',
      closing: 'flows_evicted_closing',
      idle: 'flows_evicted_idle',
    },
    'Entries that made room for a new flow: half-open ones, closing ones, the longest idle.',
  ),
  events(
    'claims',
    'outcome',
    { won: 'claims_won', lost: 'claims_lost' },
    "Two PoPs claimed a flow: this node's entry stayed, or the other's won.",
  ),
  peerGauge('peer_up', '1 when the peer answers HELLOs, both ways.', ({ up }) => Number(up)),
  peerGauge(
    'peer_filled',
    '1 when the peer has sent this node all it holds, without a gap since.',
    ({ filled }) => Number(filled),
  ),
  peerGauge('peer_reports_filled', '1 when the peer says that it has filled itself.', (peer) =>
    Number(peer.peerFilled),
  ),
  peerGauge(
    'peer_round_trip_seconds',
    'Round-trip time to the peer; 0 until it is known.',
    ({ rttUs }) => (rttUs ?? 0) / 1e6,
  ),
  peerGauge(
    'peer_unacknowledged_batches',
    'Publication batches the peer has yet to acknowledge.',
    (peer) => peer.unacked,
  ),
  peerGauge(
    'peer_protocol_version',
    'Version spoken with the peer; 0 until it is known.',
    (peer) => peer.version,
  ),
  peerGauge(
    'peer_fleet_differs',
    '1 while the peer is heard and says that its fleet file is another than that of this node.',
    ({ up, fleetDigest }, { generation }) =>
      Number(up && fleetDigest !== 0 && fleetDigest !== generation.digest),
  ),
  {
    name: 'steadycast_peer_packets_total',
    kind: 'counter',
    labels: ['peer', 'pop', 'direction'],
    help: "Clients' packets in encapsulation: sent to the peer (as the flow's home or owner, or to be relayed or spilled), and received from it.",
    sides: 'node',
    events: [],
    read: (input) =>
      input.peers.flatMap((node): readonly Sample[] => {
        const row = input.generation.nodeRows.findIndex(({ id }) => id === node.id)
        const pop = input.fleet.pops.find(({ id }) => id === node.popId)?.name ?? ''
        const of = betweenOf(input.counters, input.table.length, input.generation, row)
        return (['sent', 'received'] as const).map((direction) => [
          { peer: node.name, pop, direction },
          of[direction],
        ])
      }),
  },
  gauge(
    'filled',
    [],
    '1 when this node has learned what its peers hold for it: only then does it take new connections and answer for its part.',
    (input) => [[{}, Number(input.worker().view?.filled ?? false)]],
  ),
  gauge(
    'certain',
    [],
    '1 when this node may say of a flow that nobody has it: filled, and every peer heard without a gap.',
    (input) => [[{}, Number(input.worker().view?.certain ?? false)]],
  ),
  gauge(
    'recalling',
    [],
    "1 while what this node's earlier life left in its flow table is still needed.",
    (input) => [[{}, Number(input.worker().view?.recalling ?? false)]],
  ),
  gauge(
    'withholds',
    [],
    '1 while not all half-open flows are published, because a flood begins more of them than the limit.',
    (input) => [[{}, Number(input.worker().view?.withholds ?? false)]],
  ),
  event(
    'publish_withheld_flows',
    'publish_withheld',
    'node',
    'Half-open flows not published, because a flood begins more of them than the limit.',
  ),
  events(
    'published_flows',
    'direction',
    { sent: 'publish_flows_sent', received: 'publish_flows_received' },
    'Flows in publications, sent for the first time or received.',
  ),
  events(
    'publication_batches',
    'event',
    {
      sent: 'publish_batches_sent',
      acknowledged: 'publish_batches_acked',
      resent: 'publish_batches_resent',
      given_up: 'publish_overflow',
    },
    "Publication batches: sent for the first time, acknowledged, sent again, given up because a peer's window was full (a table walk follows).",
  ),
  events(
    'table_walks',
    'event',
    { started: 'walks_started', finished: 'walks_finished' },
    'Walks of the flow table on behalf of a peer that missed publications.',
  ),
  events(
    'hellos',
    'direction',
    { sent: 'hello_sent', received: 'hello_received' },
    'HELLO messages between nodes.',
  ),
  events(
    'owner_answers',
    'direction',
    { sent: 'owner_sent', received: 'owner_received' },
    'OWNER answers: which backend has a flow.',
  ),
  events(
    'reach_messages',
    'direction',
    { sent: 'reach_sent', received: 'reach_received' },
    'REACH messages: which PoPs a node cannot reach.',
  ),
  event(
    'icmp_steered_packets',
    'icmp_steered',
    'node',
    "ICMP errors steered to their flow's backend.",
  ),
  event('segments_cut', 'segments_cut', 'node', 'TCP segments cut in two to fit the path.'),
  event('too_big_sent_packets', 'too_big_sent', 'node', 'Packet-too-big answers sent.'),
  maglevSlots,
  ...HEALTH_METRICS.map(
    (metric): Metric => ({
      ...metric,
      name: `steadycast_${metric.name}`,
      sides: 'node',
      events: [],
      read: ({ health }) => (health === undefined ? [] : metric.read(health)),
    }),
  ),
  ...ANNOUNCE_METRICS,
  ...OPERATOR_METRICS,
  ...program,
]

/** A registry whose values are read when it is scraped. */
export function metricsRegistry(input: MetricsInput): Registry {
  const register = new Registry()
  collectDefaultMetrics({ register })
  for (const { name, help, labels, kind, sides, read } of METRICS) {
    if (sides === 'node' && input.side === 'backend') continue
    const common = { name, help, labelNames: [...labels], registers: [register] }
    if (kind === 'gauge') {
      new Gauge({
        ...common,
        collect() {
          this.reset()
          for (const [sample, value] of read(input)) this.set(sample, value)
        },
      })
    } else {
      new Counter({
        ...common,
        collect() {
          this.reset()
          for (const [sample, value] of read(input)) this.inc(sample, value)
        },
      })
    }
  }
  return register
}
