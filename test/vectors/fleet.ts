// A fleet of real nodes in memory, in virtual time: an event queue carries outer packets between them by destination
// address. Used by the tests of the protocol. Guarantees: no clock and no randomness of its own, so a run repeats; every
// packet that a node sent is delivered to a node, delivered to a backend, lost on purpose or undeliverable, and counted.

import { loadAddon, type NodeHandle, type NodeView } from '../../src/dataplane/addon.js'
import { packGeneration } from '../../src/dataplane/generation.js'
import type { Backend, Fleet, FleetNode } from '../../src/fleet/model.js'
import { type Counts, countsOf, MS, SECOND, sumOf, TIMER_US } from './bench.js'
import type { Bytes } from './bytes.js'
import { parseNetwork } from './parse.js'
import { type Received, receiveAtBackend, receiveAtNode } from './receive.js'
import { backendsOf, KEY, nodesOf } from './samples.js'

/** A client's packet that reached a backend. */
export interface Delivery {
  readonly atUs: bigint
  readonly backend: Backend
  /** The node that sent it there. */
  readonly by: FleetNode
  readonly inner: Bytes
}

/** A packet between two machines. */
export interface Transit {
  readonly atUs: bigint
  readonly from: string
  readonly to: string
  readonly packet: Bytes
}

export interface VirtualFleetOptions {
  readonly fleet: Fleet
  readonly mtu?: number
  readonly flowEntries?: number
  /** One way. Inside a PoP 50 us, across 5 ms, unless told otherwise. */
  readonly latencyUs?: (from: FleetNode, to: FleetNode) => bigint
  /** Nodes that are not started at once. */
  readonly absent?: readonly string[]
}

interface Flying extends Transit {
  readonly member: Member
}

/** One node's place in the fleet; the node itself comes and goes. */
class Member {
  handle: NodeHandle | undefined
  fed = 0
  starts = 0

  constructor(readonly node: FleetNode) {}
}

const NEAR_US = 50n
const FAR_US = 5n * MS

export class VirtualFleet {
  readonly fleet: Fleet
  readonly deliveries: Delivery[] = []
  /** What left nodes for other nodes, lost ones too. */
  readonly transits: Transit[] = []
  /** True: the network loses this packet. */
  lose: (transit: Transit) => boolean = () => false
  readonly #options: VirtualFleetOptions
  readonly #members: readonly Member[]
  readonly #flying: Flying[] = []
  #now = SECOND
  #nextTimer = SECOND

  constructor(options: VirtualFleetOptions) {
    this.fleet = options.fleet
    this.#options = options
    this.#members = nodesOf(options.fleet).map((node) => new Member(node))
    for (const { node } of this.#members) {
      if (!(options.absent ?? []).includes(node.name)) this.start(node.name)
    }
  }

  get nowUs(): bigint {
    return this.#now
  }

  /** A fresh node with an empty table, under a boot id of its own. */
  start(name: string): void {
    const member = this.#member(name)
    const { node } = member
    const side = { kind: 'node', nodeId: node.id, keys: [KEY] } as const
    member.starts++
    member.fed = 0
    member.handle = loadAddon().newNode({
      generation: packGeneration(this.fleet, side, this.#options.mtu ?? 1500).blob,
      bootId: (BigInt(node.id) << 32n) | BigInt(member.starts),
      flowEntries: this.#options.flowEntries ?? 4096,
    })
  }

  /** The node is gone without a word; what flies to it is lost. */
  kill(name: string): void {
    this.#member(name).handle = undefined
  }

  /** A client's packet reaches this node now. */
  inject(name: string, packet: Bytes): void {
    this.#feed(this.#member(name), packet)
  }

  /** The same, then time for it to get anywhere; what reached backends meanwhile. */
  send(name: string, ...packets: readonly Bytes[]): readonly Delivery[] {
    const before = this.deliveries.length
    for (const packet of packets) this.inject(name, packet)
    this.run(20n * MS)
    return this.deliveries.slice(before)
  }

  /** Time passes. Timers run every `stepUs`; HELLOs inside a PoP need 100 ms or less, across PoPs 1 s. */
  run(us: bigint, stepUs: bigint = TIMER_US): void {
    const end = this.#now + us
    for (;;) {
      const next = this.#flying[0]
      const nextUs =
        next === undefined || this.#nextTimer <= next.atUs ? this.#nextTimer : next.atUs
      if (nextUs > end) break
      this.#now = nextUs
      if (nextUs === this.#nextTimer) this.#timers(stepUs)
      else this.#arrive()
    }
    this.#now = end
  }

  /** Until every node that runs has filled and is certain, or the limit is reached. */
  settle(limitUs: bigint = 20n * SECOND): void {
    const end = this.#now + limitUs
    while (this.#now < end && !this.#running().every((name) => this.look(name).certain)) {
      this.run(10n * MS)
    }
  }

  look(name: string): NodeView {
    return this.#handle(name).look(this.#now)
  }

  counts(name: string): Counts {
    return countsOf(this.#handle(name).counters)
  }

  count(name: string, counter: string): bigint {
    const value = this.counts(name).get(counter)
    if (value === undefined) throw new RangeError(`no counter "${counter}"`)
    return value
  }

  /** Of all nodes that run. */
  total(counter: string): bigint {
    return this.#running().reduce((sum, name) => sum + this.count(name, counter), 0n)
  }

  /** Control messages and clients' packets that left `from` for another node, decoded by the receiver's rules. */
  heard(from: string): readonly { readonly transit: Transit; readonly received: Received }[] {
    const { address } = this.#member(from).node
    return this.transits
      .filter((transit) => transit.from === address)
      .flatMap((transit) => {
        const self = this.#members.find(({ node }) => node.address === transit.to)?.node
        if (self === undefined) return []
        const receiver = { fleet: this.fleet, self, keys: [KEY] }
        return [{ transit, received: receiveAtNode(transit.packet, receiver) }]
      })
  }

  /** Nodes whose counters do not account for every packet that they were given. */
  unaccounted(): readonly string[] {
    return this.#members.flatMap(({ node, handle, fed }) => {
      if (handle === undefined) return []
      const counts = countsOf(handle.counters)
      const ended = sumOf(counts, 'drop') + sumOf(counts, 'exit')
      return ended === BigInt(fed) ? [] : [`${node.name}: ${fed} in, ${ended} ended`]
    })
  }

  #running(): readonly string[] {
    return this.#members.filter(({ handle }) => handle !== undefined).map(({ node }) => node.name)
  }

