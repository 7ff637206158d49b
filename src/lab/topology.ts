// The lab's Internet as a plan: names, addresses, and the `ip` commands that build it. Pure: called by inner.ts, which
// runs the commands, and by the tests. Guarantees that every route of the plan has a way back.
//
//   +-----------------------------------------------------------------------+
//   | clients      lo: 10.9.<catchment>.<n>, 2001:db8:c000:<catchment>::<n> |
//   +----------------------------------+------------------------------------+
//                                 eth0 | 10.200.0.2        (one veth)
//                           to-clients | 10.200.0.1
//   +----------------------------------+------------------------------------+
//   | internet     "from CLIENT to VIP lookup 100+p": which PoP a client    |
//   |              reaches; split-in, split-a, split-b: packets in turn     |
//   +--+--------+----------------+--------+----------------+--------+-------+
//      | to-ams | bb-ams         | to-nyc | bb-nyc         | to-sin | bb-sin
//      | uplink | backbone       |        |                |        |   (between PoPs: devices of their own, so
//   +--+--------+------------+   +--------+--+             +--------+--+  that their packets can be counted)
//   | pop-ams                |   | pop-nyc   |             | pop-sin   |
//   | VIP via the nodes, or  |   +-----------+             +-----------+
//   | by hash to be-*        |        the same                  the same
//   | lan (bridge) 10.1.0.1  |
//   +---+-------+-------+----+
//  eth0 |  eth0 |  eth0 |                answers go from the backends to the client
//  node-ams-1 be-ams-1 be-ams-2          directly (direct server return), from any PoP
//  10.1.0.11 10.1.0.21 10.1.0.22

export type Family = 4 | 6

export const VIP4 = '198.51.100.10'
export const VIP6 = '2001:db8:100::10'
export const SERVER_PORT = 80

const POP_NAMES = ['ams', 'nyc', 'sin', 'fra', 'gru', 'syd', 'nrt', 'jnb'] as const
const SPLIT_TABLE = 90
const FIRST_POP_TABLE = 100

export const CLIENTS_NAMESPACE = 'clients'
export const INTERNET_NAMESPACE = 'internet'
/** In `internet`, each one end of a pair; at the other end, named with SPLIT_END, the splitter reads or writes. */
export const SPLIT_IN = 'split-in'
export const SPLIT_END = '-x'
export const SPLIT_OUT = ['split-a', 'split-b'] as const
/** In `internet`, one device for each PoP: what PoPs send each other, and nothing else. */
export const BACKBONE_PREFIX = 'bb-'
/** In `internet`: nobody has these addresses, so that what is routed there waits for its neighbour. */
const HELD = { 4: '10.200.0.6', 6: '2001:db8:b::6' } as const
const CLIENTS_MAC = '02:00:00:00:00:02'

export interface Host {
  readonly name: string
  readonly namespace: string
  readonly address4: string
  readonly address6: string
}

export interface Pop {
  /** From 1. */
  readonly number: number
  readonly name: string
  readonly namespace: string
  readonly nodes: readonly Host[]
  /** In the fleet file from the start. */
  readonly backends: readonly Host[]
  /** Machines that run, and are not in the fleet file yet. */
  readonly spares: readonly Host[]
}

export interface Client {
  /** From 0. */
  readonly id: number
  /** From 1; where it starts is the PoP of the same number. */
  readonly catchment: number
  readonly address4: string
  readonly address6: string
}

export interface Topology {
  readonly pops: readonly Pop[]
  readonly clients: readonly Client[]
  /** The client whose packets alternate between two PoPs all the time; a lab of one client has none. */
  readonly alternating: number | undefined
  /** Whether the splitter is there. */
  readonly splits: boolean
}

/** What each PoP has, and whether one client alternates from the start. */
export interface Layout {
  readonly nodes: number
  readonly backends: number
  readonly spares: number
  readonly alternating: boolean
}

/** Without a scenario. */
export const PLAIN_LAYOUT: Layout = { nodes: 1, backends: 2, spares: 0, alternating: true }
/** Alternation is a scenario of its own here. */
export const SCENARIO_LAYOUT: Layout = { nodes: 2, backends: 3, spares: 1, alternating: false }

export interface Sysctl {
  readonly path: string
  readonly value: string
}

export interface IpLine {
  readonly family: Family
  readonly line: string
}

