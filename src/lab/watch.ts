// The count of the clients' connections: which live, what each is doing, which broke and why. Owned by clients.ts, fed
// by conversations.ts. Guarantees that every connection ends exactly once, as finished or as broken, and that one
// which makes no progress for the stall limit, while every PoP can be reached, is broken.

import {
  ACTIVITIES,
  type Activity,
  type BackendTally,
  type BrokenConnection,
  type Concerned,
  type Tally,
} from './messages.js'
import type { Family } from './topology.js'

export const MAX_SAMPLES = 8

/** One connection. */
export class Watch {
  activity: Activity = 'connecting'
  /** It lived while an event happened to it. */
  touched = false
  #backend = ''
  /** Resolves to whether the connection lived. */
  readonly ended: Promise<boolean>
  #lastProgress: number
  #resolve: (lived: boolean) => void = () => undefined
  #abort: () => void = () => undefined

  constructor(
    private readonly book: Book,
    readonly client: number,
    readonly family: Family,
  ) {
    this.#lastProgress = book.now()
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** What ends the connection's socket when it is given up. */
  onAbort(abort: () => void): void {
    this.#abort = abort
  }

  get backend(): string {
    return this.#backend
  }

  servedBy(backend: string): void {
    if (backend === '' || backend === this.#backend) return
    this.#backend = backend
    this.book.served(backend)
  }

  progress(bytes = 0): void {
    this.#proceed()
    this.book.addBytes(bytes)
  }

  turnTo(activity: Activity): void {
    this.#proceed()
    this.activity = activity
  }

  #proceed(): void {
    const now = this.book.now()
    this.book.paused(this.silentForMs(now))
    this.#lastProgress = now
  }

  /** Nothing is due on an idle connection. */
  silentForMs(now: number): number {
    return this.activity === 'idle' ? 0 : now - this.#lastProgress
  }

  succeed(): void {
    if (this.book.end(this, undefined)) this.#resolve(true)
  }

  fail(reason: string): void {
    if (!this.book.end(this, reason)) return
    this.#abort()
    this.#resolve(false)
  }
}

export class Book {
  #connections = 0
  #broken = 0
  #bytes = 0
  #switches = 0
  #touched = 0
  #longestPauseMs = 0
  /** Until when a PoP could not be reached: nothing before counts as a stall. */
  #reachableSince = 0
  #reachable = true
  readonly #served = new Map<string, number>()
  readonly #live = new Set<Watch>()
  readonly #switched = new Map<Activity, number>(ACTIVITIES.map((activity) => [activity, 0]))
  readonly #samples: BrokenConnection[] = []

  constructor(
    readonly now: () => number,
    private readonly stallMs: number,
  ) {}

  open(client: number, family: Family): Watch {
    const watch = new Watch(this, client, family)
    this.#connections++
    this.#live.add(watch)
    return watch
  }

  addBytes(bytes: number): void {
    this.#bytes += bytes
  }

  /** False when it had ended already. */
  end(watch: Watch, reason: string | undefined): boolean {
    if (!this.#live.delete(watch)) return false
    if (reason === undefined) return true
    this.#broken++
    this.paused(watch.silentForMs(this.now()))
    if (this.#samples.length < MAX_SAMPLES) {
      const { client, activity, family, backend } = watch
      this.#samples.push({ client, activity, family, backend, reason })
    }
    return true
  }

  breakStalled(): void {
    if (!this.#reachable) return
    const now = this.now()
    for (const watch of [...this.#live]) {
      if (Math.min(watch.silentForMs(now), now - this.#reachableSince) < this.stallMs) continue
      watch.fail(`no progress for ${this.stallMs / 1000} s`)
    }
  }

  /** False: a PoP has no live node, so that connections of its backends may stall. */
  setReachable(reachable: boolean): void {
    if (reachable && !this.#reachable) this.#reachableSince = this.now()
    this.#reachable = reachable
  }

  served(backend: string): void {
    this.#served.set(backend, (this.#served.get(backend) ?? 0) + 1)
  }

  paused(ms: number): void {
    this.#longestPauseMs = Math.max(this.#longestPauseMs, ms)
  }

  /** Counts the connections that an event happens to; returns how many live. */
  touch({ clients, backends }: Concerned): number {
    const [ofClients, onBackends] = [new Set(clients), new Set(backends)]
    const concerned = [...this.#live].filter(
      ({ client, backend }) => ofClients.has(client) || onBackends.has(backend),
    )
    for (const watch of concerned) {
      if (!watch.touched) this.#touched++
      watch.touched = true
    }
    return concerned.length
  }

  /** Counts the PoP switches of clients whose routes are about to move; returns how many connections that concerns. */
  moving(clients: readonly number[]): number {
    this.touch({ clients, backends: [] })
    const moving = new Set(clients)
    const concerned = [...this.#live].filter(({ client }) => moving.has(client))
    for (const { activity } of concerned) {
      this.#switched.set(activity, (this.#switched.get(activity) ?? 0) + 1)
    }
    this.#switches += new Set(concerned.map(({ client }) => client)).size
    return concerned.length
  }

  tally(): Tally {
    return {
      connections: this.#connections,
      alive: this.#live.size,
      broken: this.#broken,
      bytes: this.#bytes,
      switches: this.#switches,
      switched: Object.fromEntries(this.#switched) as Record<Activity, number>,
      touched: this.#touched,
      longestPauseMs: Math.round(this.#longestPauseMs),
      backends: this.#backends(),
      samples: [...this.#samples],
    }
  }

  #backends(): Record<string, BackendTally> {
    const tallies: Record<string, BackendTally> = {}
    for (const [backend, served] of this.#served) {
      const alive = [...this.#live].filter((watch) => watch.backend === backend).length
      tallies[backend] = { served, alive }
    }
    return tallies
  }
}
