// The fleet of the failure matrix: nodes and backends as processes on the machines of anycast.ts, and what happens to them.
// Called by the matrix's files. Guarantees: a node that has died is withdrawn by its PoP's router soon, as BFD would see to
// it, and announced again once /healthz says ok, never before.

import type { Anycast, PopNet } from './anycast.js'
import { ECHO_PORT, startEchoServer } from './echo.js'
import { VIP4, VIP6 } from './internet.js'
import { deployed, type Machine } from './machine.js'
import type { Metrics } from './metrics.js'
import { type Nginx, startNginx } from './nginx.js'
import { newHashSeed, newKey, Steadycast, writeFleet, writeKeys } from './steadycast.js'
import { sleep, WWW } from './traffic.js'

/** From a node's death to the end of its route: BFD with three times 100 ms. */
const DETECTION_MS = 300

const USUAL_WEIGHT = 10

/** A node's machine, and the process that is the node now. */
export class NodeSide {
  #steadycast: Steadycast | undefined

  constructor(
    readonly machine: Machine,
    readonly pop: PopNet,
  ) {}

  get name(): string {
    return this.machine.name
  }

  get steadycast(): Steadycast {
    if (this.#steadycast === undefined) throw new Error(`${this.name} does not run`)
    return this.#steadycast
  }

  async start(): Promise<void> {
    this.#steadycast = await Steadycast.run(this.machine, this.name)
    await this.#steadycast.healthy()
    await this.pop.announce(this.machine)
  }

  /** Until somebody has noticed, packets come here and meet silence. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const stopped = this.steadycast.stop(signal)
    this.#steadycast = undefined
    await stopped
    await sleep(DETECTION_MS)
    await this.pop.withdraw(this.machine)
  }
}

export interface WebSide {
  readonly machine: Machine
  readonly pop: PopNet
  readonly nginx: Nginx
  readonly steadycast: Steadycast
}

export class TestFleet {
  readonly nodes: readonly NodeSide[]
  webs: readonly WebSide[] = []
  /** What the file says of backends: take effect by write() and reload(). */
  readonly weights = new Map<WebSide, number>()
  readonly removed = new Set<WebSide>()
  key = newKey(1)
  readonly #hashSeed = newHashSeed()

  constructor(
    readonly anycast: Anycast,
    /** Of the machines' addresses: what GUE travels in. */
    readonly outer: 4 | 6,
  ) {
    this.nodes = anycast.pops.flatMap((pop) =>
      pop.nodes.map((machine) => new NodeSide(machine, pop)),
    )
  }

  async start(): Promise<void> {
    writeKeys(this.key)
    this.write()
    const sysctls = await deployed('sysctl-steadycast.conf')
    await Promise.all(this.nodes.map(({ machine }) => machine.sysctls(sysctls)))
    for (const pop of this.anycast.pops) {
      const webs = pop.webs.map((machine) => startWeb(machine, pop))
      this.webs = [...this.webs, ...(await Promise.all(webs))]
    }
    await Promise.all(this.nodes.map((node) => node.start()))
    await this.whole()
  }

  nodesOf(pop: PopNet): readonly NodeSide[] {
    return this.nodes.filter((node) => node.pop === pop)
  }

  websOf(pop: PopNet): readonly WebSide[] {
    return this.webs.filter((web) => web.pop === pop)
  }

  /** Every node answers, and knows all that the others know. */
  async whole(): Promise<void> {
    await Promise.all(
      this.nodes.map(async ({ steadycast }) => {
        await steadycast.healthy()
        await steadycast.certain()
      }),
    )
  }

  /** Client address -> backend, of all connections to nginx that are established there. */
  async placement(): Promise<ReadonlyMap<string, WebSide>> {
    const found = new Map<string, WebSide>()
    const filter = ['state', 'established', 'sport', '=', ':80']
    await Promise.all(
      this.webs.map(async (web) => {
        const text = await web.machine.run('ss', '-Htn', ...filter)
        for (const [, address = ''] of text.matchAll(/(\S+):\d+\s*$/gm)) {
          found.set(address.replace(/^\[(?:::ffff:)?(.*)\]$/, '$1'), web)
        }
      }),
    )
    return found
  }

  /** As the operator's tool would have put it on every machine; nobody reads it before being told. */
  write(): void {
    this.#write()
  }

  #write(weight?: string): void {
    const address = ({ address4, address6 }: Machine) =>
      this.outer === 4 ? address4 : `"${address6}"`
    const called = (machine: Machine) => `name: ${machine.name}, address: ${address(machine)}`
    const nodes = (pop: PopNet) => pop.nodes.map((node) => `{ ${called(node)} }`).join(', ')
    const backends = (pop: PopNet) =>
      pop.webs
        .filter((machine) => ![...this.removed].some((web) => web.machine === machine))
        .map((machine) => `{ ${called(machine)}, weight: ${weight ?? this.#weightOf(machine)} }`)
        .join(', ')
    writeFleet(
      this.anycast.pops
        .map(
          (pop) => `    - name: ${pop.name}
      nodes: [${nodes(pop)}]
      backends: [${backends(pop)}]`,
        )
        .join('\n'),
      `  - { name: web, vip: ${VIP4}, ports: [80, ${ECHO_PORT}], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [80, ${ECHO_PORT}], protocol: tcp }`,
      this.#hashSeed,
    )
  }

  /** A file that says what nobody can do. */
  breakFile(): void {
    this.#write('many')
  }

  /** The nodes read it one after the other, and for a while differ. */
  async reload(): Promise<void> {
    for (const { steadycast } of this.nodes) await steadycast.reload()
  }

  #weightOf(machine: Machine): number {
    return [...this.weights].find(([web]) => web.machine === machine)?.[1] ?? USUAL_WEIGHT
  }
}

async function startWeb(machine: Machine, pop: PopNet): Promise<WebSide> {
  const [nginx, steadycast] = await Promise.all([
    startNginx(machine, machine.name, WWW),
    Steadycast.backend(machine, machine.name),
    startEchoServer(machine),
  ])
  return { machine, pop, nginx, steadycast }
}

/** Of all nodes: counters, and whose they are. */
export type Reading = ReadonlyMap<NodeSide, { readonly of: Steadycast; readonly metrics: Metrics }>

export async function readNodes(fleet: TestFleet): Promise<Reading> {
  return new Map(
    await Promise.all(
      fleet.nodes.map(async (node) => {
        const of = node.steadycast
        return [node, { of, metrics: await of.metrics() }] as const
      }),
    ),
  )
}

/** A process that began since then has counted from zero. */
export function growthOf(before: Reading, after: Reading): ReadonlyMap<NodeSide, Metrics> {
  return new Map(
    [...after].map(([node, { of, metrics }]) => {
      const earlier = before.get(node)
      return [node, earlier?.of === of ? metrics.since(earlier.metrics) : metrics]
    }),
  )
}