export interface NamespacePlan {
  readonly namespace: string
  readonly sysctls: readonly Sysctl[]
  /** For `ip -n NAMESPACE -batch`, once all devices exist. */
  readonly lines: readonly string[]
}

export function topologyOf(
  popCount: number,
  clientCount: number,
  layout: Layout = PLAIN_LAYOUT,
): Topology {
  const pops = POP_NAMES.slice(0, popCount).map((name, index) => popOf(name, index + 1, layout))
  const members = new Map<number, number>()
  const clients = Array.from({ length: clientCount }, (_, id): Client => {
    const catchment = 1 + Math.floor((id * popCount) / clientCount)
    const member = (members.get(catchment) ?? 0) + 1
    members.set(catchment, member)
    return {
      id,
      catchment,
      address4: `10.9.${catchment}.${member}`,
      address6: `2001:db8:c000:${catchment}::${member.toString(16)}`,
    }
  })
  const alternating = layout.alternating && clientCount > 1 ? clientCount - 1 : undefined
  return { pops, clients, alternating, splits: alternating !== undefined || !layout.alternating }
}

function popOf(name: string, number: number, layout: Layout): Pop {
  const host = (hostName: string, namespace: string, last: number): Host => ({
    name: hostName,
    namespace,
    address4: `10.${number}.0.${last}`,
    address6: `2001:db8:${number}::${last}`,
  })
  const backend = (n: number): Host => host(`${name}-web-${n}`, `be-${name}-${n}`, 20 + n)
  return {
    number,
    name,
    namespace: `pop-${name}`,
    nodes: numbers(1, layout.nodes).map((n) => host(`${name}-${n}`, `node-${name}-${n}`, 10 + n)),
    backends: numbers(1, layout.backends).map(backend),
    spares: numbers(layout.backends + 1, layout.spares).map(backend),
  }
}

const numbers = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => first + index)

export function catchmentPrefix(catchment: number, family: Family): string {
  return family === 4 ? `10.9.${catchment}.0/24` : `2001:db8:c000:${catchment}::/64`
}

export const vipOf = (family: Family): string => (family === 4 ? VIP4 : VIP6)
export const tableOf = (pop: number): number => FIRST_POP_TABLE + pop

/** For one `ip -batch`. */
export function namespaceLines(topology: Topology): string[] {
  return namespacePlans(topology).map((plan) => `netns add ${plan.namespace}`)
}

/** For one `ip -batch`, after the sysctls are written: new devices inherit their namespace's defaults. */
export function deviceLines(topology: Topology): string[] {
  const veth = (device: string, namespace: string, peer: string, peerNamespace: string): string =>
    `link add name ${device} netns ${namespace} type veth peer name ${peer} netns ${peerNamespace}`
  const lines = [veth('eth0', CLIENTS_NAMESPACE, 'to-clients', INTERNET_NAMESPACE)]
  if (topology.splits) {
    for (const name of [SPLIT_IN, ...SPLIT_OUT]) {
      lines.push(veth(name, INTERNET_NAMESPACE, `${name}${SPLIT_END}`, INTERNET_NAMESPACE))
    }
  }
  for (const pop of topology.pops) {
    lines.push(veth('uplink', pop.namespace, `to-${pop.name}`, INTERNET_NAMESPACE))
    lines.push(veth('backbone', pop.namespace, backboneOf(pop), INTERNET_NAMESPACE))
    for (const host of hostsOf(pop)) {
      lines.push(veth('eth0', host.namespace, portOf(host), pop.namespace))
    }
  }
  return lines
}

export function namespacePlans(topology: Topology): NamespacePlan[] {
  return [
    clientsPlan(topology),
    internetPlan(topology),
    ...topology.pops.flatMap((pop) => [
      popPlan(topology, pop),
      ...pop.nodes.map((node) => hostPlan(pop, node, [...COMMON, ...FORWARDING])),
      ...machinesOf(pop).map((backend) => hostPlan(pop, backend, COMMON)),
    ]),
  ]
}

/** The backends' machines, those not in the fleet file yet included. */
export const machinesOf = (pop: Pop): readonly Host[] => [...pop.backends, ...pop.spares]
const hostsOf = (pop: Pop): readonly Host[] => [...pop.nodes, ...machinesOf(pop)]
const backboneOf = ({ name }: Pop): string => `${BACKBONE_PREFIX}${name}`
const portOf = (host: Host): string => `to-${host.namespace}`.slice(0, 15)

