// The verb `run`: a node. Reads the fleet, checks the machine, takes its device, rules and routes, starts the worker and
// stays until told to stop; goes over to changed files when told to. Called by main.ts. Guarantees: nothing of the machine
// is changed before everything that can be checked has been, and what was changed is taken back, except what keeps a
// stopped node silent (docs/local-delivery.md); a reload that fails leaves the configuration of before in force.

import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { metricsRegistry } from '../../admin/metrics.js'
import { readPopMemory, writePopMemory } from '../../config/departed-file.js'
import { loadAddon, type WorkerHandle } from '../../dataplane/addon.js'
import { backendFlows } from '../../dataplane/generation.js'
import { addressBytes } from '../../fleet/address.js'
import { type Departed, departedAfter, isDone } from '../../fleet/departed.js'
import {
  bringUp,
  checkDeviceName,
  createDevice,
  type Device,
  type DeviceNeeds,
  quietDevice,
} from '../../host/device.js'
import { findPathMtu } from '../../host/mtu.js'
import { NodeVips } from '../../host/node-vips.js'
import { ADMIN_NODE, DEVICE, GUE_PORT, STATE_DIR } from '../../host/numbers.js'
import { beTheOnlyOne } from '../../host/one-here.js'
import {
  requireAddress,
  requireCapabilities,
  requireIproute,
  requireRoutingSysctls,
  requireVipsElsewhere,
} from '../../host/preconditions.js'
import { StateDir } from '../../host/state-dir.js'
import { allowAsymmetricReplies } from '../../host/sysctl.js'
import { startWorker, watchWorker } from '../../host/worker.js'
import { somethingSaid } from '../../operator/words.js'
import { createLog } from '../log.js'
import { NodeAdmin } from '../node-admin.js'
import { inputsOf, NodeAnnounce } from '../node-announce.js'
import { NodeHealth } from '../node-health.js'
import {
  type NodeFiles,
  type NodeOutline,
  type NodePlan,
  neighbours,
  outline,
  peersOf,
  planDifferences,
  readNodeFiles,
  requireSameNode,
  rereadNodeFiles,
  routingNeeds,
} from '../node-plan.js'
import { PartlyReloaded } from '../reloads.js'
import { runService, type ServiceContext, type Step } from '../service.js'

/** How often departed backends are looked at. */
const DEPARTED_LOOK_MS = 30_000

interface Options {
  readonly config: string
  readonly node: string
  readonly admin: string
  readonly device: string
  readonly state: string
}

export function register(program: Command): void {
  program
    .command('run')
    .description('be a node of the fleet')
    .requiredOption('--config <file>', 'the fleet file')
    .requiredOption('--node <name>', "this node's name in it")
    .option('--admin <address:port>', 'the admin interface, besides its UNIX socket', ADMIN_NODE)
    .option('--device <name>', 'the device that packets come in by', DEVICE)
    .option('--state <folder>', 'what outlives the process, on a tmpfs', STATE_DIR)
    .action((options: Options) => runService(createLog(), (context) => stepsOf(options, context)))
}

function stepsOf(options: Options, context: ServiceContext): readonly Step[] {
  const node = new Node(options, context)
  return [
    () => node.read(),
    () => node.check(),
    () => node.openAdmin(),
    () => node.pack(),
    () => node.silence(),
    () => node.takeDevice(),
    () => node.guard(),
    () => node.work(),
    () => node.open(),
  ]
}

/** What each step leaves for the next, and a reload for the one after it. */
class Node {
  #outline!: NodeOutline
  #plan!: NodePlan
  #admin!: NodeAdmin
  #device!: Device
  #needs!: DeviceNeeds
  #vips!: NodeVips
  #worker: WorkerHandle | undefined
  #announce: NodeAnnounce | undefined
  #metrics: ReturnType<typeof metricsRegistry> | undefined
  /** All of the plan is in force. */
  #settled = false
  readonly #startedMs = Date.now()
  readonly #state: StateDir
  #health!: NodeHealth

