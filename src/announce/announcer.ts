// Keeps the routing daemon at what the rules say. Started by the verb `run` (src/cli/node-announce.ts) before there is a
// device, so that what an earlier life left is withdrawn first. Guarantees: the daemon is told one thing at a time, again
// until it does as told; whatever goes wrong with it is in the report and, once, in the log; a stop withdraws.

import { isDeepStrictEqual } from 'node:util'
import type { Announce } from '../fleet/announce.js'
import { Bird, type BirdOptions, silenceOf } from './bird.js'
import { Exec, type ExecOptions, execSilenceOf } from './exec.js'
import { Guard } from './guard.js'
import { readMemories, writeMemories } from './memory-file.js'
import type { AnnounceInputs, AnnounceReport, PrefixReport } from './report.js'
import { attributesOf, type Daemon, type Route, routesOf } from './route.js'
import { afterDeath, FRESH, look, type PrefixMemory } from './rules.js'
import type { Silence } from './silence.js'

/** How often the inputs are looked at when nobody says that they have changed. */
const LOOK_MS = 200
const RETRY_MS = 500
const MAX_RETRY_MS = 5_000
/** A daemon that does not answer keeps a node neither from starting nor from stopping. */
const START_LIMIT_MS = 6_000
const STOP_LIMIT_MS = 4_000
/** What is on its way here meanwhile still gets through. */
const LINGER_MS = 1_000

export interface AnnouncerLog {
  info(message: string): void
  warn(message: string): void
}

export interface AnnouncerOptions {
  readonly node: string
  readonly pop: string
  readonly device: string
  /** The file that BIRD includes. */
  readonly include: string
  /** What outlives the process. */
  readonly memory: string
  readonly log: AnnouncerLog
}

interface Told {
  readonly announce: Announce
  readonly daemon: Daemon
  readonly silence: (routes: readonly Route[]) => Silence
}

export class Announcer {
  readonly #memories = new Map<string, PrefixMemory>()
  #told: Told | undefined
  #inputs: (() => AnnounceInputs) | undefined
  #reports: readonly PrefixReport[] = []
  #trouble: string | undefined
  /** By the daemon; undefined: nobody knows what it does. */
  #taken: readonly Route[] | undefined
  #failures = 0
  #running: Promise<void> | undefined
  #again = false
  #stopped = false
  #wasUp = false
  #timer: NodeJS.Timeout | undefined
  #looks: NodeJS.Timeout | undefined
  readonly #guard: Guard

