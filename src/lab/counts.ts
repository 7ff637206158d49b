// The clients' process as the rest of the lab talks to it during a phase: orders to it, and its answers, each to its own
// question. Made by phase.ts once per phase; used by moves.ts and pops.ts.

import type { BackendTally, Concerned, FromClients, Tally, ToClients } from './messages.js'
import type { Processes, Started } from './processes.js'
import type { Family } from './topology.js'

export class Counts {
  #asked = 0
  #tally: Tally | undefined
  readonly #listen = (message: FromClients): void => {
    if (message.kind === 'tally' || message.kind === 'done') this.#tally = message.tally
  }

  constructor(
    private readonly processes: Processes,
    private readonly clients: Started,
  ) {
    clients.child.on('message', this.#listen)
  }

  /** The last count that the clients told, a fraction of a second old. */
  get tally(): Tally | undefined {
    return this.#tally
  }

  backend(name: string): BackendTally {
    return this.#tally?.backends[name] ?? { served: 0, alive: 0 }
  }

  /** These clients' routes are about to move: how many of their connections are alive. */
  moving(clients: readonly number[]): Promise<number> {
    return this.#ask((id) => ({ kind: 'moving', id, clients }))
  }

  /** Something else is about to happen to these connections: how many are alive. */
  touching(concerned: Concerned): Promise<number> {
    return this.#ask((id) => ({ kind: 'touching', id, concerned }))
  }

  connect(client: number, family: Family): void {
    this.tell({ kind: 'connect', client, family })
  }

  tell(message: ToClients): void {
    this.clients.child.send(message)
  }

  close(): void {
    this.clients.child.off('message', this.#listen)
  }

  async #ask(question: (id: number) => ToClients): Promise<number> {
    const id = ++this.#asked
    const counted = this.processes.message<FromClients>(
      this.clients,
      (message) => message.kind === 'counted' && message.id === id,
    )
    this.tell(question(id))
    const answer = await counted
    return answer.kind === 'counted' ? answer.live : 0
  }
}
