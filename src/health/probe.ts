// The node's own connections through its VIPs, one after the other to each backend: each goes to the device, through the
// worker, to the backend, and the answer comes back to the node's own address, so that a path that swallows packets is
// noticed although every check of a backend succeeds. Made by health.ts. Guarantees: a probe that cannot be had, or has
// nothing to tell, counts as nothing; one lost packet changes nothing, but for the first of all, which decides.

import type { Backend, Pop, Service } from '../fleet/model.js'
import { JITTER as CHECK_JITTER } from './checker.js'
import { afterOutcome, type CheckStatus, unknownSince } from './machine.js'
import type { Outcome, Result, Target } from './outcome.js'
import type { ProbeSource } from './probe-source.js'
import type { ProbeReport } from './report.js'
import type { Chance, Timers } from './time.js'

export const PROBE_INTERVAL_MS = 2000
export const PROBE_TIMEOUT_MS = 1000
/** Of a node, to all its backends together, while they succeed. */
export const PROBES_PER_S = 10
const RISE = 2
const MIN_FALL = 5
const JITTER = 0.1
/** For a generation without the backend to be made and to come into force. */
const TAKE_OUT_MS = 1000
/** As long as there was no result. */
const UNKNOWN_INTERVAL_MS = 500
/** A first result that has not come so long after the service could be probed is not waited for. */
export const FIRST_RESULT_LIMIT_MS = 5000

/** What has come of a service's probes together, or of those to one of its backends. */
export type ProbeNews =
  | { readonly kind: 'service'; readonly service: Service; readonly report: ProbeReport }
  | {
      readonly kind: 'backend'
      readonly service: Service
      readonly backend: Backend
      readonly status: CheckStatus
    }

export interface ProberOptions {
  readonly timers: Timers
  readonly chance: Chance
  /** undefined: there is nothing to tell yet, since this node does not answer or no check has found the backend. */
  readonly sourceOf: (service: Service, backend: Backend) => ProbeSource | undefined
  /** Within PROBE_TIMEOUT_MS; undefined: the port was not free. */
  readonly connect: (
    target: Target,
    from: { readonly localAddress: string; readonly localPort: number },
  ) => Promise<Outcome | undefined>
  readonly changed: (news: ProbeNews) => void
  readonly cannot: (service: Service, why: string) => void
}

interface Job {
  backend: Backend
  /** undefined: nothing is known. */
  status: CheckStatus | undefined
  probed: boolean
  /** The first result is waited for no longer than until then. */
  unknownUntilMs: number
  cancel: () => void
  gone: boolean
}

interface Group {
  service: Service
  jobs: Map<number, Job>
  /** Why it cannot be probed. */
  cannot: string | undefined
  report: ProbeReport | undefined
  readonly counts: Map<Result, number>
}

export class Prober {
  readonly #options: ProberOptions
  #groups = new Map<string, Group>()

  constructor(options: ProberOptions) {
    this.#options = options
  }

