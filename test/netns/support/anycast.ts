// PoPs of several nodes and backends, each behind a router of its own, and an Internet that decides for each client which
// PoP its packets reach. Called by the failure matrix, inside the namespaces of isolate.ts.
//
//           clients              one machine; each client is an address of either family: 10.200.0.0/22, 2001:db8:c::/64
//              |
//           internet             "from CLIENT lookup TABLE": the PoP that a client reaches
//     _________|_________
//    |         |         |
// ams-router  nyc-router  ...    the VIPs by ECMP over the PoP's announced nodes; silence when there are none
//    |
//    |____________________________________________________ LAN 10.1.0.0/24, 2001:db8:1::/64
//    |       |           |           |           |
//  ams-1   ams-2     ams-web-1   ams-web-2   ams-web-3     answers go from here to the client, past the nodes
//
// Guarantees: a route that moves is replaced at once, and nobody is told of a packet that is lost.

import type { Origin } from './curl.js'
import { addMachines, joinNet, lanText, VIP4, VIP6 } from './internet.js'
import { Machine } from './machine.js'

const FORWARDING = `
  net.ipv4.conf.all.forwarding = 1
  net.ipv6.conf.all.forwarding = 1
  net.ipv4.fib_multipath_hash_policy = 1
  net.ipv6.fib_multipath_hash_policy = 1
`
/** A client's socket holds little, so that one that reads slowly slows its sender down soon. */
const SMALL_BUFFERS = 'net.ipv4.tcp_rmem = 4096 65536 131072'
const MAX_CLIENTS = 1000
/** Of the internet: one table for each PoP, and rules of clients and of what alternates between PoPs before them. */
const FIRST_TABLE = 101
const PREF_ALTERNATING = 90
const PREF_PARTITION = 80
const PREF_CLIENT = 100

export interface Shape {
  readonly pops: readonly string[]
  readonly nodes: number
  readonly backends: number
}

/** Where one connection comes from, or several. */
export class Client implements Origin {
  switches = 0
  /** The PoP that it reaches now. */
  pop: PopNet

  constructor(
    readonly client: Machine,
    readonly address4: string,
    readonly address6: string,
    /** Where it begins, and returns to after a row. */
    readonly home: PopNet,
  ) {
    this.pop = home
  }

  newClient(family: 4 | 6): string {
    return family === 4 ? this.address4 : this.address6
  }
}

/** A PoP's router and the machines of its LAN. */
export class PopNet {
  /** In the order of the router's next hops. */
  #announced: readonly Machine[] = []
  /** One change after the other. */
  #routing: Promise<void> = Promise.resolve()

  constructor(
    readonly name: string,
    /** From 1. */
    readonly number: number,
    readonly router: Machine,
    readonly nodes: readonly Machine[],
    readonly webs: readonly Machine[],
  ) {}

  get table(): number {
    return FIRST_TABLE + this.number - 1
  }

  /** The networks of its machines. */
  get lans(): readonly [string, string] {
    return [`10.${this.number}.0.0/24`, `2001:db8:${this.number}::/64`]
  }

  async announce(node: Machine): Promise<void> {
    await this.#route([...this.#announced.filter((other) => other !== node), node])
  }

  async withdraw(node: Machine): Promise<void> {
    await this.#route(this.#announced.filter((other) => other !== node))
  }

  /** Every flow now reaches another node than before, as far as the PoP has two. */
  async reshuffle(): Promise<void> {
    const [first, ...rest] = this.#announced
    if (first !== undefined) await this.#route([...rest, first])
  }

  async #route(nodes: readonly Machine[]): Promise<void> {
    this.#announced = nodes
    const hops = (addresses: readonly string[]) =>
      addresses.map((address) => `nexthop via ${address}`).join(' ')
    const lines =
      nodes.length === 0
        ? [`route replace blackhole ${VIP4}`, `route replace blackhole ${VIP6}`]
        : [
            `route replace ${VIP4} ${hops(nodes.map(({ address4 }) => address4))}`,
            `route replace ${VIP6} ${hops(nodes.map(({ address6 }) => address6))}`,
          ]
    this.#routing = this.#routing.then(() => this.router.ip(lines.join('\n')))
    await this.#routing
  }
}

