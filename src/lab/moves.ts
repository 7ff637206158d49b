// Moves routes in mid-connection: replays a schedule against the lab's `internet`. Called by inner.ts, once per phase.
// Guarantees: one change of routes at a time, each counted by the clients' process just before it happens, and the
// routes are back where they began when the phase is over.

import { ipBatch, ipLines } from './commands.js'
import type { FromClients, ToClients } from './messages.js'
import type { Processes, Started } from './processes.js'
import {
  clientsOf,
  holdAnswers,
  initialRouting,
  moveCatchment,
  moveClient,
  popOfClient,
  type RouteChange,
  type Routing,
  resetRouting,
} from './routing.js'
import type { LabEvent } from './schedule.js'
import { type Client, INTERNET_NAMESPACE, type Topology } from './topology.js'

/** For the SYN to arrive, and for its answer to be lost. */
const SYN_ON_ITS_WAY_MS = 150

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export class Moves {
  #routing: Routing
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly topology: Topology,
    private readonly processes: Processes,
    private readonly clients: Started,
    private readonly say: (line: string) => void,
  ) {
    this.#routing = initialRouting(topology)
  }

  /** Resolves when the last event is over. */
  async play(events: readonly LabEvent[]): Promise<void> {
    const start = performance.now()
    const splits: Promise<void>[] = []
    for (const event of events) {
      await sleep(Math.max(0, event.atMs - (performance.now() - start)))
      if (event.kind === 'handshake') splits.push(this.#splitHandshake(event))
      else await this.#exclusively(() => this.#moveNow(event))
    }
    await Promise.all(splits)
  }

  async reset(): Promise<void> {
    await ipLines(INTERNET_NAMESPACE, resetRouting(this.topology, this.#routing))
    this.#routing = initialRouting(this.topology)
  }

  async #moveNow(event: Exclude<LabEvent, { kind: 'handshake' }>): Promise<void> {
    if (event.kind === 'client') {
      await this.#apply(moveClient(this.#routing, this.#client(event.client), event.pop))
      return
    }
    const { catchment, pop } = event
    const live = await this.#apply(moveCatchment(this.topology, this.#routing, catchment, pop))
    const clients = clientsOf(this.topology, catchment).length
    this.say(
      `catchment ${catchment} (${clients} client${clients === 1 ? '' : 's'}) moves to ` +
        `${this.#popName(pop)}, ${live} live connections with it`,
    )
  }

  /** The SYN goes to one PoP, its answer is held back, and all that follows goes to another. */
  async #splitHandshake(event: Extract<LabEvent, { kind: 'handshake' }>): Promise<void> {
    const client = this.#client(event.client)
    const hold = (action: 'add' | 'del'): Promise<void> =>
      ipBatch([holdAnswers(action, client, event.family)], { namespace: INTERNET_NAMESPACE })
    await this.#exclusively(async () => {
      const from = popOfClient(this.#routing, client)
      await hold('add')
      this.#tell({ kind: 'connect', client: client.id, family: event.family })
      await sleep(SYN_ON_ITS_WAY_MS)
      await this.#apply(moveClient(this.#routing, client, event.pop))
      await hold('del')
      if (from === event.pop) return
      this.say(
        `client ${client.id} connects: SYN to ${this.#popName(from)}, ACK to ${this.#popName(event.pop)}`,
      )
    })
  }

  /** How many connections are alive on the clients that it moved. */
  async #apply(change: RouteChange): Promise<number> {
    if (change.moved.length === 0) {
      await ipLines(INTERNET_NAMESPACE, change.lines)
      this.#routing = change.routing
      return 0
    }
    const counted = this.processes.message<FromClients>(
      this.clients,
      ({ kind }) => kind === 'counted',
    )
    this.#tell({ kind: 'moving', clients: change.moved })
    const answer = await counted
    await ipLines(INTERNET_NAMESPACE, change.lines)
    this.#routing = change.routing
    return answer.kind === 'counted' ? answer.live : 0
  }

  #exclusively<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#last.then(step)
    this.#last = done.catch(() => undefined)
    return done
  }

  #tell(message: ToClients): void {
    this.clients.child.send(message)
  }

  #client(id: number): Client {
    const client = this.topology.clients.find((candidate) => candidate.id === id)
    if (client === undefined) throw new RangeError(`no client ${id}`)
    return client
  }

  #popName(number: number): string {
    return this.topology.pops.find((pop) => pop.number === number)?.name ?? String(number)
  }
}