  #member(name: string): Member {
    const member = this.#members.find(({ node }) => node.name === name)
    if (member === undefined) throw new RangeError(`no node "${name}" in this fleet`)
    return member
  }

  #handle(name: string): NodeHandle {
    const { handle } = this.#member(name)
    if (handle === undefined) throw new Error(`node "${name}" is down`)
    return handle
  }

  #timers(stepUs: bigint): void {
    this.#nextTimer = this.#now + stepUs
    for (const member of this.#members) {
      for (const { data, egress } of member.handle?.timers(this.#now) ?? []) {
        this.#leave(member, data, egress)
      }
    }
  }

  #arrive(): void {
    const flying = this.#flying.shift()
    if (flying !== undefined) this.#feed(flying.member, flying.packet)
  }

  #feed(member: Member, packet: Bytes): void {
    if (member.handle === undefined) return
    member.fed++
    for (const { data, egress } of member.handle.forward([packet], this.#now)) {
      this.#leave(member, data, egress)
    }
  }

  #leave(member: Member, packet: Bytes, egress: 'wire' | 'local'): void {
    const by = member.node
    const network = parseNetwork(packet)
    if (!network.ok) throw new Error(`${by.name} sent a packet that is ${network.reason}`)
    if (egress === 'local') {
      const backend = backendsOf(this.fleet).find(({ nodeId }) => nodeId === by.id)
      if (backend === undefined) throw new Error(`${by.name} has no backend of its own`)
      this.deliveries.push({ atUs: this.#now, backend, by, inner: packet })
      return
    }
    const to = this.#members.find(({ node }) => node.address === network.to)
    if (to === undefined) this.#deliver(by, network.to, packet)
    else this.#fly(by, to, packet)
  }

  #deliver(by: FleetNode, address: string, packet: Bytes): void {
    const backend = backendsOf(this.fleet).find((candidate) => candidate.address === address)
    // An ICMP answer to a client, for one, goes to no machine of the fleet.
    if (backend === undefined) return
    const received = receiveAtBackend(packet, this.fleet, backend.popId, address)
    if (received.kind !== 'plain') {
      const why = received.kind === 'refused' ? received.reason : received.kind
      throw new Error(`${by.name} sent ${backend.name} what it refuses: ${why}`)
    }
    this.deliveries.push({ atUs: this.#now, backend, by, inner: received.inner })
  }

  #fly(by: FleetNode, member: Member, packet: Bytes): void {
    const latency = this.#options.latencyUs?.(by, member.node)
    const near = by.popId === member.node.popId
    const atUs = this.#now + (latency ?? (near ? NEAR_US : FAR_US))
    const transit = { atUs, from: by.address, to: member.node.address, packet }
    this.transits.push(transit)
    if (this.lose(transit)) return
    const later = this.#flying.findIndex((other) => other.atUs > atUs)
    this.#flying.splice(later < 0 ? this.#flying.length : later, 0, { ...transit, member })
  }
}
