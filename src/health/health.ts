// The health of this node's PoP, put together: checks, the operator's words, slow starts, probes; what they make of the next
// generation, and the report. Made by src/cli/node-health.ts. Guarantees: asks for another generation only when it would
// differ, and at most once in REPLAN_MS; nothing runs after stop().

import type { Backend, Fleet, Pop, Service } from '../fleet/model.js'
import type { Readiness } from '../fleet/readiness.js'
import type { Word, Words } from '../operator/words.js'
import { type Checked, Checker, type Remembered, type RunCheck } from './checker.js'
import {
  type Choices,
  type ChooseInput,
  choose,
  type Mode,
  readinessOf,
  withholds,
} from './choose.js'
import type { CheckStatus } from './machine.js'
import type { RememberedCheck } from './memory.js'
import { Prober, type ProberOptions, pathAble } from './probe.js'
import type { BackendReport, HealthReport, ServiceReport } from './report.js'
import type { Chance, Timers } from './time.js'

/** What changes within it makes one generation. */
export const REPLAN_MS = 250
/** How often slow starts go on, and words and other PoPs are looked at. */
export const TICK_MS = 1000

/** What there is to tell somebody who reads the log. */
export type HealthNews =
  | { readonly kind: 'check'; readonly checked: Checked; readonly before: CheckStatus }
  | { readonly kind: 'mode'; readonly service: Service; readonly mode: Mode; readonly before: Mode }

export interface HealthOptions {
  readonly timers: Timers
  readonly chance: Chance
  readonly run: RunCheck
  readonly words: () => Words
  readonly silent: () => boolean
  /** Whether a PoP other than this one may have a backend of the service that is up. */
  readonly elsewhere: (service: Service) => boolean
  readonly probes: Pick<ProberOptions, 'sourceOf' | 'connect' | 'changed' | 'cannot'>
  /** Another generation is wanted: readiness() has changed. */
  readonly changed: () => void
  readonly news: (news: HealthNews) => void
  /** At least every TICK_MS, and soon after a state has changed. */
  readonly ticked: () => void
}

export class Health {
  readonly #options: HealthOptions
  readonly #checker: Checker
  readonly #prober: Prober
  #services: readonly Service[] = []
  #pop: Pop | undefined
  #words: Words
  /** When the operator let a backend come back. */
  readonly #backSinceMs = new Map<number, number>()
  #choices: Choices = new Map()
  /** What the last generation was packed by; undefined: there is none yet, and the first will be right. */
  #packed: string | undefined
  /** And the one before it. */
  #packedBefore: string | undefined
  #cancelReplan: (() => void) | undefined
  #cancelTick: () => void = () => {}