  constructor(readonly options: AnnouncerOptions) {
    const { log } = options
    this.#guard = new Guard({
      warn: (message) => log.warn(message),
      withdrew: () => {
        log.warn('this process stood still for seconds: its announcements were withdrawn meanwhile')
        this.#told?.daemon.forget()
        this.#taken = undefined
        this.#tell()
      },
    })
  }

  /** Resolves when what an earlier life left is withdrawn, or the daemon could not be told so. */
  async start(announce: Announce | undefined): Promise<void> {
    if (announce !== undefined) {
      const nowMs = Date.now()
      for (const [prefix, memory] of readMemories(this.options.memory)) {
        if (!announce.prefixes.some((one) => one.prefix === prefix)) continue
        this.#memories.set(prefix, afterDeath(memory, announce, nowMs))
      }
    }
    this.adopt(announce)
    await within(START_LIMIT_MS, this.#running ?? Promise.resolve())
  }

  /** What follows from the inputs goes out from now on. */
  serve(inputs: () => AnnounceInputs): void {
    this.#inputs = inputs
    this.#looks = setInterval(() => this.changed(), LOOK_MS)
    this.changed()
  }

  /** Another configuration. */
  adopt(announce: Announce | undefined): void {
    const before = this.#told
    if (isDeepStrictEqual(before?.announce, announce)) return
    const gone = this.#routes().filter(
      ({ prefix }) => !announce?.prefixes.some((one) => one.prefix === prefix),
    )
    const moved = !isDeepStrictEqual(before?.announce.daemon, announce?.daemon)
    const left = moved ? this.#routes() : gone
    for (const { prefix } of gone) this.#memories.delete(prefix)
    const told = announce === undefined ? undefined : toldOf(announce, this.options)
    this.#told = told
    this.#look()
    if (told !== undefined) this.#guard.watch(told.silence(this.#routes()))
    // BIRD forgets by its new include what is only gone from it.
    if (
      before === undefined ||
      left.length === 0 ||
      (!moved && told?.announce.daemon.kind === 'bird')
    ) {
      this.#tell()
    } else void this.#retire(before.daemon, left).then(() => this.#tell())
  }

  /** Something of the inputs is not what it was. */
  changed(): void {
    if (this.#look()) this.#tell()
  }

  report(): AnnounceReport {
    const done = isDeepStrictEqual(this.#taken, this.#routes())
    return { prefixes: this.#reports, trouble: this.#trouble, done }
  }

  /** Withdraws. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    clearInterval(this.#looks)
    clearTimeout(this.#timer)
    const told = this.#told
    let isDone = true
    if (told !== undefined) {
      // Somebody has asked for this withdrawal: it begins no hold-down.
      for (const [prefix, memory] of this.#memories) {
        this.#memories.set(prefix, { ...memory, state: 'withdrawn' })
      }
      this.#remember()
      const routes = routesOf(told.announce.prefixes, () => 'withdrawn')
      const last = (this.#running ?? Promise.resolve()).then(() => told.daemon.apply(routes))
      isDone = await within(STOP_LIMIT_MS, last)
      if (!isDone)
        this.options.log.warn(
          'the routing daemon could not be told to withdraw: the guardian goes on trying',
        )
      else if (this.#wasUp) await new Promise((resolve) => setTimeout(resolve, LINGER_MS))
    }
    await this.#guard.stop({ release: isDone })
  }

  /** Decides; true when something is to be told. */
  #look(): boolean {
    const inputs = this.#inputs?.()
    const { announce } = this.#told ?? {}
    if (announce === undefined) {
      this.#reports = []
      return false
    }
    let isNew = false
    const nowMs = Date.now()
    this.#reports = announce.prefixes.map((prefix) => {
      const before = this.#memories.get(prefix.prefix) ?? { ...FRESH, sinceMs: nowMs }
      if (inputs === undefined) return waiting(prefix.prefix, before)
      const { memory, report } = look(prefix, announce, inputs, before, nowMs)
      this.#memories.set(prefix.prefix, memory)
      if (memory.state !== before.state) isNew = true
      this.#say(report, before)
      return report
    })
    if (isNew) this.#remember()
    this.#wasUp ||= this.#reports.some(({ state }) => state !== 'withdrawn')
    return isNew
  }

  #say(report: PrefixReport, { state }: PrefixMemory): void {
    const { log } = this.options
    const earlier = this.#reports.find(({ prefix }) => prefix === report.prefix)
    const begins = report.lastAnnouncer && earlier?.lastAnnouncer !== true
    if (report.state === state && !begins) return
    const line = `prefix ${report.prefix} is ${report.state}: ${report.why}`
    if (begins) log.warn(line)
    else log.info(line)
  }

  #routes(): readonly Route[] {
    const stateOf = (prefix: string) => this.#memories.get(prefix)?.state ?? 'withdrawn'
    return routesOf(this.#told?.announce.prefixes ?? [], stateOf)
  }

  #remember(): void {
    try {
      writeMemories(this.options.memory, this.#memories)
    } catch (error) {
      this.options.log.warn(
        `hold-down could not be written down for a restart: ${(error as Error).message}`,
      )
    }
  }

  /** Now, or as soon as what is under way has ended. */
  #tell(): void {
    if (this.#stopped || this.#told === undefined) return
    clearTimeout(this.#timer)
    this.#again = true
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined
    })
  }

  async #pass(): Promise<void> {
    let nextMs = 0
    while (this.#again && !this.#stopped && this.#told !== undefined) {
      this.#again = false
      const { daemon } = this.#told
      const routes = this.#routes()
      const trouble = await daemon.apply(routes).then(
        () => undefined,
        (error: unknown) => (error as Error).message,
      )
      this.#taken = trouble === undefined ? routes : undefined
      this.#failures = trouble === undefined ? 0 : this.#failures + 1
      this.#note(trouble)
      nextMs =
        trouble === undefined
          ? daemon.againMs
          : Math.min(RETRY_MS * 2 ** Math.min(this.#failures - 1, 10), MAX_RETRY_MS)
    }
    if (!this.#stopped) this.#timer = setTimeout(() => this.#tell(), nextMs)
  }

  #note(trouble: string | undefined): void {
    const { log } = this.options
    if (trouble === this.#trouble) return
    if (trouble !== undefined) log.warn(`the routing daemon does not do as told: ${trouble}`)
    else log.info('the routing daemon does as told again')
    this.#trouble = trouble
  }

  /** The daemon of before, or the prefixes that are gone. */
  async #retire(daemon: Daemon, routes: readonly Route[]): Promise<void> {
    const withdrawn = routes.map((route): Route => ({ ...route, state: 'withdrawn' }))
    await daemon.apply(withdrawn).catch((error: unknown) => {
      this.options.log.warn(
        `what is no longer announced could not be withdrawn: ${(error as Error).message}; do it by hand`,
      )
    })
  }
}

function toldOf(announce: Announce, options: AnnouncerOptions): Told {
  const { node, pop, device, include } = options
  const attributes = {
    announced: attributesOf(announce, node, 'announced'),
    'de-preferred': attributesOf(announce, node, 'de-preferred'),
    withdrawn: attributesOf(announce, node, 'withdrawn'),
  }
  const { daemon } = announce
  switch (daemon.kind) {
    case 'bird': {
      const bird: BirdOptions = { socket: daemon.socket, include, device, attributes }
      return { announce, daemon: new Bird(bird), silence: (routes) => silenceOf(bird, routes) }
    }
    case 'exec': {
      const { command, timeoutMs, repeatMs } = daemon
      const exec: ExecOptions = { command, timeoutMs, repeatMs, device, node, pop, attributes }
      return {
        announce,
        daemon: new Exec(exec, Date.now),
        silence: (routes) => execSilenceOf(exec, routes),
      }
    }
  }
}

function waiting(prefix: string, { sinceMs }: PrefixMemory): PrefixReport {
  const why = 'this node is starting'
  return { prefix, state: 'withdrawn', wanted: 'withdrawn', why, sinceMs, lastAnnouncer: false }
}

/** False when it fails or takes longer. */
async function within(limitMs: number, task: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs)
  })
  const done = task.then(
    () => true,
    () => false,
  )
  const result = await Promise.race([done, late])
  clearTimeout(timer)
  return result
}
