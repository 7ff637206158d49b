// The inside of the lab's PoPs during a phase: nodes that die, restart and come back, the routers' hops, the fleet file.
// Called by play.ts, one Pops per phase. Guarantees: a node's route goes when its process is gone, within the time that
// BFD takes, and comes back when its /healthz says ok; reset() leaves all as it was at the start.

import { type BackendSet, changeBackends, initialBackends } from './backend-set.js'
import { ipBatch } from './commands.js'
import type { Counts } from './counts.js'
import type { BackendChange, NodePlace, PopEvent } from './events.js'
import type { FleetFile } from './fleet-text.js'
import type { LivePop, NodeState } from './messages.js'
import type { Moves } from './moves.js'
import type { Processes } from './processes.js'
import { type Hop, type Host, machinesOf, type Pop, type Topology, vipRoutes } from './topology.js'

/** From the death of a node to the end of its route: BFD, three times 300 ms. */
const DETECTION_MS = 900
/** From there to its new start: systemd's RestartSec is a second. */
const RESTART_MS = 300
/** Of a restart in order: for what is on its way to the node when its route goes. */
const ROUTE_GONE_MS = 300
/** A new fleet file reaches the first node at once and the last one this much later. */
const ROLLOUT_MS = 1_500
/** Its share of new connections is one of some. */
const FIRST_CONNECTION_LIMIT_MS = 10_000
const LOOK_EVERY_MS = 100

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface NodeHere {
  readonly pop: Pop
  readonly host: Host
  state: NodeState
  routed: boolean
  /** Of the fleet file that it has read. */
  generation: number
}

interface PopHere {
  readonly pop: Pop
  readonly nodes: readonly NodeHere[]
  backends: BackendSet
  reshuffles: number
  /** Withdrawn because its last node was gone. */
  lost: boolean
}

export class Pops {
  readonly #pops: readonly PopHere[]
  readonly #added: string[] = []
  #generation = 0
  #writing: Promise<unknown> = Promise.resolve()

