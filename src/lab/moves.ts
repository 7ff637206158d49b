// Moves routes in mid-connection: plays the route events of a schedule against the lab's `internet`. Called by play.ts
// and pops.ts, one Moves per phase. Guarantees: one change of routes at a time, each counted by the clients' process just
// before it happens, nobody is moved to a withdrawn PoP, and reset() puts the routes back where they began.

import { ipBatch, ipLines } from './commands.js'
import type { Counts } from './counts.js'
import type { RouteEvent } from './events.js'
import {
  clientsOf,
  initialRouting,
  leavePop,
  moveCatchment,
  moveClient,
  popOfClient,
  type RouteChange,
  type Routing,
  resetRouting,
} from './routing.js'
import {
  type Client,
  holdAnswers,
  INTERNET_NAMESPACE,
  loseAnswers,
  splitClient,
  type Topology,
} from './topology.js'

/** For the SYN to arrive, and for its answer to be held or lost. */
const SYN_ON_ITS_WAY_MS = 150
/** For an answer that was held to arrive before its route goes. */
const ANSWER_ON_ITS_WAY_MS = 20

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const change = (lines: readonly string[]): Promise<void> =>
  ipBatch(lines, { namespace: INTERNET_NAMESPACE })

export class Moves {
  #routing: Routing
  #last: Promise<unknown> = Promise.resolve()
  readonly #withdrawn = new Set<number>()
  readonly #split = new Set<number>()

  constructor(
    private readonly topology: Topology,
    private readonly counts: Counts,
    private readonly say: (line: string) => void,
  ) {
    this.#routing = initialRouting(topology)
    if (topology.alternating !== undefined) this.#split.add(topology.alternating)
  }

  /** How many connections were alive on the clients that it moved. */
  play(event: RouteEvent): Promise<number> {
    return this.#exclusively(() => this.#now(event))
  }

  /** Which PoP a client reaches now; undefined: two in turn. */
  popOf(client: Client): number | undefined {
    return this.#split.has(client.id) ? undefined : popOfClient(this.#routing, client)
  }

  /** Who reaches this PoP now, perhaps with every other packet only. */
  clientsIn(pop: number): number[] {
    return this.topology.clients
      .filter((client) => (this.popOf(client) ?? pop) === pop)
      .map(({ id }) => id)
  }

  isWithdrawn(pop: number): boolean {
    return this.#withdrawn.has(pop)
  }

  async reset(): Promise<void> {
    await this.#exclusively(async () => {
      await ipLines(INTERNET_NAMESPACE, resetRouting(this.topology, this.#routing))
      const split = [...this.#split].filter((id) => id !== this.topology.alternating)
      for (const id of split) {
        await ipLines(INTERNET_NAMESPACE, splitClient('del', this.#client(id)))
        this.#split.delete(id)
      }
      this.#withdrawn.clear()
      this.#routing = initialRouting(this.topology)
    })
  }

  #now(event: RouteEvent): Promise<number> {
    switch (event.kind) {
      case 'catchment':
        return this.#moveCatchment(event.catchment, this.#target(event.pop))
      case 'client':
        return this.#apply(
          moveClient(this.#routing, this.#client(event.client), this.#target(event.pop)),
        )
      case 'handshake':
        return this.#splitHandshake(event)
      case 'split':
        return this.#splitForGood(event.clients)
      case 'withdraw':
        return this.#withdraw(event.pop)
      case 'announce':
        return this.#announce(event.pop)
    }
  }

  async #moveCatchment(catchment: number, pop: number): Promise<number> {
    const live = await this.#apply(moveCatchment(this.topology, this.#routing, catchment, pop))
    const clients = clientsOf(this.topology, catchment).length
    this.say(
      `catchment ${catchment} (${clients} client${clients === 1 ? '' : 's'}) moves to ` +
        `${this.#popName(pop)}, ${live} live connections with it`,
    )
    return live
  }

  async #withdraw(pop: number): Promise<number> {
    this.#withdrawn.add(pop)
    const others = this.topology.pops
      .map(({ number }) => number)
      .filter((number) => !this.#withdrawn.has(number))
    const live = await this.#apply(leavePop(this.topology, this.#routing, pop, others))
    this.say(`${this.#popName(pop)} withdraws, ${live} live connections arrive elsewhere`)
    return live
  }

  async #announce(pop: number): Promise<number> {
    this.#withdrawn.delete(pop)
    const live = await this.#apply(moveCatchment(this.topology, this.#routing, pop, pop))
    this.say(`${this.#popName(pop)} is announced again, ${live} live connections come back`)
    return live
  }

  async #splitForGood(clients: readonly number[]): Promise<number> {
    const live = await this.counts.moving(clients)
    for (const id of clients) {
      await ipLines(INTERNET_NAMESPACE, splitClient('add', this.#client(id)))
      this.#split.add(id)
    }
    const [first = '', second = ''] = this.topology.pops.map(({ name }) => name)
    this.say(
      `the packets of ${clients.length} clients alternate between ${first} and ${second}, ` +
        `${live} live connections with them`,
    )
    return live
  }

  /** The SYN goes to one PoP, and all that follows to another; its answer comes late, or is lost. */
  async #splitHandshake(event: Extract<RouteEvent, { kind: 'handshake' }>): Promise<number> {
    const client = this.#client(event.client)
    const { family, answer } = event
    const from = popOfClient(this.#routing, client)
    const to = this.#target(event.pop)
    const hold = holdAnswers(client, family)
    const late = answer === 'late'
    await change(late ? hold.begin : [loseAnswers('add', client, family)])
    this.counts.connect(client.id, family)
    await sleep(SYN_ON_ITS_WAY_MS)
    const live = await this.#apply(moveClient(this.#routing, client, to))
    if (late) {
      await change(hold.release)
      await sleep(ANSWER_ON_ITS_WAY_MS)
      await change(hold.end)
    } else {
      await change([loseAnswers('del', client, family)])
    }
    if (from !== to) {
      this.say(
        `client ${client.id} connects: SYN to ${this.#popName(from)}, ` +
          `${late ? 'ACK' : 'its answer lost, all else'} to ${this.#popName(to)}`,
      )
    }
    return live
  }

  /** How many connections are alive on the clients that it moved. */
  async #apply({ moved, lines, routing }: RouteChange): Promise<number> {
    const live = moved.length === 0 ? 0 : await this.counts.moving(moved)
    await ipLines(INTERNET_NAMESPACE, lines)
    this.#routing = routing
    return live
  }

  /** The next PoP that is announced. */
  #target(pop: number): number {
    if (!this.#withdrawn.has(pop)) return pop
    const announced = this.topology.pops
      .map(({ number }) => number)
      .filter((number) => !this.#withdrawn.has(number))
    return announced.find((number) => number > pop) ?? announced[0] ?? pop
  }

  #exclusively<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#last.then(step)
    this.#last = done.catch(() => undefined)
    return done
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
