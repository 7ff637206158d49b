// All clients of the lab: one process in the namespace `clients`, one source address per client and family. Started by
// processes.ts, told what to do by inner.ts (messages.ts). Guarantees: what it reports as broken is broken, what it
// reports as finished was checked to its last byte, and it ends when its parent does.

import { download, echo, idle, type Stream, type Talk, upload } from './conversations.js'
import type { FromClients, ToClients } from './messages.js'
import { type Random, seeded } from './random.js'
import type { Family } from './topology.js'
import type { ClientPlan, Role, TrafficPlan } from './traffic.js'
import { Book } from './watch.js'

const TALLY_EVERY_MS = 250
const TRY_LIMIT_MS = 5_000
/** After a broken connection, before the client tries again; doubled with each that breaks in a row. */
const RETRY_PAUSE_MS = 500
const MAX_RETRY_PAUSE_MS = 4_000
/** What is left of a phase is not worth another long connection. */
const SHORTEST_LONG_MS = 700
const SHORT_BYTES = 32 * 1024
const TRY_BYTES = 1024
const SILENCE_MS = [800, 2_500] as const
/** A long connection takes this part of the time that is left. */
const LONG_PART = [0.6, 1] as const

const now = (): number => performance.now()
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const tell = (message: FromClients): void => void process.send?.(message)

class Phase {
  readonly #random: Random
  #deadline: number
  readonly book: Book
  readonly #running = new Set<Promise<unknown>>()
  readonly #timer: NodeJS.Timeout
  #opened = 0

  constructor(
    private readonly traffic: TrafficPlan,
    seed: number,
    durationMs: number,
    stallMs: number,
  ) {
    this.#random = seeded(seed)
    this.#deadline = now() + durationMs
    this.book = new Book(now, stallMs)
    this.#timer = setInterval(() => {
      this.book.breakStalled()
      tell({ kind: 'tally', tally: this.book.tally() })
    }, TALLY_EVERY_MS)
  }

  /** Until all connections have ended. */
  async run(): Promise<void> {
    for (const client of this.traffic.clients) {
      for (const role of rolesOf(client)) this.#keep(this.#play(client, role))
    }
    while (this.#leftMs() > 0) await sleep(this.#leftMs())
    while (this.#running.size > 0) await Promise.all(this.#running)
    clearInterval(this.#timer)
    tell({ kind: 'done', tally: this.book.tally() })
  }

  extend(leftMs: number): void {
    this.#deadline = Math.max(this.#deadline, now() + leftMs)
  }

  connect(id: number, family: Family): void {
    const client = this.traffic.clients.find((candidate) => candidate.id === id)
    if (client === undefined) throw new RangeError(`no client ${id}`)
    this.#keep(download(this.#talk(client, family), { length: SHORT_BYTES, rate: 0 }, 'requesting'))
  }

  async #play(client: ClientPlan, role: Exclude<Role, 'all'>): Promise<void> {
    let pauseMs = RETRY_PAUSE_MS
    for (let turn = client.id; this.#leftMs() > SHORTEST_LONG_MS; turn++) {
      const talk = this.#talk(client, turn % 2 === 0 ? 4 : 6)
      if (await this.#converse(talk, role)) {
        pauseMs = RETRY_PAUSE_MS
        if (role === 'short') await sleep(this.traffic.shortPauseMs)
      } else {
        await sleep(Math.min(pauseMs, Math.max(0, this.#leftMs())))
        pauseMs = Math.min(2 * pauseMs, MAX_RETRY_PAUSE_MS)
      }
    }
  }

  #converse(talk: Talk, role: Exclude<Role, 'all'>): Promise<boolean> {
    switch (role) {
      case 'download':
        return download(talk, this.#long(this.traffic.downloadRate), 'downloading')
      case 'half-closed':
        return download(talk, this.#long(this.traffic.downloadRate), 'half-closed')
      case 'upload':
        return upload(talk, this.#long(this.traffic.uploadRate))
      case 'echo':
        return echo(talk, this.#long(this.traffic.echoRate))
      case 'idle':
        return idle(
          talk,
          SHORT_BYTES,
          () => sleep(Math.min(this.#random.int(...SILENCE_MS), Math.max(0, this.#leftMs()))),
          () => this.#leftMs() <= 0,
        )
      // A handshake client speaks when the schedule says so (connect), and briefly in between.
      case 'handshake':
      case 'short':
        return download(talk, { length: this.#random.int(1, SHORT_BYTES), rate: 0 }, 'requesting')
    }
  }

  #long(rate: number): Stream {
    const [low, high] = LONG_PART
    const lastsMs = this.#leftMs() * (low + (high - low) * this.#random.next())
    return { length: Math.max(1, Math.ceil((rate * lastsMs) / 1000)), rate }
  }

  #talk(client: ClientPlan, family: Family): Talk {
    const localAddress = family === 4 ? client.address4 : client.address6
    const seed = client.id * 1_000_000 + this.#opened++
    return { book: this.book, client: client.id, family, localAddress, seed }
  }

  #keep(running: Promise<unknown>): void {
    this.#running.add(running)
    void running.finally(() => this.#running.delete(running))
  }

  #leftMs(): number {
    return this.#deadline - now()
  }
}

function rolesOf({ role }: ClientPlan): readonly Exclude<Role, 'all'>[] {
  if (role === 'handshake') return []
  return role === 'all' ? ['download', 'upload', 'echo', 'short', 'half-closed', 'idle'] : [role]
}

/** Empty, or what did not work. */
async function tryVips(traffic: TrafficPlan, ids: readonly number[]): Promise<string> {
  const book = new Book(now, TRY_LIMIT_MS)
  const timer = setInterval(() => book.breakStalled(), TALLY_EVERY_MS)
  const clients = traffic.clients.filter(({ id }) => ids.includes(id))
  await Promise.all(
    clients.flatMap((client) =>
      ([4, 6] as const).map((family) => {
        const localAddress = family === 4 ? client.address4 : client.address6
        const talk = { book, client: client.id, family, localAddress, seed: client.id }
        return download(talk, { length: TRY_BYTES, rate: 0 }, 'requesting')
      }),
    ),
  )
  clearInterval(timer)
  return book
    .tally()
    .samples.map(({ client, family, reason }) => `client ${client}, IPv${family}: ${reason}`)
    .join('; ')
}

let phase: Phase | undefined

const answer = (id: number, live = 0): void => tell({ kind: 'counted', id, live })

function obey(message: ToClients): void {
  switch (message.kind) {
    case 'try':
      void tryVips(message.traffic, message.clients).then((error) => tell({ kind: 'tried', error }))
      return
    case 'start':
      phase = new Phase(message.traffic, message.seed, message.durationMs, message.stallMs)
      void phase.run()
      return
    case 'moving':
      answer(message.id, phase?.book.moving(message.clients))
      return
    case 'touching':
      answer(message.id, phase?.book.touch(message.concerned))
      return
    case 'reachable':
      phase?.book.setReachable(message.reachable)
      return
    case 'extend':
      phase?.extend(message.leftMs)
      return
    case 'connect':
      phase?.connect(message.client, message.family)
  }
}

process.on('message', obey)
process.on('disconnect', () => process.exit(0))
tell({ kind: 'ready' })
