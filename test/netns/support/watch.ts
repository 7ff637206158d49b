// What packets tell that no process does: which clients' packets each node has seen, and what reached the clients that
// would break a connection. Called by the failure matrix. nftables only counts here: every packet goes on.

import { VIP4, VIP6 } from './internet.js'
import type { Machine } from './machine.js'

const NODE = `table inet watch {
  set seen4 { type ipv4_addr; size 4096; flags dynamic; }
  set seen6 { type ipv6_addr; size 4096; flags dynamic; }
  chain prerouting {
    type filter hook prerouting priority raw;
    iifname eth0 ip daddr ${VIP4} add @seen4 { ip saddr }
    iifname eth0 ip6 daddr ${VIP6} add @seen6 { ip6 saddr }
  }
}`

const CLIENTS = `table inet watch {
  set resets4 { type ipv4_addr . inet_service; size 4096; flags dynamic; }
  set resets6 { type ipv6_addr . inet_service; size 4096; flags dynamic; }
  set errors4 { type ipv4_addr . icmp_type; size 4096; flags dynamic; }
  set errors6 { type ipv6_addr . icmpv6_type; size 4096; flags dynamic; }
  chain input {
    type filter hook input priority 0;
    ip saddr ${VIP4} tcp flags & rst == rst add @resets4 { ip daddr . tcp dport }
    ip6 saddr ${VIP6} tcp flags & rst == rst add @resets6 { ip6 daddr . tcp dport }
    icmp type { destination-unreachable, time-exceeded, parameter-problem, redirect } add @errors4 { ip saddr . icmp type }
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } add @errors6 { ip6 saddr . icmpv6 type }
  }
}`

/** Client address -> the nodes that it reached. */
export type Sightings = ReadonlyMap<string, ReadonlySet<Machine>>

export class Watch {
  private constructor(
    private readonly nodes: readonly Machine[],
    private readonly clients: Machine,
  ) {}

  static async begin(nodes: readonly Machine[], clients: Machine): Promise<Watch> {
    await Promise.all(nodes.map((node) => node.run('nft', NODE)))
    await clients.run('nft', CLIENTS)
    return new Watch(nodes, clients)
  }

  /** Sightings count from now. */
  async forget(): Promise<void> {
    const flush = 'flush set inet watch seen4; flush set inet watch seen6'
    await Promise.all(this.nodes.map((node) => node.run('nft', flush)))
  }

  async sightings(): Promise<Sightings> {
    const found = new Map<string, Set<Machine>>()
    for (const node of this.nodes) {
      for (const address of await elements(node, ['seen4', 'seen6'])) {
        found.set(address, (found.get(address) ?? new Set()).add(node))
      }
    }
    return found
  }

  /** Since the beginning: connections that ended by a reset or an error, in the eyes of their clients' kernel, and ICMP
   * errors from anywhere. `resets` names those among which the cause is; a connection that is over may draw one too, by
   * packets that overtook each other. */
  async troubles(): Promise<Troubles> {
    const [counters, resets, errors] = await Promise.all([
      this.clients.counters(),
      elements(this.clients, ['resets4', 'resets6']),
      elements(this.clients, ['errors4', 'errors6']),
    ])
    return {
      broken: counters.value('TcpEstabResets') + counters.value('TcpAttemptFails'),
      errors,
      resets,
    }
  }
}

export interface Troubles {
  readonly broken: number
  readonly errors: readonly string[]
  readonly resets: readonly string[]
}

interface NftSet {
  readonly name: string
  readonly elem?: readonly (string | { readonly concat: readonly (string | number)[] })[]
}

async function elements(machine: Machine, names: readonly string[]): Promise<readonly string[]> {
  const text = await machine.run('nft', '-j', 'list sets')
  const { nftables } = JSON.parse(text) as { nftables: readonly { readonly set?: NftSet }[] }
  return nftables
    .flatMap(({ set }) => (set !== undefined && names.includes(set.name) ? [set] : []))
    .flatMap(({ elem = [] }) => elem)
    .map((element) => (typeof element === 'string' ? element : element.concat.join(' ')))
}