  constructor(options: HealthOptions) {
    this.#options = options
    this.#words = options.words()
    const { timers, chance, run, probes } = options
    this.#checker = new Checker({
      timers,
      chance,
      run,
      checked: (checked, before) => this.#checked(checked, before),
    })
    this.#prober = new Prober({
      timers,
      chance,
      ...probes,
      // Backends that no check has found up tell nothing of the path.
      sourceOf: (service, backend) => {
        const up = this.#checker.statusOf(service, backend)?.state === 'up'
        const ready = backend.weight > 0 && this.#wordOf(backend) === 'ready'
        // A node that drains is to have no new connections, its own included.
        const stays = this.#words.node === 'ready'
        return up && ready && stays ? probes.sourceOf(service, backend) : undefined
      },
      changed: (news) => {
        probes.changed(news)
        this.look()
      },
    })
  }

  /** From now on this fleet and PoP count: at the start, and when a reload has read other files. */
  follow(fleet: Fleet, pop: Pop, remembered?: Remembered): void {
    const first = this.#pop === undefined
    this.#services = fleet.services
    this.#pop = pop
    this.#checker.follow(fleet.services, pop, remembered)
    this.#prober.follow(fleet.services, pop)
    this.#look()
    if (first) this.#tickLater()
  }

  /** For the generation that is packed next, be it of the fleet that is followed or of one that will be. */
  readiness(fleet: Fleet, pop: Pop): Readiness {
    const input = { ...this.#input(), services: fleet.services, pop }
    const choices = choose(input)
    this.#packedBefore = this.#packed
    this.#packed = signature(input, choices)
    return readinessOf(input, choices)
  }

  /** The generation that was packed last did not come into force: the one before it still is. */
  notPacked(): void {
    this.#packed = this.#packedBefore ?? ''
  }

  /** The operator has spoken, another PoP, or a probe: what follows from it follows soon. */
  look(): void {
    this.#cancelReplan ??= this.#options.timers.after(REPLAN_MS, () => {
      this.#cancelReplan = undefined
      this.#look()
      this.#options.ticked()
      if (this.#isOther()) this.#options.changed()
    })
  }

  report(): HealthReport {
    return {
      backends: this.#checker.all().map((checked) => this.#backendReport(checked)),
      services: this.#services.map((service) => this.#serviceReport(service)),
      probes: this.#prober.report(),
      unprobed: this.#prober.unprobed(),
    }
  }

  /** For metrics. */
  get checks(): readonly Checked[] {
    return this.#checker.all()
  }

  get probeCounts(): ReturnType<Prober['counts']> {
    return this.#prober.counts()
  }

  /** For the next life. */
  memory(): readonly RememberedCheck[] {
    return this.#checker.all().flatMap(({ backend, service, status }) => {
      const { state, sinceMs, recoveredMs } = status
      if (state === 'unknown') return []
      const recovered = recoveredMs === undefined ? {} : { recoveredMs }
      return [{ backendId: backend.id, service: service.name, state, sinceMs, ...recovered }]
    })
  }

  stop(): void {
    this.#cancelTick()
    this.#cancelReplan?.()
    this.#checker.stop()
    this.#prober.stop()
  }

  #tickLater(): void {
    this.#cancelTick = this.#options.timers.after(TICK_MS, () => {
      this.look()
      this.#tickLater()
    })
  }

  #checked(checked: Checked, before: CheckStatus): void {
    if (checked.status.state === before.state) return
    this.#options.news({ kind: 'check', checked, before })
    this.look()
  }

  /** Takes in what the operator says, and chooses anew. */
  #look(): void {
    const { words, timers, news } = this.#options
    const before = this.#words
    this.#words = words()
    for (const [id, word] of before.backends) {
      if (word === 'ready' || (this.#words.backends.get(id) ?? 'ready') !== 'ready') continue
      this.#backSinceMs.set(id, timers.nowMs())
    }
    const old = this.#choices
    this.#choices = choose(this.#input())
    for (const service of this.#services) {
      const was = old.get(service.name)?.mode
      const mode = this.#choices.get(service.name)?.mode
      if (was === undefined || mode === undefined || was === mode) continue
      news({ kind: 'mode', service, mode, before: was })
    }
  }

  #isOther(): boolean {
    return this.#packed !== undefined && signature(this.#input(), this.#choices) !== this.#packed
  }

  #input(): ChooseInput {
    const { timers, elsewhere } = this.#options
    return {
      pop: this.#pop ?? { id: 0, name: '', nodes: [], backends: [] },
      services: this.#services,
      statusOf: (service, backend) => this.#checker.statusOf(service, backend),
      pathOf: (service, backend) => this.#prober.statusOf(service, backend),
      node: this.#words.node,
      pathWorks: pathAble(this.#prober.report()).ok,
      silent: this.#options.silent(),
      wordOf: (backend) => this.#wordOf(backend),
      backSinceMs: ({ id }) => this.#backSinceMs.get(id),
      elsewhere,
      nowMs: timers.nowMs(),
    }
  }

  #wordOf({ id }: Backend): Word {
    return this.#words.backends.get(id) ?? 'ready'
  }

  #backendReport({ service, backend, status }: Checked): BackendReport {
    const { state, sinceMs, why, lastMs, durationMs } = status
    const share = this.#choices.get(service.name)?.shares.get(backend.id) ?? 0
    const path = this.#prober.statusOf(service, backend)
    return {
      backendId: backend.id,
      service: service.name,
      state,
      sinceMs,
      why,
      lastMs,
      durationMs,
      share,
      path: path?.state ?? 'unknown',
      pathWhy: path?.why,
    }
  }

  #serviceReport({ name, pool }: Service): ServiceReport {
    const choice = this.#choices.get(name)
    const configured = this.#pop?.backends.filter((backend) => backend.pool === pool).length ?? 0
    const ready = choice === undefined || choice.mode === 'panic' ? 0 : choice.shares.size
    return { service: name, ready, configured }
  }
}

/** Equal when the generations would be. */
function signature(input: ChooseInput, choices: Choices): string {
  const { stateOf } = readinessOf(input, choices)
  return JSON.stringify([
    withholds(input),
    input.silent,
    [...choices].map(([service, { mode, shares }]) => [service, mode === 'panic', [...shares]]),
    input.pop.backends.map((backend) => [backend.id, backend.weight, stateOf(backend)]),
  ])
}
