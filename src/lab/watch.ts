// The count of the clients' connections: which live, what each is doing, which broke and why. Owned by clients.ts, fed
// by conversations.ts. Guarantees that every connection ends exactly once, as finished or as broken, and that one
// which makes no progress for the stall limit is broken.

import { ACTIVITIES, type Activity, type BrokenConnection, type Tally } from './messages.js'
import type { Family } from './topology.js'

export const MAX_SAMPLES = 8

/** One connection. */
export class Watch {
  activity: Activity = 'connecting'
  backend = ''
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

  progress(bytes = 0): void {
    this.#lastProgress = this.book.now()
    this.book.addBytes(bytes)
  }

  turnTo(activity: Activity): void {
    this.activity = activity
    this.#lastProgress = this.book.now()
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
    if (this.#samples.length < MAX_SAMPLES) {
      const { client, activity, family, backend } = watch
      this.#samples.push({ client, activity, family, backend, reason })
    }
    return true
  }

  breakStalled(): void {
    const now = this.now()
    for (const watch of [...this.#live]) {
      if (watch.silentForMs(now) < this.stallMs) continue
      watch.fail(`no progress for ${this.stallMs / 1000} s`)
    }
  }

  /** Counts the PoP switches of clients whose routes are about to move; returns how many connections that concerns. */
  moving(clients: readonly number[]): number {
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
      samples: [...this.#samples],
    }
  }
}
