// A node's admin interface: where it listens, its token, the words said to it. Made by the verb `run`. Guarantees: it
// listens before anything of the machine is changed; what other machines reach needs the token.

import { parseAdminAddress } from '../admin/address.js'
import type { Pages } from '../admin/answer.js'
import { EXPLAIN_REQUESTS_PER_S } from '../admin/guard.js'
import type { Listener } from '../admin/listen.js'
import { nodePages, wordsInForce } from '../admin/node-pages.js'
import { statusPage } from '../admin/page-files.js'
import { commonPages } from '../admin/pages.js'
import { type AdminServer, startAdmin } from '../admin/server.js'
import type { AnnounceReport } from '../announce/report.js'
import { loadAddon, type WorkerHandle } from '../dataplane/addon.js'
import { explainPage } from '../explain/page.js'
import { adminText, readAdminAddress } from '../fleet/admin-address.js'
import type { HealthReport } from '../health/report.js'
import type { Changes } from '../host/changes.js'
import type { StateDir } from '../host/state-dir.js'
import { workerHealth } from '../host/worker.js'
import { WordStore } from '../operator/store.js'
import { buildStatus } from '../status/build.js'
import type { StatusDocument } from '../status/model.js'
import { readToken, refuseReload, refuseStart } from './fleet-input.js'
import type { Log } from './log.js'
import type { NodeFiles, NodePlan } from './node-plan.js'
import type { ReloadState } from './reloads.js'

/** /status asks for a count of flows when the last one is older. */
const COUNT_AGAIN_MS = 1000

export interface NodeAdminInputs {
  readonly state: StateDir
  /** --admin. */
  readonly address: string
  readonly configPath: string
  readonly log: Log
  readonly startedMs: number
  /** Undefined until it runs. */
  readonly worker: () => WorkerHandle | undefined
  readonly plan: () => NodePlan
  readonly reload: () => ReloadState
  readonly health: () => HealthReport
  readonly announce: () => AnnounceReport | undefined
  readonly metrics: () => { readonly contentType: string; metrics(): Promise<string> } | undefined
}

export class NodeAdmin {
  readonly words: WordStore
  #server: AdminServer | undefined
  #token: string | undefined

  constructor(
    readonly inputs: NodeAdminInputs,
    readonly files: NodeFiles,
  ) {
    const { state, log, address } = inputs
    const { store, doubt } = WordStore.read(state.wordsPath)
    if (doubt !== undefined) log.warn(`${state.wordsPath} is ignored: ${doubt}`)
    this.words = store
    const tokenFile = files.fleet.adminTokenFile
    if (tokenFile !== undefined) this.#token = readToken(tokenFile, log, refuseStart)
    parseAdminAddress(address, this.#token !== undefined)
  }

  get url(): string {
    return this.#server?.url ?? ''
  }

  async open(changes: Changes): Promise<void> {
    const { worker, metrics, plan, log, state } = this.inputs
    const pages: Pages = {
      ...statusPage(),
      ...commonPages({
        health: () => workerHealth(worker()),
        metrics: async () => ({
          contentType: metrics()?.contentType ?? 'text/plain; charset=utf-8',
          text: (await metrics()?.metrics()) ?? '',
        }),
      }),
      ...nodePages({
        status: () => this.status(Date.now()),
        nowMs: () => performance.now(),
        words: this.words,
        backends: () => (worker() === undefined ? this.files : plan()).pop.backends,
        stop: () => process.kill(process.pid, 'SIGTERM'),
      }),
      '/explain': {
        kind: 'read',
        perS: EXPLAIN_REQUESTS_PER_S,
        read: (query) => explainPage({ worker, plan }, query),
      },
    }
    const server = await startAdmin({
      listeners: [...this.#tcpListeners(), { kind: 'unix', path: state.socketPath }],
      pages,
      token: () => this.#token,
      warn: (message) => log.warn(message),
    })
    this.#server = server
    changes.add('admin server', () => server.close())
    // Not before: a start that is refused, as beside a node that lives, must leave that node's words alone.
    this.forgetDeparted(this.files)
  }

  /** Undefined until the worker runs. */
  status(nowMs: number): StatusDocument | undefined {
    const { worker, plan, reload, configPath, startedMs } = this.inputs
    const handle = worker()
    if (handle === undefined) return undefined
    const { self, pop, fleet, whole, departed, generation } = plan()
    const seen = handle.status()
    const { countedMs = COUNT_AGAIN_MS } = seen.view ?? {}
    if (countedMs >= COUNT_AGAIN_MS) handle.survey()
    return buildStatus(
      {
        config: configPath,
        self,
        pop,
        whole,
        departed: new Set(departed.map(({ backend }) => backend.id)),
        generation,
        table: loadAddon().counterTable(),
        counters: handle.counters,
        worker: seen,
        words: this.words,
        reload: reload(),
        startedMs,
        health: this.inputs.health(),
        announce: fleet.announce === undefined ? undefined : this.inputs.announce(),
      },
      nowMs,
    )
  }

  /** The token may have been replaced; where it listens stays. Throws, with all as before, when the token cannot be read. */
  reload(files: NodeFiles): void {
    const { log } = this.inputs
    const path = files.fleet.adminTokenFile
    const before = this.files.self.admin
    if (files.self.admin !== before) {
      log.warn('the admin address of this node has changed: it takes effect at the next restart')
    }
    // Where it listens for other machines it must go on asking for one.
    if (path !== undefined) this.#token = readToken(path, log, refuseReload(log))
  }

  /** In the log: the words that are in force now. */
  tellWords(): void {
    const { log, plan } = this.inputs
    log.info(wordsInForce(this.words, plan().pop.backends), 'acting by the words of the operator')
  }

  #tcpListeners(): readonly Listener[] {
    const { address } = this.inputs
    const option = { kind: 'tcp', option: '--admin' } as const
    const first = parseAdminAddress(address, this.#token !== undefined)
    const own = readAdminAddress(this.files.self.admin ?? '')
    if (own === undefined || adminText(own) === adminText(first))
      return [{ ...option, address: first }]
    return [
      { ...option, address: first },
      { kind: 'tcp', address: own, option: '"admin" of this node in the fleet file' },
    ]
  }

  /** Of backends that are not configured any more no word is kept. */
  forgetDeparted({ pop }: NodeFiles): void {
    try {
      const dropped = this.words.keepOnly(new Set(pop.backends.map(({ id }) => id)))
      if (dropped > 0) {
        this.inputs.log.info(
          `the words about ${dropped} backends that are not configured any more are dropped`,
        )
      }
    } catch (error) {
      this.inputs.log.warn(
        `the operator's words cannot be written down: ${(error as Error).message}`,
      )
    }
  }
}
