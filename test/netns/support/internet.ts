// A client, a router and PoPs, as network namespaces. Called by the test files, inside the namespaces of isolate.ts. The
// machines of a PoP share a LAN; the router stands for the Internet: it has an address in each LAN, and one route for the
// VIPs, which it moves from machine to machine.
//
//   client 10.200.0.2 to .201 ---- 10.200.0.1 router 10.1.0.1 ---- LAN of ams: 10.1.0.11, 10.1.0.21, ...
//                                                    10.2.0.1 ---- LAN of nyc: 10.2.0.11, 10.2.0.21, ...

import { batch, Machine } from './machine.js'

export const VIP4 = '198.51.100.10'
export const VIP6 = '2001:db8:100::10'

const SETTINGS = `
  net.ipv4.conf.all.send_redirects = 0
  net.ipv4.conf.default.send_redirects = 0
  net.ipv6.conf.all.accept_dad = 0
  net.ipv6.conf.default.accept_dad = 0
  net.ipv6.conf.default.accept_ra = 0
`
/** What Debian ships: loose. A router in the middle of the Internet checks nothing. */
const reversePaths = (mode: 0 | 2): string => `
  net.ipv4.conf.all.rp_filter = ${mode}
  net.ipv4.conf.default.rp_filter = ${mode}
`
const FORWARDING = `
  net.ipv4.conf.all.forwarding = 1
  net.ipv6.conf.all.forwarding = 1
`
const CLIENT_ADDRESSES = 200
/** Routes of marked packets: those that a split sends elsewhere. */
const SPLIT_TABLE = 200

export class Internet {
  readonly client: Machine
  readonly router: Machine
  /** How often the VIPs' routes moved. */
  switches = 0
  #clients = 0

  private constructor(prefix: string) {
    this.client = new Machine(`${prefix}-client`, '10.200.0.2', '2001:db8:c::2')
    this.router = new Machine(`${prefix}-router`, '10.200.0.1', '2001:db8:c::1')
  }

  /** `lans`: the names of the machines of each PoP, whose addresses end in 11, 21, 31 and so on. */
  static async make(
    prefix: string,
    lans: readonly (readonly string[])[],
  ): Promise<{ readonly internet: Internet; readonly machines: readonly (readonly Machine[])[] }> {
    const internet = new Internet(prefix)
    const { client, router } = internet
    const machines = lans.map((names, index) =>
      names.map((name, at) => {
        const host = 11 + 10 * at
        const net = index + 1
        return new Machine(`${prefix}-${name}`, `10.${net}.0.${host}`, `2001:db8:${net}::${host}`)
      }),
    )
    await addMachines([client, ...machines.flat()], [router])
    await router.sysctls(FORWARDING)
    await router.ip(`
      link set lo up
      link add client type veth peer name eth0 netns ${client.namespace}
      link set client up
      address add 10.200.0.1/24 dev client
      address add 2001:db8:c::1/64 dev client nodad
      ${machines.map((lan, index) => lanText(lan, index + 1)).join('\n')}
    `)
    await joinNet(client, router)
    await client.ip(clientText())
    for (const [index, lan] of machines.entries()) {
      const gateway = { address4: `10.${index + 1}.0.1`, address6: `2001:db8:${index + 1}::1` }
      await Promise.all(lan.map((machine) => joinNet(machine, gateway)))
    }
    return { internet, machines }
  }