const each = (path: string, value: string): Sysctl[] =>
  ['all', 'default'].map((scope) => ({ path: path.replace('*', scope), value }))

const COMMON: readonly Sysctl[] = [
  // Answers leave by another way than the questions came.
  ...each('net/ipv4/conf/*/rp_filter', '0'),
  ...each('net/ipv4/conf/*/send_redirects', '0'),
  ...each('net/ipv4/conf/*/accept_redirects', '0'),
  ...each('net/ipv6/conf/*/disable_ipv6', '0'),
  ...each('net/ipv6/conf/*/accept_redirects', '0'),
  ...each('net/ipv6/conf/*/accept_dad', '0'),
  ...each('net/ipv6/conf/*/accept_ra', '0'),
  // What one phase learned of a path must not colour the next.
  { path: 'net/ipv4/tcp_no_metrics_save', value: '1' },
]

const FORWARDING: readonly Sysctl[] = [
  ...each('net/ipv4/conf/*/forwarding', '1'),
  ...each('net/ipv6/conf/*/forwarding', '1'),
]

const LAYER4_HASH: readonly Sysctl[] = [
  { path: 'net/ipv4/fib_multipath_hash_policy', value: '1' },
  { path: 'net/ipv6/fib_multipath_hash_policy', value: '1' },
]

function clientsPlan(topology: Topology): NamespacePlan {
  return {
    namespace: CLIENTS_NAMESPACE,
    sysctls: COMMON,
    lines: [
      'link set lo up',
      `link set eth0 address ${CLIENTS_MAC} up`,
      'address add 10.200.0.2/29 dev eth0',
      'address add 2001:db8:b::2/64 dev eth0 nodad',
      'route add default via 10.200.0.1',
      'route add default via 2001:db8:b::1',
      ...topology.clients.flatMap((client) => [
        `address add ${client.address4}/32 dev lo`,
        `address add ${client.address6}/128 dev lo nodad`,
      ]),
    ],
  }
}

function internetPlan(topology: Topology): NamespacePlan {
  return {
    namespace: INTERNET_NAMESPACE,
    sysctls: [...COMMON, ...FORWARDING],
    lines: [
      'link set lo up',
      'link set to-clients up',
      'address add 10.200.0.1/29 dev to-clients',
      'address add 2001:db8:b::1/64 dev to-clients nodad',
      'route add 10.9.0.0/16 via 10.200.0.2',
      'route add 2001:db8:c000::/48 via 2001:db8:b::2',
      ...topology.pops.flatMap((pop) => [
        `link set to-${pop.name} up`,
        `address add 10.100.${pop.number}.1/30 dev to-${pop.name}`,
        `address add 2001:db8:a${pop.number}::1/64 dev to-${pop.name} nodad`,
        `link set ${backboneOf(pop)} up`,
        `address add 10.101.${pop.number}.1/30 dev ${backboneOf(pop)}`,
        `address add 2001:db8:b${pop.number}::1/64 dev ${backboneOf(pop)} nodad`,
        `route add 10.${pop.number}.0.0/24 via 10.101.${pop.number}.2`,
        `route add 2001:db8:${pop.number}::/64 via 2001:db8:b${pop.number}::2`,
        `route add ${VIP4} via 10.100.${pop.number}.2 table ${tableOf(pop.number)}`,
        `route add ${VIP6} via 2001:db8:a${pop.number}::2 table ${tableOf(pop.number)}`,
      ]),
      ...(topology.splits ? splitLines() : []),
    ],
  }
}

function splitLines(): string[] {
  const ends = [SPLIT_IN, ...SPLIT_OUT].flatMap((name) => [name, `${name}${SPLIT_END}`])
  return [
    ...ends.map((device) => `link set ${device} addrgenmode none arp off multicast off up`),
    `route add ${VIP4} dev ${SPLIT_IN} table ${SPLIT_TABLE}`,
    `route add ${VIP6} dev ${SPLIT_IN} table ${SPLIT_TABLE}`,
  ]
}

/** What comes out of the splitter goes to PoP 1 and PoP 2 in turn. */
export function splitterRules(topology: Topology): IpLine[] {
  if (!topology.splits) return []
  return ([4, 6] as const).flatMap((family) =>
    SPLIT_OUT.map((device, index) => ({
      family,
      line: `rule add pref ${500 + index} iif ${device} to ${vipOf(family)} lookup ${tableOf(index + 1)}`,
    })),
  )
}

