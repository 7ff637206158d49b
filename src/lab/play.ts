// Plays the schedules of a phase, all at the same time and each in order, and counts what happened to how many living
// connections. Called by phase.ts. Guarantees that connections still have time left after the last event.

import type { Counts } from './counts.js'
import { type Happening, happeningOf, isOfNodes, type LabEvent } from './events.js'
import type { Happened } from './messages.js'
import type { Moves } from './moves.js'
import type { Pops } from './pops.js'

/** Connections go on for so long after the last event of a scenario, on a machine however slow. */
export const LEFT_AFTER_EVENTS_MS = 2_000
const EXTEND_EVERY_MS = 500

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export class Play {
  readonly #happened = new Map<Happening, Happened>()

  constructor(
    private readonly moves: Moves,
    private readonly pops: Pops,
    private readonly counts: Counts,
    /** False: a PoP has no nodes to which something could happen. */
    private readonly steadycast: boolean,
    /** From any moment of it to the end of the phase, at least. */
    private readonly leftMs: number,
  ) {}

  /** Resolves when the last event is over. */
  async run(tracks: readonly (readonly LabEvent[])[]): Promise<void> {
    const start = performance.now()
    const extend = (): void => this.counts.tell({ kind: 'extend', leftMs: this.leftMs })
    const timer = setInterval(extend, EXTEND_EVERY_MS)
    try {
      await Promise.all(tracks.map((track) => this.#track(track, start)))
      await this.pops.settled()
    } finally {
      clearInterval(timer)
    }
    extend()
  }

  happened(): Partial<Record<Happening, Happened>> {
    return Object.fromEntries(this.#happened)
  }

  async #track(events: readonly LabEvent[], start: number): Promise<void> {
    const handshakes: Promise<void>[] = []
    for (const event of events) {
      if (!this.steadycast && isOfNodes(event)) continue
      await sleep(Math.max(0, event.atMs - (performance.now() - start)))
      const over = this.#play(event)
      // A handshake takes its time, and the schedule goes on meanwhile.
      if (event.kind === 'handshake') handshakes.push(over)
      else await over
    }
    await Promise.all(handshakes)
  }

  async #play(event: LabEvent): Promise<void> {
    const live = await this.#happen(event)
    const kind = happeningOf(event)
    const { events, connections } = this.#happened.get(kind) ?? { events: 0, connections: 0 }
    this.#happened.set(kind, { events: events + 1, connections: connections + live })
  }

  #happen(event: LabEvent): Promise<number> {
    switch (event.kind) {
      case 'catchment':
      case 'client':
      case 'handshake':
      case 'split':
      case 'withdraw':
      case 'announce':
        return this.moves.play(event)
      case 'reshuffle':
      case 'crash':
      case 'restart':
      case 'backends':
        return this.pops.play(event)
    }
  }
}
