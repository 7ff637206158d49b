// Checks the backends of this node's PoP, each service's by its own rules, over and over. Made by health.ts. Guarantees: at
// most one connection at a time for each backend and service; a reload keeps the states of all that stays; nothing runs
// after stop().

import { isDeepStrictEqual } from 'node:util'
import type { Backend, Pop, Service, ServiceHealth } from '../fleet/model.js'
import { afterOutcome, type CheckStatus, unknownSince } from './machine.js'
import type { Outcome, Result, Target } from './outcome.js'
import type { Chance, Timers } from './time.js'

/** The first check comes within this, or within the interval if that is shorter. */
const FIRST_WITHIN_MS = 1000
/** Of the interval: each pause is so much longer or shorter at most, so that nodes and backends do not beat in step. */
export const JITTER = 0.1

export type RunCheck = (health: ServiceHealth, target: Target) => Promise<Outcome>

export interface CheckerOptions {
  readonly timers: Timers
  readonly chance: Chance
  readonly run: RunCheck
  /** A check has come to something; `before` is its state until then. */
  readonly checked: (job: Checked, before: CheckStatus) => void
}

export interface Checked {
  readonly service: Service
  readonly backend: Backend
  readonly health: ServiceHealth
  readonly status: CheckStatus
  /** How often so far. */
  readonly counts: ReadonlyMap<Result, number>
}

/** What an earlier process knew of a check, or nothing. */
export type Remembered = (service: Service, backend: Backend) => CheckStatus | undefined

interface Job {
  service: Service
  backend: Backend
  health: ServiceHealth
  status: CheckStatus
  /** The backend came while this node ran. */
  isNew: boolean
  readonly counts: Map<Result, number>
  cancel: () => void
  gone: boolean
}

export class Checker {
  readonly #options: CheckerOptions
  #jobs = new Map<string, Job>()
  #started = false

  constructor(options: CheckerOptions) {
    this.#options = options
  }

  /** Checks what these services and backends ask for, and nothing else, from now on. */
  follow(services: readonly Service[], pop: Pop, remembered: Remembered = () => undefined): void {
    const before = this.#jobs
    this.#jobs = new Map()
    for (const service of services) {
      const { health } = service
      if (health === undefined) continue
      for (const backend of pop.backends.filter(({ pool }) => pool === service.pool)) {
        const key = keyOf(service, backend)
        const job = before.get(key)
        before.delete(key)
        if (job === undefined) {
          const status = remembered(service, backend)
          this.#jobs.set(key, this.#begin(service, backend, health, status))
        } else {
          const against = isDeepStrictEqual(job.health, health) ? job.status.against : 0
          Object.assign(job, { service, backend, health, status: { ...job.status, against } })
          this.#jobs.set(key, job)
        }
      }
    }
    for (const job of before.values()) end(job)
    this.#started = true
  }

  statusOf(service: Service, backend: Backend): CheckStatus | undefined {
    return this.#jobs.get(keyOf(service, backend))?.status
  }

  all(): readonly Checked[] {
    return [...this.#jobs.values()]
  }

  stop(): void {
    for (const job of this.#jobs.values()) end(job)
    this.#jobs.clear()
  }

  #begin(
    service: Service,
    backend: Backend,
    health: ServiceHealth,
    status: CheckStatus | undefined,
  ): Job {
    const { timers, chance } = this.#options
    const job: Job = {
      service,
      backend,
      health,
      status: status ?? unknownSince(timers.nowMs()),
      isNew: this.#started,
      counts: new Map(),
      cancel: () => {},
      gone: false,
    }
    const firstMs = chance() * Math.min(health.intervalMs, FIRST_WITHIN_MS)
    job.cancel = timers.after(firstMs, () => void this.#turn(job))
    return job
  }

  async #turn(job: Job): Promise<void> {
    const { timers, chance, run, checked } = this.#options
    const { health } = job
    const startedMs = timers.nowMs()
    const outcome = await run(health, { address: job.backend.address, port: health.port })
    if (job.gone) return
    const nowMs = timers.nowMs()
    const result = outcome.ok ? 'success' : outcome.failure
    job.counts.set(result, (job.counts.get(result) ?? 0) + 1)
    const before = job.status
    const durationMs = nowMs - startedMs
    job.status = afterOutcome(before, outcome, job.health, durationMs, nowMs, job.isNew)
    const pauseMs = job.health.intervalMs * (1 + JITTER * (2 * chance() - 1))
    job.cancel = timers.after(Math.max(0, startedMs + pauseMs - nowMs), () => void this.#turn(job))
    checked(job, before)
  }
}

function end(job: Job): void {
  job.gone = true
  job.cancel()
}

function keyOf(service: Service, backend: Backend): string {
  return `${backend.id} ${service.name}`
}
