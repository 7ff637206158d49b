// The announcements of a node, for the verb `run`: what they are decided from, and their place in the node's life.
// Guarantees: nothing is announced before the node is able, and all is withdrawn before anything else stops.

import { join } from 'node:path'
import { Announcer } from '../announce/announcer.js'
import type { AnnounceInputs, AnnounceReport } from '../announce/report.js'
import type { WorkerHandle } from '../dataplane/addon.js'
import type { Pop } from '../fleet/model.js'
import type { Changes } from '../host/changes.js'
import { workerHealth } from '../host/worker.js'
import type { Log } from './log.js'
import { type NodeOutline, peersOf } from './node-plan.js'

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
}

/** A service counts as served where it has a backend that takes new connections. */
export function inputsOf(plan: NodeOutline, worker: WorkerHandle | undefined): AnnounceInputs {
  const { fleet, pop, self } = plan
  const health = workerHealth(worker)
  const up = new Set(
    worker
      ?.status()
      .view?.peers.filter((peer) => peer.up)
      .map(({ nodeId }) => nodeId),
  )
  const others = fleet.pops.filter(({ id }) => id !== pop.id)
  const heard = others.filter(({ nodes }) => nodes.some(({ id }) => up.has(id)))
  const serves = ({ backends }: Pop, pool: string) =>
    backends.some((backend) => backend.pool === pool && backend.weight > 0)
  return {
    node: 'ready',
    able: health,
    served: new Map(
      fleet.services.map(({ name, pool }) => [
        name,
        [pop, ...heard].some((one) => serves(one, pool)),
      ]),
    ),
    elsewhere: new Map(
      fleet.services.map(({ name, pool }) => [
        name,
        heard.filter((one) => serves(one, pool)).map((one) => one.name),
      ]),
    ),
    alone:
      others.length > 0 &&
      !peersOf(fleet, self).some(({ id, popId }) => popId !== pop.id && up.has(id)),
  }
}