export class Anycast {
  readonly clients = new Machine('clients', '10.200.0.1', '2001:db8:c::1')
  readonly internet = new Machine('internet', '10.200.3.254', '2001:db8:c::ffff')
  readonly pops: readonly PopNet[]
  #clients = 1

  private constructor(shape: Shape) {
    this.pops = shape.pops.map((name, index) => popNet(name, index + 1, shape))
  }

  static async make(shape: Shape): Promise<Anycast> {
    const anycast = new Anycast(shape)
    await anycast.#build()
    return anycast
  }

  async newClients(pop: PopNet, count: number): Promise<readonly Client[]> {
    const made = Array.from({ length: count }, () => {
      const number = ++this.#clients
      if (number > MAX_CLIENTS) throw new Error('there are no more client addresses')
      const address4 = `10.200.${number >> 8}.${number & 255}`
      return new Client(this.clients, address4, `2001:db8:c::${number.toString(16)}`, pop)
    })
    await this.clients.ip(
      made
        .map(
          ({ address4, address6 }) => `
        address add ${address4}/22 dev eth0
        address add ${address6}/64 dev eth0 nodad`,
        )
        .join(''),
    )
    await this.#rules('add', made, () => pop)
    return made
  }

  /** What BGP does: all that these clients send to the VIPs now goes to this PoP. */
  async move(clients: readonly Client[], to: PopNet): Promise<void> {
    const moving = clients.filter(({ pop }) => pop !== to)
    // The older of two rules holds until it goes.
    await this.#rules('add', moving, () => to)
    await this.#rules('del', moving, ({ pop }) => pop)
    for (const client of moving) {
      client.pop = to
      client.switches++
    }
  }

  async moveHome(clients: readonly Client[]): Promise<void> {
    for (const pop of this.pops) {
      await this.move(
        clients.filter(({ home }) => home === pop),
        pop,
      )
    }
  }

  /** Nothing reaches these clients any more, and nobody is told. */
  async silence(clients: readonly Client[]): Promise<void> {
    await this.internet.ip(blackholes('add', clients))
  }

  async hear(clients: readonly Client[]): Promise<void> {
    await this.internet.ip(blackholes('del', clients))
  }