  constructor(
    readonly options: Options,
    readonly context: ServiceContext,
  ) {
    this.#state = new StateDir(options.state, options.node)
  }

  read(): void {
    const { config, node, device, admin } = this.options
    const { log, reloads } = this.context
    const files = readNodeFiles(config, node, log)
    const path = this.#state.departedPath
    const { memory, doubt } = readPopMemory(path, Date.now())
    if (doubt !== undefined) log.warn(`${path} is ignored: ${doubt}`)
    this.#outline = this.#outlineOf(files, memory.departed, memory.known)
    checkDeviceName(device)
    const inputs = {
      state: this.#state,
      address: admin,
      configPath: resolve(config),
      log,
      startedMs: this.#startedMs,
      worker: () => this.#worker,
      plan: () => this.#plan,
      reload: () => reloads.state,
      metrics: () => this.#metrics,
      health: () => this.#health.report(),
      announce: () => this.#announce?.report(),
    }
    this.#admin = new NodeAdmin(inputs, files)
    this.#health = new NodeHealth({
      ...this.context,
      statePath: this.#state.healthPath,
      plan: () => this.#plan,
      worker: () => this.#worker,
      words: () => this.#admin.words.words,
      silent: () => this.#announce?.silent() ?? this.#outline.fleet.announce !== undefined,
      replan: () => this.#replan(),
    })
  }

  async check(): Promise<void> {
    requireCapabilities('run')
    await requireIproute()
    const { self } = this.#outline
    await requireAddress(`node ${self.name}`, self.address)
    requireRoutingSysctls(routingNeeds(this.#outline), this.options.device)
    const advice = this.#state.make()
    if (advice !== undefined) this.context.log.warn(advice)
  }

  async openAdmin(): Promise<void> {
    await beTheOnlyOne(this.context.changes)
    await this.#admin.open(this.context.changes)
  }

  async pack(): Promise<void> {
    this.#health.start(this.#outline)
    this.#plan = await this.#complete(this.#outline)
  }

  async silence(): Promise<void> {
    const { changes, log } = this.context
    const { device, state } = this.options
    this.#announce = await NodeAnnounce.start(this.#plan, {
      changes,
      log,
      device,
      stateDir: state,
    })
  }

  async takeDevice(): Promise<void> {
    const { changes, log } = this.context
    this.#device = await createDevice(this.options.device, loadAddon().openPort, changes)
    const { kind, reason, name } = this.#device
    if (kind === 'packet') log.info({ reason }, `no TUN device: ${name} is a veth pair`)
    this.#needs = needsOf(this.#plan)
    await quietDevice(this.#device, this.#needs)
    allowAsymmetricReplies(name)
    this.#vips = new NodeVips(name, changes, (message) => log.warn(message))
  }

  async guard(): Promise<void> {
    await this.#vips.guard(this.#plan.vips, this.#plan.mtu)
  }

  work(): void {
    const { changes, fail, log, reloads } = this.context
    const { name, port } = this.#device
    const { self, fleet, generation } = this.#plan
    const worker = startWorker(self.address, this.#state.memoryPath, port, changes, () =>
      loadAddon().startNode({
        port,
        address: addressBytes(self.address),
        udpPort: GUE_PORT,
        generation: generation.blob,
        bootId: bootId(),
        flowEntries: fleet.flowTableEntries,
        memoryPath: this.#state.memoryPath,
      }),
    )
    this.#worker = worker
    const { recalls = false, doubt = null } = worker.memory ?? {}
    if (recalls) log.info('recalling the flows that were known before the restart')
    else if (doubt !== null) log.warn(`the flow table of before is not recalled: ${doubt}`)
    const plan = () => this.#plan
    const { words } = this.#admin
    this.#metrics = metricsRegistry({
      side: 'node',
      table: loadAddon().counterTable(),
      worker: () => worker.status(),
      get counters() {
        return worker.counters
      },
      get generation() {
        return plan().generation
      },
      get fleet() {
        return plan().whole
      },
      get peers() {
        return peersOf(plan().fleet, plan().self)
      },
      get reload() {
        return reloads.state
      },
      health: this.#health,
      announcements: () => this.#announce?.report(),
      self,
      words: () => words.words,
    })
    const peerChanged = (...[id, up, rttUs]: [number, boolean, number | null]) =>
      this.#peerChanged(id, up, rttUs)
    watchWorker({ worker, device: name, changes, fail, peerChanged })
  }

  async open(): Promise<void> {
    const { log, changes, reloads, supervisor } = this.context
    const { self, pop, fleet, vips, mtu } = this.#plan
    await bringUp(this.#device)
    const removed = await this.#vips.settle(vips, mtu, self.address)
    if (removed.length > 0) log.info({ removed }, 'removed what an earlier run had left')
    await requireVipsElsewhere(vips)
    this.#settled = true
    this.#remember()
    log.info(
      {
        node: self.name,
        pop: pop.name,
        address: self.address,
        vips: vips.map((vip) => vip.address),
        peers: peersOf(fleet, self).map(({ name }) => name),
        io: this.#device.kind,
        mtu,
        metrics: `${this.#admin.url}/metrics`,
      },
      `node ${self.name} of PoP ${pop.name} is running`,
    )
    const timer = setInterval(() => reloads.between(() => this.#letGo()), DEPARTED_LOOK_MS)
    changes.add('look at departed backends', () => clearInterval(timer))
    this.#announce?.serve(() =>
      inputsOf({
        plan: this.#plan,
        worker: this.#worker,
        health: this.#health.report(),
        word: this.#admin.words.words.node,
        announced: this.#announce?.silent() === false,
        nowMs: Date.now(),
      }),
    )
    reloads.serve(() => this.#reload())
    supervisor.serve(`node ${self.name} of PoP ${pop.name} is running`, this.#worker)
    this.#admin.words.onChange(() => {
      this.#admin.tellWords()
      this.#health.look()
    })
    if (somethingSaid(this.#admin.words.words)) this.#admin.tellWords()
  }

  async #reload(): Promise<readonly string[]> {
    const { config, node } = this.options
    const { log } = this.context
    const files = await rereadNodeFiles(config, node, log)
    const before = this.#plan
    requireSameNode(before, files)
    this.#admin.reload(files)
    const next = this.#outlineOf(files, before.departed, before.pop.backends)
    requireRoutingSysctls(routingNeeds(next), this.options.device)
    await requireVipsElsewhere(
      next.vips.filter(({ address }) => !before.vips.some((vip) => vip.address === address)),
    )
    const plan = await this.#complete(next)
    const words = planDifferences(before, plan)
    if (words.length === 0 && this.#settled) {
      this.#health.notPacked()
      return []
    }
    if (before.fleet.flowTableEntries !== plan.fleet.flowTableEntries) {
      log.warn('flow_table has changed: the flow table keeps its size until the next restart')
    }
    await this.#goOver(plan)
    this.#admin.forgetDeparted(files)
    for (const { backend } of plan.departed) {
      if (before.departed.some((one) => one.backend.id === backend.id)) continue
      log.info(`backend ${backend.name} is kept without new connections while flows name it`)
    }
    return words.length === 0 ? ['all that was left over from before'] : words
  }

  /** Health, or a word, has changed who takes new connections; files, rules and routes stay as they are. */
  async #replan(): Promise<void> {
    const plan = this.#health.complete(this.#plan, this.#plan.mtu)
    this.#worker?.adopt(plan.generation.blob)
    this.#plan = plan
  }

  /** Until the worker has taken the plan over, whatever fails leaves the one of before. */
  async #goOver(plan: NodePlan): Promise<void> {
    const before = this.#plan
    try {
      const needs = needsOf(plan)
      if ((needs.ipv6 && !this.#needs.ipv6) || (needs.acceptLocal && !this.#needs.acceptLocal)) {
        this.#needs = {
          ipv6: needs.ipv6 || this.#needs.ipv6,
          acceptLocal: needs.acceptLocal || this.#needs.acceptLocal,
        }
        await quietDevice(this.#device, this.#needs)
      }
      await this.#vips.guard(plan.vips, plan.mtu)
      this.#worker?.adopt(plan.generation.blob)
    } catch (error) {
      this.#health.notPacked()
      this.#settled = false
      await this.#vips
        .settle(before.vips, before.mtu, before.self.address)
        .then(() => {
          this.#settled = true
        })
        .catch((also: unknown) => this.context.log.warn((also as Error).message))
      throw error
    }
    this.#plan = plan
    this.#health.follow(plan)
    this.#settled = false
    this.#remember()
    await this.#vips.settle(plan.vips, plan.mtu, plan.self.address).catch((error: unknown) => {
      throw new PartlyReloaded(
        `the new configuration is in force, but rules and routes do not follow it: ${(error as Error).message}; mend that and reload again`,
      )
    })
    this.#settled = true
    this.#announce?.adopt(plan)
  }

  /** Departed backends that no flow names any more go. */
  async #letGo(): Promise<void> {
    const plan = this.#plan
    const done = plan.departed.filter((one) =>
      isDone(one, this.#flowsOf(one), this.#startedMs, Date.now()),
    )
    if (done.length === 0) return
    const left = plan.departed.filter((one) => !done.includes(one))
    await this.#goOver(this.#health.complete(outline(plan, left), plan.mtu))
    for (const { backend } of done) {
      this.context.log.info(`backend ${backend.name} is let go: no flow names it any more`)
    }
  }

  #flowsOf({ backend }: Departed): number {
    const { generation } = this.#plan
    const row = generation.backendRows.findIndex(({ id }) => id === backend.id)
    const counters = this.#worker?.counters ?? new BigUint64Array(0)
    return backendFlows(counters, loadAddon().counterTable().length, generation, row)
  }

  #outlineOf(
    files: NodeFiles,
    departed: readonly Departed[],
    known: NodeOutline['pop']['backends'],
  ): NodeOutline {
    const { fleet, pop } = files
    return outline(files, departedAfter(departed, known, fleet, pop.id, Date.now()))
  }

  async #complete(of: NodeOutline): Promise<NodePlan> {
    const { mtu, unreachable } = await findPathMtu(neighbours(of))
    if (unreachable.length > 0) {
      this.context.log.warn({ unreachable }, 'no route leads to some peers or backends now')
    }
    return this.#health.complete(of, mtu)
  }

  /** For the next life. */
  #remember(): void {
    const { pop, departed } = this.#plan
    try {
      writePopMemory(this.#state.departedPath, { known: pop.backends, departed })
    } catch (error) {
      this.context.log.warn(
        `which backends this PoP has could not be written down for a restart: ${(error as Error).message}`,
      )
    }
  }

  #peerChanged(nodeId: number, up: boolean, rttUs: number | null): void {
    const { log } = this.context
    const { fleet, self } = this.#plan
    const peer = peersOf(fleet, self).find(({ id }) => id === nodeId)
    if (peer === undefined) return
    const pop = fleet.pops.find(({ id }) => id === peer.popId)?.name
    const about = { peer: peer.name, pop, ...(rttUs === null ? {} : { rttMs: rttUs / 1000 }) }
    if (up) log.info(about, `peer ${peer.name} is up`)
    else log.warn(about, `peer ${peer.name} is down`)
  }
}

function needsOf({ vips }: NodeOutline): DeviceNeeds {
  return {
    ipv6: vips.some(({ family }) => family === 6),
    acceptLocal: vips.some(({ local }) => local),
  }
}

/** Random and not 0, which stands for "none". */
function bootId(): bigint {
  return randomBytes(8).readBigUInt64BE() || 1n
}
