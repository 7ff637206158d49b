// Health as the verb `run` has it: real time and sockets, the log, the state folder, and the generation that follows from it.
// Made by run.ts. Guarantees: a state file that cannot be written is told of once; health that changes never overlaps a
// reload.

import { randomInt } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { HealthSource } from '../admin/health-metrics.js'
import { NativeError, type WorkerHandle } from '../dataplane/addon.js'
import { addressBytes } from '../fleet/address.js'
import { servedElsewhere } from '../fleet/elsewhere.js'
import { MaglevTables } from '../fleet/maglev-tables.js'
import type { Backend, Service } from '../fleet/model.js'
import { runCheck, tcpConnects } from '../health/checks.js'
import { Health, type HealthNews } from '../health/health.js'
import { readHealthMemory, writeHealthMemory } from '../health/memory.js'
import { PROBE_TIMEOUT_MS, type ProbeNews } from '../health/probe.js'
import { type Pin, type ProbeSource, probeSource } from '../health/probe-source.js'
import type { HealthReport } from '../health/report.js'
import { REAL_TIME } from '../health/time.js'
import { workerHealth } from '../host/worker.js'
import type { Words } from '../operator/words.js'
import { completePlan, type NodeOutline, type NodePlan } from './node-plan.js'
import type { ServiceContext } from './service.js'

/** How often the state file is written, changes apart. */
const REMEMBER_MS = 10_000
/** A worker that has not gone round is not waited for again so soon. */
const STANDS_STILL_MS = 1000

export interface NodeHealthOptions extends ServiceContext {
  readonly statePath: string
  readonly plan: () => NodePlan
  /** undefined: it does not run yet. */
  readonly worker: () => WorkerHandle | undefined
  readonly words: () => Words
  /** This node announces nothing, although it is to. */
  readonly silent: () => boolean
  /** Packs anew and goes over. */
  readonly replan: () => Promise<void>
}

export class NodeHealth implements HealthSource {
  readonly #options: NodeHealthOptions
  readonly #health: Health
  readonly #tables = new MaglevTables()
  #now!: NodeOutline
  #writtenMs = 0
  #written = ''
  #complained = false
  #sharing = ''
  #stoodStillMs = Number.NEGATIVE_INFINITY