  constructor(
    topology: Topology,
    private readonly processes: Processes,
    private readonly fleetFile: FleetFile,
    private readonly moves: Moves,
    private readonly counts: Counts,
    private readonly say: (line: string) => void,
    /** False: each router hashes over its PoP's backends. */
    private readonly steadycast: boolean,
  ) {
    this.#pops = topology.pops.map((pop) => ({
      pop,
      nodes: pop.nodes.map((host) => ({ pop, host, state: 'up', routed: true, generation: 0 })),
      backends: initialBackends(pop),
      reshuffles: 0,
      lost: false,
    }))
  }

  /** How many connections were alive that it happened to. */
  play(event: PopEvent): Promise<number> {
    switch (event.kind) {
      case 'reshuffle':
        return this.#reshuffle(this.#pop(event.pop))
      case 'crash':
        return this.#crash(event.nodes.map((place) => this.#node(place)))
      case 'restart':
        return this.#restart(event.nodes.map((place) => this.#node(place)))
      case 'backends':
        return this.#changeBackends(event.change, event.hup)
    }
  }

  /** Before a phase: every router sends the VIPs where this phase wants them. */
  async route(): Promise<void> {
    await Promise.all(this.#pops.map((here) => this.#write(here)))
  }

  async reset(): Promise<void> {
    for (const here of this.#pops) {
      here.backends = initialBackends(here.pop)
      here.reshuffles = 0
    }
    if (this.#generation > 0) this.#publish()
    this.#hup(this.#nodes())
    await this.route()
  }

  /** Resolves when new backends have had their first connections, or after a while all the same. */
  async settled(): Promise<void> {
    const end = performance.now() + FIRST_CONNECTION_LIMIT_MS
    while (this.unserved().length > 0 && performance.now() < end) await sleep(LOOK_EVERY_MS)
  }

  /** Backends that were added and that no connection has reached. */
  unserved(): string[] {
    return this.#added.filter((name) => this.counts.backend(name).served === 0)
  }

  live(): LivePop[] {
    return this.#pops.map(({ pop, nodes, backends }) => ({
      number: pop.number,
      name: pop.name,
      announced: !this.moves.isWithdrawn(pop.number),
      nodes: nodes.map(({ host, state }) => ({ name: host.name, state })),
      backends: machinesOf(pop).map((host) => ({
        name: host.name,
        weight: backends.configured.find((one) => one.host === host)?.weight,
        alive: this.counts.backend(host.name).alive,
      })),
    }))
  }

  async #reshuffle(here: PopHere): Promise<number> {
    const live = await this.counts.touching({
      clients: this.moves.clientsIn(here.pop.number),
      backends: [],
    })
    here.reshuffles++
    await this.#write(here)
    const hops = nodeHops(here).map(({ host }) => host.name)
    this.say(`${here.pop.name} spreads over ${hops.join(', ')}, ${live} live connections there`)
    return live
  }

  async #crash(nodes: readonly NodeHere[]): Promise<number> {
    const live = await this.#touchPops(nodes)
    this.say(`kill -9 of ${names(nodes)}, ${live} live connections in their PoPs`)
    for (const node of nodes) node.state = 'dead'
    this.#tellReachable()
    await Promise.all(nodes.map(({ host }) => this.processes.stopNode(host, 'SIGKILL')))
    await sleep(DETECTION_MS)
    await this.#setRouted(nodes, false)
    await sleep(RESTART_MS)
    await this.#start(nodes)
    return live
  }

  async #restart(nodes: readonly NodeHere[]): Promise<number> {
    const live = await this.#touchPops(nodes)
    this.say(`${names(nodes)} restart in order, ${live} live connections in their PoPs`)
    for (const node of nodes) node.state = 'stopping'
    await this.#setRouted(nodes, false)
    await sleep(ROUTE_GONE_MS)
    await Promise.all(nodes.map(({ host }) => this.processes.stopNode(host, 'SIGTERM')))
    await this.#start(nodes)
    return live
  }

  async #start(nodes: readonly NodeHere[]): Promise<void> {
    const begun = performance.now()
    await Promise.all(
      nodes.map(async (node) => {
        node.state = 'starting'
        node.generation = this.#generation
        await this.processes.startNode(node.host)
        node.state = 'up'
        await this.#setRouted([node], true)
        // The file may have changed while it started.
        this.#hup([node])
      }),
    )
    this.#tellReachable()
    const seconds = ((performance.now() - begun) / 1000).toFixed(1)
    this.say(`${names(nodes)} up again, ${seconds} s after the new start`)
  }

  async #changeBackends(change: BackendChange, hup: boolean): Promise<number> {
    const changed = this.#pops.map((here) => ({
      here,
      ...changeBackends(here.pop, here.backends, change, (name) => this.counts.backend(name).alive),
    }))
    const concerned = changed.flatMap((one) => one.concerned)
    const live = await this.counts.touching({ clients: [], backends: concerned })
    for (const { here, set } of changed) here.backends = set
    this.say(`${changed.map(({ text }) => text).join(', ')}; ${live} live connections there`)
    if (change === 'add') {
      this.#added.push(...this.#pops.flatMap(({ pop }) => pop.spares.map(({ name }) => name)))
    }
    if (!this.steadycast) {
      await this.route()
      return live
    }
    this.#publish()
    if (!hup) return live
    const nodes = this.#nodes()
    for (const [index, node] of nodes.entries()) {
      if (index > 0) await sleep(ROLLOUT_MS / (nodes.length - 1))
      this.#hup([node])
    }
    return live
  }

  #publish(): void {
    this.#generation++
    this.fleetFile.write((pop) => this.#pop(pop.number).backends.configured)
  }

  #hup(nodes: readonly NodeHere[]): void {
    for (const node of nodes) {
      if (node.state !== 'up' || node.generation === this.#generation) continue
      node.generation = this.#generation
      this.processes.reloadNode(node.host)
    }
  }

  /** A PoP whose last node is gone withdraws; it is announced again with the first that is back. */
  async #setRouted(nodes: readonly NodeHere[], routed: boolean): Promise<void> {
    for (const node of nodes) node.routed = routed
    for (const { number } of new Set(nodes.map(({ pop }) => pop))) {
      const here = this.#pop(number)
      const served = here.nodes.some((node) => node.routed)
      const leaves = !served && !this.moves.isWithdrawn(number)
      const returns = served && here.lost
      here.lost = !served && (here.lost || leaves)
      if (leaves) await this.moves.play({ kind: 'withdraw', atMs: 0, pop: number })
      await this.#write(here)
      if (returns) await this.moves.play({ kind: 'announce', atMs: 0, pop: number })
    }
  }

  #touchPops(nodes: readonly NodeHere[]): Promise<number> {
    const pops = [...new Set(nodes.map(({ pop }) => pop))]
    return this.counts.touching({
      clients: pops.flatMap(({ number }) => this.moves.clientsIn(number)),
      backends: pops.flatMap((pop) => machinesOf(pop).map(({ name }) => name)),
    })
  }

  #tellReachable(): void {
    const reachable = this.#pops.every(({ nodes }) => nodes.some(({ state }) => state === 'up'))
    this.counts.tell({ kind: 'reachable', reachable })
  }

  /** One router at a time, so that the last word is the newest. */
  #write(here: PopHere): Promise<void> {
    const done = this.#writing.then(() =>
      ipBatch(vipRoutes(this.steadycast ? nodeHops(here) : backendHops(here)), {
        namespace: here.pop.namespace,
      }),
    )
    this.#writing = done.catch(() => undefined)
    return done
  }

  #nodes(): readonly NodeHere[] {
    return this.#pops.flatMap(({ nodes }) => nodes)
  }

  #pop(number: number): PopHere {
    const here = this.#pops.find(({ pop }) => pop.number === number)
    if (here === undefined) throw new RangeError(`no PoP ${number}`)
    return here
  }

  #node(place: NodePlace): NodeHere {
    const node = this.#pop(place.pop).nodes[place.node]
    if (node === undefined) throw new RangeError(`no node ${place.node} in PoP ${place.pop}`)
    return node
  }
}

const names = (nodes: readonly NodeHere[]): string => nodes.map(({ host }) => host.name).join(', ')

/** Each reshuffle is another order, or a part, of the nodes that have a route. */
function nodeHops({ nodes, reshuffles }: PopHere): Hop[] {
  const routed = nodes.filter((node) => node.routed).map(({ host }) => ({ host, weight: 1 }))
  switch (reshuffles % 4) {
    case 1:
      return routed.reverse()
    case 2:
      return routed.slice(0, 1)
    case 3:
      return routed.slice(-1)
    default:
      return routed
  }
}

function backendHops({ backends }: PopHere): Hop[] {
  return backends.configured.filter(({ weight }) => weight > 0)
}