  /** From now on one packet goes to one PoP and the next to the next, whatever the clients' routes. */
  async alternate(): Promise<void> {
    const next = `meta mark set numgen inc mod ${this.pops.length} offset 1`
    await this.internet.run(
      'nft',
      `table inet split {
        chain prerouting {
          type filter hook prerouting priority mangle;
          ip daddr ${VIP4} ${next}
          ip6 daddr ${VIP6} ${next}
        }
      }`,
    )
    await this.#ruleLines(
      this.pops.map(({ number, table }) => {
        return `rule add pref ${PREF_ALTERNATING} fwmark ${number} lookup ${table}`
      }),
    )
  }

  async stopAlternating(): Promise<void> {
    await this.#ruleLines(this.pops.map(() => `rule del pref ${PREF_ALTERNATING}`))
    await this.internet.run('nft', 'delete table inet split')
  }

  /** The two PoPs' machines no longer reach each other; clients reach both. */
  async part(one: PopNet, other: PopNet): Promise<void> {
    await this.#partition('add', one, other)
  }

  async join(one: PopNet, other: PopNet): Promise<void> {
    await this.#partition('del', one, other)
  }

  async #partition(verb: 'add' | 'del', one: PopNet, other: PopNet): Promise<void> {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      for (const [index, family] of ([4, 6] as const).entries()) {
        const where = `iif ${from.name} to ${to.lans[index]}`
        await this.internet.ip(`rule ${verb} pref ${PREF_PARTITION} ${where} blackhole`, family)
      }
    }
  }

  async #rules(
    verb: 'add' | 'del',
    clients: readonly Client[],
    popOf: (client: Client) => PopNet,
  ): Promise<void> {
    if (clients.length === 0) return
    const lines = (family: 4 | 6) =>
      clients
        .map((client) => {
          const { table } = popOf(client)
          return `rule ${verb} pref ${PREF_CLIENT} from ${client.newClient(family)} lookup ${table}`
        })
        .join('\n')
    await Promise.all([this.internet.ip(lines(4), 4), this.internet.ip(lines(6), 6)])
  }

  async #ruleLines(lines: readonly string[]): Promise<void> {
    for (const family of [4, 6] as const) await this.internet.ip(lines.join('\n'), family)
  }

  async #build(): Promise<void> {
    const { clients, internet, pops } = this
    const routers = [internet, ...pops.map(({ router }) => router)]
    const hosts = [clients, ...pops.flatMap(({ nodes, webs }) => [...nodes, ...webs])]
    await addMachines(hosts, routers)
    await clients.sysctls(SMALL_BUFFERS)
    await Promise.all(routers.map((router) => router.sysctls(FORWARDING)))
    await internet.ip(`
      link set lo up
      link add client type veth peer name eth0 netns ${clients.namespace}
      link set client up
      address add ${internet.address4}/22 dev client
      address add ${internet.address6}/64 dev client nodad
      ${pops.map(uplinkText).join('\n')}
    `)
    await joinNet(clients, internet, 22)
    for (const pop of pops) {
      await pop.router.ip(routerText(pop))
      const gateway = { address4: `10.${pop.number}.0.1`, address6: `2001:db8:${pop.number}::1` }
      await Promise.all([...pop.nodes, ...pop.webs].map((machine) => joinNet(machine, gateway)))
    }
  }
}

function popNet(name: string, number: number, { nodes, backends }: Shape): PopNet {
  const machine = (called: string, host: number) =>
    new Machine(`${name}-${called}`, `10.${number}.0.${host}`, `2001:db8:${number}::${host}`)
  const several = (count: number, called: string, first: number) =>
    Array.from({ length: count }, (_, at) => machine(`${called}${at + 1}`, first + at))
  return new PopNet(
    name,
    number,
    new Machine(`${name}-router`, `10.100.${number}.2`, `2001:db8:fe:${number}::2`),
    several(nodes, '', 11),
    several(backends, 'web-', 21),
  )
}

/** In the internet: the way to a PoP's router, and the table that leads its clients there. */
function uplinkText({ name, number, router, table, lans }: PopNet): string {
  return `
    link add ${name} type veth peer name uplink netns ${router.namespace}
    link set ${name} up
    address add 10.100.${number}.1/24 dev ${name}
    address add 2001:db8:fe:${number}::1/64 dev ${name} nodad
    route add ${lans[0]} via ${router.address4}
    route add ${lans[1]} via ${router.address6}
    route add default via ${router.address4} table ${table}
    route add default via ${router.address6} table ${table}`
}

function routerText({ number, router, nodes, webs }: PopNet): string {
  return `
    link set lo up
    link set uplink up
    address add ${router.address4}/24 dev uplink
    address add ${router.address6}/64 dev uplink nodad
    route add default via 10.100.${number}.1
    route add default via 2001:db8:fe:${number}::1
    route add blackhole ${VIP4}
    route add blackhole ${VIP6}
    ${lanText([...nodes, ...webs], number)}`
}

function blackholes(verb: 'add' | 'del', clients: readonly Client[]): string {
  return clients
    .map(
      ({ address4, address6 }) => `
      route ${verb} blackhole ${address4}
      route ${verb} blackhole ${address6}`,
    )
    .join('')
}