  constructor(options: NodeHealthOptions) {
    this.#options = options
    const { log, words, reloads, silent } = options
    this.#health = new Health({
      timers: REAL_TIME,
      chance: () => randomInt(2 ** 32) / 2 ** 32,
      run: ({ check, timeoutMs }, target) => runCheck(check, target, timeoutMs, REAL_TIME),
      words,
      silent,
      elsewhere: (service) => this.#elsewhere(service),
      changed: () => reloads.between(() => this.#replan()),
      news: (news) => this.#tell(news),
      ticked: () => this.#remember(),
      probes: {
        sourceOf: (service, backend) => this.#sourceOf(service, backend),
        connect: async (target, from) => {
          const outcome = await tcpConnects(target, PROBE_TIMEOUT_MS, REAL_TIME, from)
          return !outcome.ok && outcome.code === 'EADDRINUSE' ? undefined : outcome
        },
        changed: (news) => this.#tellPath(news),
        cannot: ({ name }, why) =>
          log.warn(`service ${name} is not probed through its VIP: ${why}`),
      },
    })
  }

  start(now: NodeOutline): void {
    const { fleet, pop } = now
    this.#now = now
    const { log, changes, statePath } = this.#options
    const { checks, doubt } = readHealthMemory(statePath, REAL_TIME.nowMs())
    if (doubt !== undefined) log.warn(`${statePath} is ignored: ${doubt}`)
    const known = new Map(checks.map((one) => [`${one.backendId} ${one.service}`, one]))
    this.#health.follow(fleet, pop, (service, { id }) => {
      const one = known.get(`${id} ${service.name}`)
      if (one === undefined) return undefined
      const { state, sinceMs, recoveredMs } = one
      const untold = { why: undefined, lastMs: undefined, durationMs: undefined }
      return { state, sinceMs, recoveredMs, against: 0, ...untold }
    })
    changes.add('health', () => {
      this.#remember(true)
      this.#health.stop()
    })
  }

  /** After a reload. */
  follow(now: NodeOutline): void {
    this.#now = now
    this.#health.follow(now.fleet, now.pop)
  }

  complete(of: NodeOutline, mtu: number): NodePlan {
    const plan = this.#plan(of, mtu)
    const sharing = plan.generation.sharing.join(', ')
    if (sharing !== '' && sharing !== this.#sharing) {
      this.#options.log.warn(
        `too many services have backends of their own that are up (MAX_TABLES): ${sharing} go by the table of another service of their pool`,
      )
    }
    this.#sharing = sharing
    return plan
  }

  #plan(of: NodeOutline, mtu: number): NodePlan {
    try {
      return completePlan(of, mtu, this.#health.readiness(of.fleet, of.pop), this.#tables)
    } catch (error) {
      this.#health.notPacked()
      throw error
    }
  }

  /** What complete() packed last did not come into force: if it would differ, it is asked for again. */
  notPacked(): void {
    this.#health.notPacked()
  }

  report(): HealthReport {
    return this.#health.report()
  }

  get checks(): Health['checks'] {
    return this.#health.checks
  }

  get probeCounts(): Health['probeCounts'] {
    return this.#health.probeCounts
  }

  /** The operator has spoken. */
  look(): void {
    this.#health.look()
  }

  async #replan(): Promise<void> {
    try {
      await this.#options.replan()
    } catch (error) {
      this.#health.notPacked()
      throw error
    }
  }

  /** By what other PoPs say of themselves; by the file until this node has filled. */
  #elsewhere(service: Service): boolean {
    const { fleet, pop } = this.#now
    const others = fleet.pops.filter(({ id, backends }) => {
      return id !== pop.id && backends.some((one) => one.pool === service.pool && one.weight > 0)
    })
    if (others.length === 0 || !this.#filled()) return others.length > 0
    const peers = this.#options.worker()?.status().view?.peers ?? []
    const rows = this.#options.plan().generation.serviceRows
    return servedElsewhere(service, rows, others, peers).length > 0
  }

  /** This node answers. */
  #filled(): boolean {
    return workerHealth(this.#options.worker()).ok
  }

  #sourceOf(service: Service, backend: Backend): ProbeSource | undefined {
    if (!this.#filled()) return undefined
    const { pop, self, vips } = this.#options.plan()
    const local = vips.filter((vip) => vip.local).map(({ address }) => address)
    const view = { pop, self, localVips: new Set(local) }
    const all = new Set(vips.map(({ address }) => address))
    const addresses = Object.values(networkInterfaces())
      .flatMap((rows = []) => rows)
      .filter(
        ({ internal, address }) => !internal && !all.has(address) && !/^fe[89ab]/i.test(address),
      )
      .map(({ address }) => address)
    const why = 'the worker does not go round'
    if (REAL_TIME.nowMs() - this.#stoodStillMs < STANDS_STILL_MS) return { kind: 'fails', why }
    try {
      return probeSource(view, service, backend, addresses, this.#pin, Math.random)
    } catch (error) {
      if (!(error instanceof NativeError)) throw error
      this.#stoodStillMs = REAL_TIME.nowMs()
      return { kind: 'fails', why }
    }
  }

  readonly #pin: Pin = ({ address, port }, { vip, ports }, { id }) => {
    const to = { address: addressBytes(vip), port: ports[0] ?? 0 }
    const from = { address: addressBytes(address), port }
    return this.#options.worker()?.pin(from, to, id) ?? false
  }

  #tellPath(news: ProbeNews): void {
    const { log } = this.#options
    const { name, vip } = news.service
    if (news.kind === 'service') {
      const { ok, why } = news.report
      if (ok) log.info(`connections through ${vip} reach service ${name} again`)
      else log.error(`connections through ${vip} do not reach service ${name}: ${why}`)
      return
    }
    const what = `backend ${news.backend.name} of service ${name}`
    if (news.status.state === 'down') {
      log.error(
        `connections through ${vip} do not reach ${what}, although its check succeeds: ${news.status.why}`,
      )
    } else log.info(`connections through ${vip} reach ${what} again`)
  }

  #tell(news: HealthNews): void {
    const { log } = this.#options
    const pop = this.#now.pop.name
    switch (news.kind) {
      case 'check': {
        const { backend, service, status } = news.checked
        const what = `backend ${backend.name} is ${status.state} for service ${service.name}`
        if (status.state === 'down') log.warn(`${what}: ${status.why}`)
        else if (news.before.state === 'down') log.info(what)
        return
      }
      case 'mode': {
        const { service, mode, before } = news
        const none = `PoP ${pop} has no backend for service ${service.name}`
        if (mode === 'spill') log.warn(`${none}: its new connections go to other PoPs`)
        else if (mode === 'panic') {
          log.error(
            `${none} that is up, nor has any other PoP: its new connections go to all its backends, in case the checks are wrong`,
          )
        } else if (before === 'spill' || before === 'panic') {
          log.info(`PoP ${pop} serves service ${service.name} again`)
        }
      }
    }
  }

  #remember(now = false): void {
    const { log, statePath } = this.#options
    const checks = this.#health.memory()
    const nowMs = REAL_TIME.nowMs()
    if (checks.length === 0 && this.#written === '') return
    const text = JSON.stringify(checks)
    if (!now && text === this.#written && nowMs - this.#writtenMs < REMEMBER_MS) return
    this.#written = text
    this.#writtenMs = nowMs
    try {
      writeHealthMemory(statePath, checks, nowMs)
      this.#complained = false
    } catch (error) {
      if (!this.#complained) {
        log.warn(`what health is known could not be written down: ${(error as Error).message}`)
      }
      this.#complained = true
    }
  }
}
