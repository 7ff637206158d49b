// The node's own connections through its VIPs: each goes to the device, through the worker, to a backend, and the answer
// comes back to the node's own address, so that a path that swallows packets is noticed although every check of a backend
// succeeds. Made by health.ts. Guarantees: a probe that cannot be had, or has nothing to tell, counts as nothing; one lost
// packet changes nothing, but for the first of all, which decides.

import type { Service } from '../fleet/model.js'
import { JITTER as CHECK_JITTER } from './checker.js'
import { afterOutcome, type CheckStatus, unknownSince } from './machine.js'
import type { Outcome, Result, Target } from './outcome.js'
import type { ProbeSource } from './probe-source.js'
import type { ProbeReport } from './report.js'
import type { Chance, Timers } from './time.js'

export const PROBE_INTERVAL_MS = 2000
export const PROBE_TIMEOUT_MS = 1000
const RISE = 2
const MIN_FALL = 5
const JITTER = 0.1
/** For a generation without the backend to be made and to come into force. */
const TAKE_OUT_MS = 1000
/** As long as there was no result. */
const UNKNOWN_INTERVAL_MS = 500
/** A first result that has not come so long after the service could be probed is not waited for. */
export const FIRST_RESULT_LIMIT_MS = 5000

export interface ProberOptions {
  readonly timers: Timers
  readonly chance: Chance
  /** undefined: there is nothing to tell yet, since this node does not answer or no check has found a backend. */
  readonly sourceOf: (service: Service) => ProbeSource | undefined
  /** Within PROBE_TIMEOUT_MS; undefined: the port was not free. */
  readonly connect: (
    target: Target,
    from: { readonly localAddress: string; readonly localPort: number },
  ) => Promise<Outcome | undefined>
  readonly changed: (service: Service, status: CheckStatus) => void
  readonly cannot: (service: Service, why: string) => void
}

interface Job {
  service: Service
  /** undefined: nothing is known. */
  status: CheckStatus | undefined
  why: string | undefined
  /** The first result is waited for no longer than until then. */
  unknownUntilMs: number
  readonly counts: Map<Result, number>
  cancel: () => void
  gone: boolean
}

export class Prober {
  readonly #options: ProberOptions
  #jobs = new Map<string, Job>()

  constructor(options: ProberOptions) {
    this.#options = options
  }

  follow(services: readonly Service[]): void {
    const before = this.#jobs
    this.#jobs = new Map()
    for (const service of services.filter(({ health }) => health?.probe === true)) {
      const job = before.get(service.name) ?? this.#begin(service)
      before.delete(service.name)
      job.service = service
      this.#jobs.set(service.name, job)
    }
    for (const job of before.values()) end(job)
  }

  report(): readonly ProbeReport[] {
    return [...this.#jobs.values()].flatMap(({ service, status }) => {
      if (status === undefined) return []
      const { state, why, sinceMs } = status
      return [{ service: service.name, ok: state !== 'down', why, sinceMs }]
    })
  }

  /** Services whose first result is still to come. */
  unprobed(): readonly string[] {
    return [...this.#jobs.values()]
      .filter((job) => this.#isUnprobed(job))
      .map(({ service }) => service.name)
  }

  counts(): readonly {
    readonly service: Service
    readonly counts: ReadonlyMap<Result, number>
  }[] {
    return [...this.#jobs.values()]
  }

  stop(): void {
    for (const job of this.#jobs.values()) end(job)
    this.#jobs.clear()
  }

  #begin(service: Service): Job {
    const job: Job = {
      service,
      status: undefined,
      why: undefined,
      unknownUntilMs: Number.POSITIVE_INFINITY,
      counts: new Map(),
      cancel: () => {},
      gone: false,
    }
    this.#later(job, this.#options.chance() * UNKNOWN_INTERVAL_MS)
    return job
  }

  #isUnprobed({ counts, why, unknownUntilMs }: Job): boolean {
    return counts.size === 0 && why === undefined && this.#options.timers.nowMs() < unknownUntilMs
  }

  #later(job: Job, ms: number): void {
    job.cancel = this.#options.timers.after(ms, () => void this.#turn(job))
  }

  async #turn(job: Job): Promise<void> {
    const { timers, chance } = this.#options
    const startedMs = timers.nowMs()
    await this.#probe(job)
    if (job.gone) return
    const intervalMs = this.#isUnprobed(job) ? UNKNOWN_INTERVAL_MS : PROBE_INTERVAL_MS
    const pauseMs = intervalMs * (1 + JITTER * (2 * chance() - 1))
    this.#later(job, Math.max(0, startedMs + pauseMs - timers.nowMs()))
  }

  async #probe(job: Job): Promise<void> {
    const { timers, sourceOf, connect, changed, cannot } = this.#options
    const { service } = job
    const source = sourceOf(service)
    if (source !== undefined) {
      job.unknownUntilMs = Math.min(job.unknownUntilMs, timers.nowMs() + FIRST_RESULT_LIMIT_MS)
    }
    if (source?.kind !== 'from') {
      const why = source?.kind === 'cannot' ? source.why : undefined
      if (why !== undefined && why !== job.why) cannot(service, why)
      if (why !== undefined) job.why = why
      job.status = undefined
      return
    }
    const startedMs = timers.nowMs()
    const target = { address: service.vip, port: service.ports[0] ?? 0 }
    const from = { localAddress: source.address, localPort: source.port }
    const outcome = await connect(target, from)
    const nowMs = timers.nowMs()
    if (job.gone || outcome === undefined) return
    const begun = {
      ...unknownSince(nowMs),
      state: job.counts.size === 0 ? 'unknown' : 'up',
    } as const
    const result = outcome.ok ? 'success' : outcome.failure
    job.counts.set(result, (job.counts.get(result) ?? 0) + 1)
    const before = job.status ?? begun
    const thresholds = { rise: RISE, fall: fallOf(job.service) }
    job.status = afterOutcome(before, outcome, thresholds, nowMs - startedMs, nowMs)
    const { state } = job.status
    if (state !== before.state && (state === 'down' || before.state === 'down')) {
      changed(service, job.status)
    }
  }
}

/** Failures in a row. They take longer than the service's check needs, so that backends that died together are taken out
 * before they count against the path. */
function fallOf({ health }: Service): number {
  if (health === undefined) return MIN_FALL
  const { intervalMs, timeoutMs, fall } = health
  const outMs = intervalMs * (1 + CHECK_JITTER) * fall + timeoutMs + TAKE_OUT_MS
  return Math.max(MIN_FALL, 1 + Math.ceil(outMs / (PROBE_INTERVAL_MS * (1 - JITTER))))
}

function end(job: Job): void {
  job.gone = true
  job.cancel()
}

/** Of a node: its path fails when no probe gets through. One service alone may fail for reasons of its own, such as a server
 * that does not listen on the VIP. */
export function pathAble(
  probes: readonly ProbeReport[],
): { readonly ok: true } | { readonly ok: false; readonly why: string } {
  const [first] = probes
  if (first === undefined || probes.some(({ ok }) => ok)) return { ok: true }
  const count = probes.length === 1 ? '' : ` (nor to ${probes.length - 1} more)`
  return {
    ok: false,
    why: `no connection through the VIP reaches service ${first.service}${count}: ${first.why}`,
  }
}