/** From `add` to `del` the client's packets go into the splitter. */
export function splitClient(action: 'add' | 'del', client: Client): IpLine[] {
  return ([4, 6] as const).map((family) => ({
    family,
    line: `rule ${action} pref 600 from ${addressOf(client, family)} to ${vipOf(family)} lookup ${SPLIT_TABLE}`,
  }))
}

export interface Hold {
  /** What is sent to the client from now on waits, and is not lost. */
  readonly begin: readonly string[]
  /** What waited arrives. */
  readonly release: readonly string[]
  readonly end: readonly string[]
}

/** In `internet`. The kernel keeps what is to go to a neighbour that it is still asking for. */
export function holdAnswers(client: Client, family: Family): Hold {
  const prefix = `${addressOf(client, family)}/${family === 4 ? 32 : 128}`
  const neighbour = `${HELD[family]} dev to-clients`
  return {
    begin: [`route add ${prefix} via ${neighbour}`],
    release: [`neigh replace ${HELD[family]} lladdr ${CLIENTS_MAC} dev to-clients nud permanent`],
    end: [`route del ${prefix} via ${neighbour}`, `neigh del ${neighbour}`],
  }
}

/** In `internet`: what is sent to this client is lost, silently, from `add` to `del`. */
export function loseAnswers(action: 'add' | 'del', client: Client, family: Family): string {
  return `route ${action} blackhole ${addressOf(client, family)}/${family === 4 ? 32 : 128}`
}

const addressOf = (client: Client, family: Family): string =>
  family === 4 ? client.address4 : client.address6

function popPlan(topology: Topology, pop: Pop): NamespacePlan {
  const n = pop.number
  const others = topology.pops.filter(({ number }) => number !== n)
  return {
    namespace: pop.namespace,
    sysctls: [...COMMON, ...FORWARDING, ...LAYER4_HASH],
    lines: [
      'link set lo up',
      'link set uplink up',
      `address add 10.100.${n}.2/30 dev uplink`,
      `address add 2001:db8:a${n}::2/64 dev uplink nodad`,
      `route add default via 10.100.${n}.1`,
      `route add default via 2001:db8:a${n}::1`,
      'link set backbone up',
      `address add 10.101.${n}.2/30 dev backbone`,
      `address add 2001:db8:b${n}::2/64 dev backbone nodad`,
      ...others.flatMap(({ number }) => [
        `route add 10.${number}.0.0/24 via 10.101.${n}.1`,
        `route add 2001:db8:${number}::/64 via 2001:db8:b${n}::1`,
      ]),
      'link add name lan type bridge mcast_snooping 0 stp_state 0',
      ...hostsOf(pop).flatMap((host) => [`link set ${portOf(host)} master lan up`]),
      'link set lan up',
      `address add 10.${n}.0.1/24 dev lan`,
      `address add 2001:db8:${n}::1/64 dev lan nodad`,
    ],
  }
}

function hostPlan(pop: Pop, host: Host, sysctls: readonly Sysctl[]): NamespacePlan {
  return {
    namespace: host.namespace,
    sysctls,
    lines: [
      'link set lo up',
      'link set eth0 up',
      `address add ${host.address4}/24 dev eth0`,
      `address add ${host.address6}/64 dev eth0 nodad`,
      `route add default via 10.${pop.number}.0.1`,
      `route add default via 2001:db8:${pop.number}::1`,
    ],
  }
}

/** Where a PoP's router may send a raw VIP packet. */
export interface Hop {
  readonly host: Host
  readonly weight: number
}

/** In `pop-*`: the VIPs over these hops by the router's ECMP; without any, into silence. */
export function vipRoutes(hops: readonly Hop[]): string[] {
  return [vipRoute(VIP4, hops, 'address4'), vipRoute(VIP6, hops, 'address6')]
}

function vipRoute(vip: string, hops: readonly Hop[], address: 'address4' | 'address6'): string {
  const [first, ...others] = hops
  if (first === undefined) return `route replace blackhole ${vip}`
  if (others.length === 0) return `route replace ${vip} via ${first.host[address]}`
  const nexthops = hops.map(
    ({ host, weight }) => `nexthop via ${host[address]}${weight === 1 ? '' : ` weight ${weight}`}`,
  )
  return `route replace ${vip} ${nexthops.join(' ')}`
}