  follow(services: readonly Service[], pop: Pop): void {
    const before = this.#groups
    this.#groups = new Map()
    for (const service of services.filter(({ health }) => health?.probe === true)) {
      const none = { jobs: new Map(), cannot: undefined, report: undefined, counts: new Map() }
      const group = before.get(service.name) ?? { service, ...none }
      before.delete(service.name)
      group.service = service
      this.#groups.set(service.name, group)
      this.#followBackends(
        group,
        pop.backends.filter(({ pool }) => pool === service.pool),
      )
    }
    for (const group of before.values()) end(group)
  }

  report(): readonly ProbeReport[] {
    return [...this.#groups.values()].flatMap(({ report }) => report ?? [])
  }

  /** What the probes to one backend have come to; undefined: nothing is known. */
  statusOf(service: Service, backend: Backend): CheckStatus | undefined {
    return this.#groups.get(service.name)?.jobs.get(backend.id)?.status
  }

  /** Services whose first result is still to come. */
  unprobed(): readonly string[] {
    return [...this.#groups.values()]
      .filter(({ jobs, cannot }) => {
        return cannot === undefined && [...jobs.values()].every((job) => this.#isUnprobed(job))
      })
      .map(({ service }) => service.name)
  }

  counts(): readonly {
    readonly service: Service
    readonly counts: ReadonlyMap<Result, number>
  }[] {
    return [...this.#groups.values()]
  }

  stop(): void {
    for (const group of this.#groups.values()) end(group)
    this.#groups.clear()
  }

  #followBackends(group: Group, backends: readonly Backend[]): void {
    const before = group.jobs
    group.jobs = new Map()
    for (const backend of backends) {
      const job = before.get(backend.id) ?? this.#begin(group, backend)
      before.delete(backend.id)
      job.backend = backend
      group.jobs.set(backend.id, job)
    }
    for (const job of before.values()) endJob(job)
    group.report = this.#judge(group)
  }

  #begin(group: Group, backend: Backend): Job {
    const job: Job = {
      backend,
      status: undefined,
      probed: false,
      unknownUntilMs: Number.POSITIVE_INFINITY,
      cancel: () => {},
      gone: false,
    }
    this.#later(group, job, this.#options.chance() * UNKNOWN_INTERVAL_MS)
    return job
  }

  #isUnprobed({ probed, unknownUntilMs }: Job): boolean {
    return !probed && this.#options.timers.nowMs() < unknownUntilMs
  }

  #later(group: Group, job: Job, ms: number): void {
    job.cancel = this.#options.timers.after(ms, () => void this.#turn(group, job))
  }

  async #turn(group: Group, job: Job): Promise<void> {
    const { timers, chance } = this.#options
    const startedMs = timers.nowMs()
    await this.#probe(group, job)
    if (job.gone) return
    const pauseMs = this.#intervalMs(job) * (1 + JITTER * (2 * chance() - 1))
    this.#later(group, job, Math.max(0, startedMs + pauseMs - timers.nowMs()))
  }

  /** Many backends share PROBES_PER_S; one that fails is looked at more closely. */
  #intervalMs(job: Job): number {
    if (this.#isUnprobed(job)) return UNKNOWN_INTERVAL_MS
    if (job.status !== undefined && job.status.why !== undefined) return PROBE_INTERVAL_MS
    const jobs = [...this.#groups.values()].reduce((sum, { jobs: { size } }) => sum + size, 0)
    return Math.max(PROBE_INTERVAL_MS, (jobs * 1000) / PROBES_PER_S)
  }

  async #probe(group: Group, job: Job): Promise<void> {
    const { timers, sourceOf, connect, cannot } = this.#options
    const { service } = group
    const source = sourceOf(service, job.backend)
    if (source !== undefined) {
      job.unknownUntilMs = Math.min(job.unknownUntilMs, timers.nowMs() + FIRST_RESULT_LIMIT_MS)
    }
    const startedMs = timers.nowMs()
    switch (source?.kind) {
      case undefined:
      case 'idle':
        return this.#forget(group, job)
      case 'cannot':
        if (source.why !== group.cannot) cannot(service, source.why)
        group.cannot = source.why
        return this.#forget(group, job)
      case 'fails':
        return this.#take(group, job, { ok: false, failure: 'timeout', why: source.why }, startedMs)
      case 'from': {
        const target = { address: service.vip, port: service.ports[0] ?? 0 }
        const from = { localAddress: source.address, localPort: source.port }
        const outcome = await connect(target, from)
        if (!job.gone && outcome !== undefined) this.#take(group, job, outcome, startedMs)
      }
    }
  }

  #forget(group: Group, job: Job): void {
    job.status = undefined
    group.report = this.#judge(group)
  }

  #take(group: Group, job: Job, outcome: Outcome, startedMs: number): void {
    const { timers, changed } = this.#options
    const { service, counts } = group
    const nowMs = timers.nowMs()
    const result = outcome.ok ? 'success' : outcome.failure
    counts.set(result, (counts.get(result) ?? 0) + 1)
    const begun = { ...unknownSince(nowMs), state: job.probed ? 'up' : 'unknown' } as const
    const before = job.status ?? begun
    const thresholds = { rise: RISE, fall: fallOf(service) }
    job.status = afterOutcome(before, outcome, thresholds, nowMs - startedMs, nowMs)
    job.probed = true
    const was = group.report
    group.report = this.#judge(group)
    const { report } = group
    if (report !== undefined && report.ok !== (was?.ok ?? true)) {
      changed({ kind: 'service', service, report })
    } else if ((job.status.state === 'down') !== (before.state === 'down')) {
      changed({ kind: 'backend', service, backend: job.backend, status: job.status })
    }
  }

  /** A service is reached as long as one of its backends is. */
  #judge({ service, jobs, report }: Group): ProbeReport | undefined {
    const known = [...jobs.values()].flatMap(({ status }) => status ?? [])
    if (known.length === 0) return undefined
    const ok = known.some(({ state }) => state !== 'down')
    const why = known.find((status) => status.why !== undefined)?.why
    const sinceMs = report?.ok === ok ? report.sinceMs : this.#options.timers.nowMs()
    return { service: service.name, ok, why: ok && known.length > 1 ? undefined : why, sinceMs }
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

function end({ jobs }: Group): void {
  for (const job of jobs.values()) endJob(job)
}

function endJob(job: Job): void {
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
