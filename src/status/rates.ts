// What a node does in a second, from two of its statuses. Called by `top` and the status page. Pure. Guarantees: a process
// that began between the two counts from zero; nothing is negative.

import type { HealthState, StatusDocument } from './model.js'

export interface TrafficRates {
  readonly name: string
  readonly packets_per_s: number
  readonly bits_per_s: number
  readonly new_flows_per_s: number
}

export interface PeerRates {
  readonly sent_per_s: number
  readonly received_per_s: number
}

export interface NodeRates {
  readonly node: string
  readonly pop: string
  readonly health: HealthState
  readonly reasons: readonly string[]
  readonly flows: number
  /** Share of one core, 0 to 1. */
  readonly busy: number
  readonly received_per_s: number
  readonly ingress_per_s: number
  readonly delivered_per_s: number
  readonly forwarded_per_s: number
  readonly forwarded_here_per_s: number
  readonly dropped_per_s: number
  /** Of the packets from routers, those of a flow that is not at home in this PoP, 0 to 1. */
  readonly misrouted_share: number
  readonly services: readonly TrafficRates[]
  /** Of this node's PoP and those that are delivered from here; the busiest first. */
  readonly backends: readonly (TrafficRates & { readonly state: string; readonly flows: number })[]
  /** Clients' packets to and from other nodes, by name. */
  readonly peers: ReadonlyMap<string, PeerRates>
  /** The most frequent first. */
  readonly drops: readonly { readonly reason: string; readonly packets_per_s: number }[]
}

export function ratesBetween(
  before: StatusDocument | undefined,
  after: StatusDocument,
  seconds: number,
): NodeRates {
  const sameLife = before !== undefined && before.uptime_s <= after.uptime_s
  const from = sameLife ? before : undefined
  const rate = (now: number, then = 0) =>
    before === undefined ? 0 : Math.max(0, now - then) / Math.max(seconds, 0.001)
  const { packets } = after
  const was = from?.packets
  const ingress = rate(packets.ingress, was?.ingress)
  const misrouted = rate(sum(packets.misrouted), was === undefined ? 0 : sum(was.misrouted))
  const traffic = (
    now: { readonly name: string } & Counted,
    then: Counted | undefined,
  ): TrafficRates => ({
    name: now.name,
    packets_per_s: rate(now.packets, then?.packets),
    bits_per_s: 8 * rate(now.bytes, then?.bytes),
    new_flows_per_s: rate(now.new_flows, then?.new_flows),
  })
  return {
    node: after.node,
    pop: after.pop,
    health: after.health.state,
    reasons: after.health.reasons,
    flows: after.flows.half_open + after.flows.established + after.flows.closing,
    busy: rate(after.worker.busy_s, from?.worker.busy_s),
    received_per_s: rate(packets.received, was?.received),
    ingress_per_s: ingress,
    delivered_per_s: rate(packets.delivered, was?.delivered),
    forwarded_per_s: rate(packets.forwarded, was?.forwarded),
    forwarded_here_per_s: rate(packets.forwarded_here, was?.forwarded_here),
    dropped_per_s: rate(packets.dropped, was?.dropped),
    misrouted_share: ingress === 0 ? 0 : Math.min(1, misrouted / ingress),
    services: after.services.map((now) =>
      traffic(
        now,
        from?.services.find(({ name }) => name === now.name),
      ),
    ),
    backends: after.backends
      .filter(({ pop }) => pop === after.pop)
      .map((now) => ({
        ...traffic(
          now,
          from?.backends.find(({ name, address }) => name === now.name && address === now.address),
        ),
        state: now.state,
        flows: now.owned_flows,
      }))
      .sort(
        (a, b) =>
          b.packets_per_s - a.packets_per_s || b.flows - a.flows || a.name.localeCompare(b.name),
      ),
    peers: new Map(
      after.peers.map(({ name, packets_sent, packets_received }) => {
        const then = from?.peers.find((peer) => peer.name === name)
        return [
          name,
          {
            sent_per_s: rate(packets_sent, then?.packets_sent),
            received_per_s: rate(packets_received, then?.packets_received),
          },
        ]
      }),
    ),
    drops: after.drops
      .map(({ reason, packets: now }) => ({
        reason,
        packets_per_s: rate(now, from?.drops.find((drop) => drop.reason === reason)?.packets),
      }))
      .filter(({ packets_per_s }) => packets_per_s > 0)
      .sort((a, b) => b.packets_per_s - a.packets_per_s),
  }
}

interface Counted {
  readonly packets: number
  readonly bytes: number
  readonly new_flows: number
}

const sum = (counts: StatusDocument['packets']['misrouted']): number =>
  counts.cached + counts.home + counts.relayed + counts.silent + counts.certain_no
