// Debian's BIRD on machines of a test, and a small Internet of two transits with a PoP at each. Called by the test files.
//
//   client ---- t1 (AS 64501) ---- t2 (AS 64502)
//                |                  |
//               ams                nyc            both AS 64500, with deploy/bird.example.conf
//
// The transits choose best paths by BGP alone, honour 65535:0 (RFC 8326) and NO_EXPORT, and forward by what they chose.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type Running, until } from '../net.js'
import { addMachines } from './internet.js'
import { deployed, Machine } from './machine.js'

export const PREFIX4 = '198.51.100.0/24'
export const PREFIX6 = '2001:db8:100::/48'
export const VIP4 = '198.51.100.10'
export const VIP6 = '2001:db8:100::10'

export class Bird {
  running!: Running
  readonly socket: string
  readonly config: string

  private constructor(readonly machine: Machine) {
    this.socket = `/run/bird-${machine.name}.ctl`
    this.config = `/run/bird-${machine.name}.conf`
  }

  static async start(machine: Machine, config: string): Promise<Bird> {
    const bird = new Bird(machine)
    writeFileSync(bird.config, config)
    await bird.restart()
    return bird
  }

  /** After a kill as well. */
  async restart(): Promise<void> {
    this.running = this.machine.start('bird', '-f', '-c', this.config, '-s', this.socket)
    await until(
      `BIRD on ${this.machine.name}: ${this.running.stderr}`,
      async () => existsSync(this.socket) && (await this.ask('show status').catch(() => '')) !== '',
      this.running.ended,
    )
  }

  async ask(command: string): Promise<string> {
    return await this.machine.run('birdc', '-s', this.socket, command)
  }

  edit(change: (config: string) => string): void {
    writeFileSync(this.config, change(readFileSync(this.config, 'utf8')))
  }
}

/** The route that a router has chosen, as BIRD shows it with all attributes; nothing when it has none. */
export async function best(bird: Bird, prefix: string): Promise<string> {
  return await bird.ask(`show route primary all ${prefix}`).then(
    (text) => (text.includes(prefix) ? text : ''),
    () => '',
  )
}

export interface SmallInternet {
  readonly client: Machine
  readonly t1: Machine
  readonly t2: Machine
  readonly ams: Machine
  readonly nyc: Machine
  readonly transits: readonly [Bird, Bird]
}

const LINKS = [
  ['t1', 'client', 200],
  ['t1', 'ams', 1],
  ['t2', 'nyc', 2],
  ['t1', 't2', 12],
] as const

export async function makeInternet(): Promise<SmallInternet> {
  const machine = (name: string, net: number) =>
    new Machine(name, `10.${net}.0.11`, `2001:db8:${net}::11`)
  const [client, ams, nyc] = [machine('client', 200), machine('ams', 1), machine('nyc', 2)]
  const t1 = new Machine('t1', '10.12.0.1', '2001:db8:12::1')
  const t2 = new Machine('t2', '10.12.0.11', '2001:db8:12::11')
  await addMachines([client, ams, nyc], [t1, t2])
  const all = { client, ams, nyc, t1, t2 }
  for (const one of Object.values(all)) await one.ip('link set lo up')
  for (const [near, far, net] of LINKS) {
    await all[near].ip(`link add ${far} type veth peer name ${near} netns ${far}
      link set ${far} up
      address add 10.${net}.0.1/24 dev ${far}
      address add 2001:db8:${net}::1/64 dev ${far} nodad`)
    await all[far].ip(`link set ${near} up
      address add 10.${net}.0.11/24 dev ${near}
      address add 2001:db8:${net}::11/64 dev ${near} nodad`)
  }
  for (const [host, net] of [
    [client, 200],
    [ams, 1],
    [nyc, 2],
  ] as const) {
    await host.ip(`route add default via 10.${net}.0.1
      route add default via 2001:db8:${net}::1`)
  }
  for (const router of [t1, t2]) {
    await router.sysctls('net.ipv4.conf.all.forwarding=1\nnet.ipv6.conf.all.forwarding=1')
  }
  await t1.ip('route add 10.2.0.0/24 via 10.12.0.11\nroute add 2001:db8:2::/64 via 2001:db8:12::11')
  for (const net of ['1', '200']) {
    await t2.ip(`route add 10.${net}.0.0/24 via 10.12.0.1
      route add 2001:db8:${net}::/64 via 2001:db8:12::1`)
  }
  const transits = [
    await Bird.start(t1, transitConfig(1, '10.1.0.11', '2001:db8:1::11', '11')),
    await Bird.start(t2, transitConfig(2, '10.2.0.11', '2001:db8:2::11', '1')),
  ] as const
  return { ...all, transits }
}

function transitConfig(number: 1 | 2, customer4: string, customer6: string, other: string): string {
  const session = (name: string, neighbour: string, as: number, family: 4 | 6) => `
    protocol bgp ${name}_${family} {
      local as 6450${number};
      neighbor ${neighbour} as ${as};
      connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 9;
      ipv${family} { import filter from_neighbour; export where source = RTS_BGP; };
    }`
  return `
    router id 10.99.0.${number};
    protocol device {}
    protocol kernel { ipv4 { import none; export all; }; metric 64; }
    protocol kernel { ipv6 { import none; export all; }; metric 64; }
    filter from_neighbour {
      if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
      accept;
    }
    ${session('customer', customer4, 64500, 4)}
    ${session('customer', customer6, 64500, 6)}
    ${session('peer', `10.12.0.${other}`, 64503 - number, 4)}
    ${session('peer', `2001:db8:12::${other}`, 64503 - number, 6)}
  `
}

/** deploy/bird.example.conf with the addresses of this PoP. */
export async function popConfig(machine: Machine, stateDir: string): Promise<string> {
  const [net, as] = machine.name === 'ams' ? [1, 64501] : [2, 64502]
  const text = await deployed('bird.example.conf')
  const edits: readonly (readonly [string, string])[] = [
    ['192.0.2.11', machine.address4],
    ['192.0.2.1 ', `10.${net}.0.1 `],
    ['2001:db8:a::1', `2001:db8:${net}::1`],
    ['64501', String(as)],
    ['/run/steadycast*/', `${stateDir}*/`],
    ['log syslog all;', 'log stderr all;'],
    // The tests restart BIRD and do not wait as long as the Internet does.
    [
      'hold time 9;',
      'hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;',
    ],
  ]
  return edits.reduce((config, [from, to]) => {
    if (!config.includes(from)) throw new Error(`bird.example.conf has no ${from}`)
    return config.replaceAll(from, to)
  }, text)
}

/** The moments at which a machine's kernel changed its route for a prefix. */
export class RouteWatch {
  private constructor(readonly running: Running) {}

  static async start(machine: Machine): Promise<RouteWatch> {
    const watch = new RouteWatch(machine.start('ip', '-tshort', '-o', 'monitor', 'route'))
    // It listens when it has seen a change.
    await until('a watch', async () => {
      await machine.ip('route replace 203.0.113.1/32 dev lo\nroute del 203.0.113.1/32 dev lo')
      return watch.running.stdout.includes('203.0.113.1')
    })
    return watch
  }

  /** The first since then. */
  async movedMs(prefix: string, sinceMs: number): Promise<number> {
    const moments = () =>
      this.running.stdout
        .split('\n')
        .filter((line) => line.includes(` ${prefix} `))
        .map((line) => Date.parse(/^\[([^\]]+)\]/.exec(line)?.[1] ?? ''))
        .filter((ms) => ms >= sinceMs)
    await until(`a change of ${prefix}`, () => moments().length > 0)
    return Math.min(...moments())
  }
}
