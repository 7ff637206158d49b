// The announcements of a node, for the verb `run`: what they are decided from, and their place in the node's life.
// Guarantees: nothing is announced before the node is able, and all is withdrawn before anything else stops.

import { join } from 'node:path'
import { Announcer } from '../announce/announcer.js'
import type { AnnounceInputs, AnnounceReport } from '../announce/report.js'
import type { PeerView, WorkerHandle } from '../dataplane/addon.js'
import { servedElsewhere } from '../fleet/elsewhere.js'
import type { Service } from '../fleet/model.js'
import { pathAble } from '../health/probe.js'
import type { HealthReport } from '../health/report.js'
import type { Changes } from '../host/changes.js'
import { workerHealth } from '../host/worker.js'
import type { Word } from '../operator/words.js'
import type { Log } from './log.js'
import type { NodeOutline, NodePlan } from './node-plan.js'

export interface NodeAnnounceOptions {
  readonly changes: Changes
  readonly log: Log
  readonly device: string
  readonly stateDir: string
}

export class NodeAnnounce {
  readonly #announcer: Announcer

  private constructor(
    { self, pop }: NodeOutline,
    readonly options: NodeAnnounceOptions,
  ) {
    const { device, stateDir, log } = options
    this.#announcer = new Announcer({
      node: self.name,
      pop: pop.name,
      device,
      include: join(stateDir, `${self.name}.bird.conf`),
      memory: join(stateDir, `${self.name}.announced.json`),
      log: { info: (message) => log.info(message), warn: (message) => log.warn(message) },
    })
  }

  /** Before there is a device: what an earlier life left is withdrawn. */
  static async start(plan: NodeOutline, options: NodeAnnounceOptions): Promise<NodeAnnounce> {
    const started = new NodeAnnounce(plan, options)
    options.changes.add('announcer', () => started.#announcer.stop())
    await started.#announcer.start(plan.fleet.announce)
    return started
  }

  /** The node is running. */
  serve(inputs: () => AnnounceInputs): void {
    this.options.changes.add('announcements', () => this.#announcer.stop())
    this.#announcer.serve(inputs)
  }

  adopt(plan: NodeOutline): void {
    this.#announcer.adopt(plan.fleet.announce)
  }

  report(): AnnounceReport {
    return this.#announcer.report()
  }

  /** It is to announce, and announces nothing. */
  silent(): boolean {
    const { prefixes } = this.report()
    return prefixes.length > 0 && prefixes.every(({ state }) => state === 'withdrawn')
  }
}

/** How long a failing path is only told of: health, REACH and a view of it take about 2.5 s. */
const PATH_GRACE_MS = 4000

export interface Grounds {
  readonly plan: NodePlan
  readonly worker: WorkerHandle | undefined
  readonly health: HealthReport
  readonly word: Word
  /** It announces something now. */
  readonly announced: boolean
  readonly nowMs: number
}

/** What announcements are decided from. A service is served here when a backend takes its new connections, known by a
 * check if it has any, and this node's own connections get through; and where this PoP spills to, when one there does. */
export function inputsOf({
  plan,
  worker,
  health,
  word,
  announced,
  nowMs,
}: Grounds): AnnounceInputs {
  const { fleet, pop, generation } = plan
  const peers = worker?.status().view?.peers ?? []
  const others = fleet.pops.filter(({ id }) => id !== pop.id)
  const elsewhereBy = (heard: readonly PeerView[]) =>
    new Map(
      fleet.services.map((service) => {
        const pops = servedElsewhere(service, generation.serviceRows, others, heard)
        return [service.name, pops.map(({ name }) => name)]
      }),
    )
  const spillsTo = elsewhereBy(peers)
  // Others are told first that this path fails, and have time to say what they do.
  const path = pathAble(
    health.probes.map((probe) => ({
      ...probe,
      ok: probe.ok || (announced && nowMs - probe.sinceMs < PATH_GRACE_MS),
    })),
  )
  const told = peers.some(({ popId, up, unserved }) => popId !== pop.id && up && unserved !== null)
  const sibling = peers.some(
    ({ popId, up, peerFilled, draining }) => popId === pop.id && up && peerFilled && !draining,
  )
  return {
    node: word,
    able: workerHealth(worker),
    served: new Map(
      fleet.services.flatMap((service): [string, boolean][] => {
        if (!path.ok) return [[service.name, false]]
        const here = servedHere(service, health)
        if (here === undefined) return []
        return [[service.name, here || (spillsTo.get(service.name) ?? []).length > 0]]
      }),
    ),
    elsewhere: elsewhereBy(peers.filter(({ silent }) => !silent)),
    alone: (others.length > 0 && !told) || (!path.ok && sibling),
  }
}

/** undefined: no check has ended yet, or no connection through the VIP. */
function servedHere({ name, health }: Service, report: HealthReport): boolean | undefined {
  const ready = report.services.find(({ service }) => service === name)?.ready ?? 0
  if (health === undefined || ready === 0) return ready > 0
  const checks = report.backends.filter(({ service }) => service === name)
  const isKnown = checks.some(({ state }) => state === 'up') && !report.unprobed.includes(name)
  return isKnown ? true : undefined
}