  /** An address that the client has not used yet. A port that is used again belongs to the connection before until its
   * closing is over, and tests that count connections could not tell. */
  newClient(family: 4 | 6): string {
    if (++this.#clients > CLIENT_ADDRESSES) throw new Error('the client has no more addresses')
    return clientAddresses(this.#clients)[family]
  }

  /** What BGP does: all packets for the VIPs now go to this machine. */
  async routeVips(to: Machine): Promise<void> {
    await this.router.ip(`
      route replace ${VIP4} via ${to.address4}
      route replace ${VIP6} via ${to.address6}
    `)
    this.switches++
  }

  /** From now on SYNs take a way of their own, whatever the routes of all else. */
  async routeSyns(to: Machine): Promise<void> {
    const isSyn = 'tcp flags & (syn | ack) == syn'
    const script = `table inet split {
      chain prerouting {
        type filter hook prerouting priority mangle;
        ip daddr ${VIP4} ${isSyn} meta mark set 1
        ip6 daddr ${VIP6} ${isSyn} meta mark set 1
      }
    }`
    await this.router.run('nft', script)
    await this.router.ip(`
      route add ${VIP4} via ${to.address4} table ${SPLIT_TABLE}
      route add ${VIP6} via ${to.address6} table ${SPLIT_TABLE}
    `)
    for (const family of ['-4', '-6']) {
      await this.router.run('ip', family, 'rule', 'add', 'fwmark', '1', 'lookup', `${SPLIT_TABLE}`)
    }
  }

  async routeSynsLikeAllElse(): Promise<void> {
    await this.router.run('nft', 'delete table inet split')
    for (const family of ['-4', '-6']) {
      await this.router.run('ip', family, 'rule', 'del', 'fwmark', '1', 'lookup', `${SPLIT_TABLE}`)
      await this.router.run('ip', family, 'route', 'flush', 'table', `${SPLIT_TABLE}`)
    }
  }

  /** Nothing reaches the client any more, and nobody is told. */
  async silenceClient(): Promise<void> {
    await this.router.ip(this.#silence('add'))
  }

  async hearClient(): Promise<void> {
    await this.router.ip(this.#silence('del'))
  }

  #silence(verb: 'add' | 'del'): string {
    return ['10.200.0.0/25', '10.200.0.128/25', '2001:db8:c::/65', '2001:db8:c::8000:0:0:0/65']
      .map((half) => `route ${verb} blackhole ${half}`)
      .join('\n')
  }
}

/** From 1; the first is the machine's own. */
function clientAddresses(number: number): { readonly 4: string; readonly 6: string } {
  return { 4: `10.200.0.${number + 1}`, 6: `2001:db8:c::${number + 1}` }
}

function clientText(): string {
  return Array.from({ length: CLIENT_ADDRESSES - 1 }, (_, index) => {
    const address = clientAddresses(index + 2)
    return `address add ${address[4]}/24 dev eth0
      address add ${address[6]}/64 dev eth0 nodad`
  }).join('\n')
}

/** Their namespaces. */
export async function addMachines(
  hosts: readonly Machine[],
  routers: readonly Machine[],
): Promise<void> {
  const all = [...hosts, ...routers]
  await batch(all.map(({ namespace }) => `netns add ${namespace}`).join('\n'))
  await Promise.all(
    all.map((machine) =>
      machine.sysctls(SETTINGS + reversePaths(routers.includes(machine) ? 0 : 2)),
    ),
  )
}

/** In the router: a bridge, with a port for each machine. */
export function lanText(lan: readonly Machine[], net: number): string {
  return `
    link add lan${net} type bridge mcast_snooping 0
    link set lan${net} up
    address add 10.${net}.0.1/24 dev lan${net}
    address add 2001:db8:${net}::1/64 dev lan${net} nodad
    ${lan
      .map(
        ({ namespace }, at) => `
    link add port${net}-${at} type veth peer name eth0 netns ${namespace}
    link set port${net}-${at} master lan${net} up`,
      )
      .join('\n')}`
}

export async function joinNet(
  machine: Machine,
  gateway: { readonly address4: string; readonly address6: string },
  bits4 = 24,
): Promise<void> {
  await machine.ip(`
    link set lo up
    link set eth0 up
    address add ${machine.address4}/${bits4} dev eth0
    address add ${machine.address6}/64 dev eth0 nodad
    route add default via ${gateway.address4}
    route add default via ${gateway.address6}
  `)
}
