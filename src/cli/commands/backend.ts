// The verb `backend`: the backend machine's side. A device that carries the VIPs, the worker that takes packets out of
// GUE, and routes whose small MSS leaves room for it. Called by main.ts. Guarantees: nothing is changed before all that
// can be checked has been; everything is taken back; a reload that fails leaves the configuration of before in force.

import { isDeepStrictEqual } from 'node:util'
import type { Command } from 'commander'
import { parseAdminAddress } from '../../admin/address.js'
import { metricsRegistry } from '../../admin/metrics.js'
import { commonPages } from '../../admin/pages.js'
import { type AdminServer, startAdmin } from '../../admin/server.js'
import { loadAddon, type WorkerHandle } from '../../dataplane/addon.js'
import { type Generation, packGeneration } from '../../dataplane/generation.js'
import { addressBytes } from '../../fleet/address.js'
import { isOfThisMachine } from '../../fleet/admin-address.js'
import { fleetDifferences } from '../../fleet/differences.js'
import type { Backend, Fleet, Pop } from '../../fleet/model.js'
import {
  bringUp,
  checkDeviceName,
  createDevice,
  type Device,
  quietDevice,
} from '../../host/device.js'
import type { Family } from '../../host/ip.js'
import { findPathMtu } from '../../host/mtu.js'
import {
  ADMIN_BACKEND,
  DEFAULT_MTU,
  DEVICE,
  GUE_PORT,
  MSS_BELOW_MTU,
  PREF_REPLY_BACKEND,
  VIP_TABLE,
} from '../../host/numbers.js'
import { beTheOnlyOne } from '../../host/one-here.js'
import {
  requireAddress,
  requireCapabilities,
  requireIproute,
  requireIpv6,
} from '../../host/preconditions.js'
import { ReplyRoutes, type ReplyRoutesOptions, replyRules } from '../../host/reply-routes.js'
import { allowAsymmetricReplies } from '../../host/sysctl.js'
import { putOnDevice, removeOthersFromDevice, sweepLeftovers } from '../../host/vip-routing.js'
import { startWorker, watchWorker, workerHealth } from '../../host/worker.js'
import { UserError } from '../errors.js'
import { findNamed, readFleet, readToken, refuseStart, rereadFleet } from '../fleet-input.js'
import { createLog } from '../log.js'
import { PartlyReloaded } from '../reloads.js'
import { runService, type ServiceContext, type Step } from '../service.js'

interface Options {
  readonly config: string
  readonly name: string
  readonly admin: string
  readonly device: string
}

interface Vip {
  readonly address: string
  readonly family: Family
}

/** What the fleet file says. */
interface Files {
  readonly fleet: Fleet
  readonly self: Backend
  readonly pop: Pop
  readonly vips: readonly Vip[]
}

interface Plan extends Files {
  readonly mss: number
  readonly generation: Generation
}

export function register(program: Command): void {
  program
    .command('backend')
    .description('be a backend machine: take packets out of GUE and give them to its servers')
    .requiredOption('--config <file>', 'the fleet file')
    .requiredOption('--name <backend>', "this backend's name in it")
    .option('--admin <address:port>', 'metrics and health', ADMIN_BACKEND)
    .option('--device <name>', 'the device that carries the VIPs', DEVICE)
    .action((options: Options) => runService(createLog(), (context) => stepsOf(options, context)))
}

function stepsOf(options: Options, context: ServiceContext): readonly Step[] {
  const side = new BackendSide(options, context)
  return [
    () => side.read(),
    () => side.check(),
    () => side.openAdmin(),
    () => side.pack(),
    () => side.takeDevice(),
    () => side.work(),
    () => side.open(),
  ]
}

function filesOf(fleet: Fleet, { config, name }: Options): Files {
  const what = { noun: 'backend', option: '--name', path: config }
  const { found, pop } = findNamed(fleet, ({ backends }) => backends, what, name)
  if (found.deliver === 'local') {
    const node = pop.nodes.find(({ id }) => id === found.nodeId)?.name
    throw new UserError(
      `backend ${name} has "deliver: local", so node ${node} hands it its packets without GUE: run "steadycast run --config ${config} --node ${node}" on this machine instead`,
    )
  }
  // One machine may be a backend of several pools; the one process serves them all.
  const here = pop.backends.filter(
    ({ deliver, address }) => deliver === 'gue' && address === found.address,
  )
  const pools = new Set(here.map(({ pool }) => pool))
  const services = fleet.services.filter(({ pool }) => pools.has(pool))
  const vips = [
    ...new Map(services.map(({ vip, family }) => [vip, { address: vip, family }])).values(),
  ]
  if (vips.length === 0) {
    throw new UserError(
      `no service in ${config} uses the pool ${JSON.stringify(found.pool)} of backend ${name}, expected one: name it in a service, or correct the backend's pool`,
    )
  }
  return { fleet, self: found, pop, vips }
}

/** Throws when a reload cannot bring this about. */
function requireSameBackend(before: Files, after: Files): void {
  const differ = [
    { what: "this backend's address", from: before.self.address, to: after.self.address },
    { what: "this backend's PoP", from: before.pop.id, to: after.pop.id },
  ].find(({ from, to }) => from !== to)
  if (differ === undefined) return
  throw new UserError(
    `${differ.what} was ${differ.from} and is now ${differ.to}, which a running backend side cannot take over: restart it`,
  )
}

async function makePlan(files: Files): Promise<Plan> {
  const { mtu } = await findPathMtu(files.pop.nodes.map(({ address }) => address))
  return {
    ...files,
    mss: Math.min(mtu, DEFAULT_MTU) - MSS_BELOW_MTU,
    generation: packGeneration(files.fleet, { kind: 'backend' }, mtu),
  }
}

function hasIpv6({ vips }: Files): boolean {
  return vips.some(({ family }) => family === 6)
}

/** What each step leaves for the next, and a reload for the one after it. */
class BackendSide {
  #files!: Files
  #plan!: Plan
  #admin!: AdminServer
  #token: string | undefined
  #device!: Device
  #ipv6 = false
  #replies!: ReplyRoutes
  #worker: WorkerHandle | undefined
  #metrics: ReturnType<typeof metricsRegistry> | undefined
  /** All of the plan is in force. */
  #settled = false

  constructor(
    readonly options: Options,
    readonly context: ServiceContext,
  ) {}

  read(): void {
    this.#files = filesOf(readFleet(this.options.config, this.context.log), this.options)
    checkDeviceName(this.options.device)
    const { adminTokenFile } = this.#files.fleet
    const address = parseAdminAddress(this.options.admin, adminTokenFile !== undefined)
    // Backend machines need no token as long as nobody asks them from elsewhere.
    if (adminTokenFile !== undefined && !isOfThisMachine(address)) {
      this.#token = readToken(adminTokenFile, this.context.log, refuseStart)
    }
  }

  async check(): Promise<void> {
    requireCapabilities('backend')
    await requireIproute()
    const { name, address } = this.#files.self
    await requireAddress(`backend ${name}`, address)
    if (hasIpv6(this.#files)) requireIpv6()
  }

  async openAdmin(): Promise<void> {
    await beTheOnlyOne(this.context.changes)
    const pages = commonPages({
      health: () => workerHealth(this.#worker),
      metrics: async () => ({
        contentType: this.#metrics?.contentType ?? 'text/plain; charset=utf-8',
        text: (await this.#metrics?.metrics()) ?? '',
      }),
    })
    const address = parseAdminAddress(this.options.admin, this.#token !== undefined)
    this.#admin = await startAdmin({
      listeners: [{ kind: 'tcp', address, option: '--admin' }],
      pages,
      token: () => this.#token,
      warn: (message) => this.context.log.warn(message),
    })
    this.context.changes.add('admin server', () => this.#admin.close())
  }

  async pack(): Promise<void> {
    this.#plan = await makePlan(this.#files)
  }

  async takeDevice(): Promise<void> {
    const { changes, log } = this.context
    this.#device = await createDevice(this.options.device, loadAddon().openPort, changes)
    const { kind, reason, name } = this.#device
    if (kind === 'packet') log.info({ reason }, `no TUN device: ${name} is a veth pair`)
    this.#ipv6 = hasIpv6(this.#plan)
    await quietDevice(this.#device, { ipv6: this.#ipv6, acceptLocal: false })
    allowAsymmetricReplies(name)
    // They go with the device.
    await putOnDevice(this.#plan.vips, name)
    this.#replies = new ReplyRoutes(this.#replyOptions(this.#plan))
    await this.#replies.start(changes)
  }

  work(): void {
    const { changes, fail, reloads } = this.context
    const { name, port } = this.#device
    const { self, pop, generation } = this.#plan
    const worker = startWorker(self.address, null, port, changes, () =>
      loadAddon().startBackend({
        port,
        address: addressBytes(self.address),
        udpPort: GUE_PORT,
        generation: generation.blob,
        popId: pop.id,
      }),
    )
    this.#worker = worker
    const plan = () => this.#plan
    this.#metrics = metricsRegistry({
      side: 'backend',
      table: loadAddon().counterTable(),
      worker: () => worker.status(),
      peers: [],
      get counters() {
        return worker.counters
      },
      get generation() {
        return plan().generation
      },
      get fleet() {
        return plan().fleet
      },
      get reload() {
        return reloads.state
      },
    })
    watchWorker({ worker, device: name, changes, fail, peerChanged: () => {} })
  }

  async open(): Promise<void> {
    const { log, reloads, supervisor } = this.context
    const { self, pop, vips, mss } = this.#plan
    await bringUp(this.#device)
    const removed = await sweepLeftovers(replyRules(this.#replyOptions(this.#plan)), [])
    if (removed.length > 0) log.info({ removed }, 'removed what an earlier run had left')
    this.#settled = true
    log.info(
      {
        backend: self.name,
        pop: pop.name,
        address: self.address,
        vips: vips.map(({ address }) => address),
        nodes: pop.nodes.map(({ name }) => name),
        io: this.#device.kind,
        mss,
        metrics: `${this.#admin.url}/metrics`,
      },
      `backend ${self.name} of PoP ${pop.name} is running`,
    )
    reloads.serve(() => this.#reload())
    supervisor.serve(`backend ${self.name} of PoP ${pop.name} is running`, this.#worker)
  }

  async #reload(): Promise<readonly string[]> {
    const fleet = await rereadFleet(this.options.config, this.context.log)
    const files = filesOf(fleet, this.options)
    const before = this.#plan
    requireSameBackend(before, files)
    if (hasIpv6(files)) requireIpv6()
    const plan = await makePlan(files)
    const words = [
      ...fleetDifferences(before.fleet, plan.fleet),
      ...(before.mss === plan.mss ? [] : [`MSS ${before.mss} to ${plan.mss}`]),
    ]
    const same = isDeepStrictEqual(before.generation.blob, plan.generation.blob)
    if (words.length === 0 && same && this.#settled) return []
    await this.#goOver(plan)
    return words.length === 0 ? ['the order of the file'] : words
  }

  /** VIPs come before the worker knows them and go after it has let them go. */
  async #goOver(plan: Plan): Promise<void> {
    const before = this.#plan
    const all = [
      ...new Map([...before.vips, ...plan.vips].map((vip) => [vip.address, vip])).values(),
    ]
    this.#settled = false
    try {
      if (hasIpv6(plan) && !this.#ipv6) {
        await quietDevice(this.#device, { ipv6: true, acceptLocal: false })
        this.#ipv6 = true
      }
      await putOnDevice(all, this.#device.name)
      await this.#replies.follow({ vips: all, mss: plan.mss }, this.context.changes)
      this.#worker?.adopt(plan.generation.blob)
    } catch (error) {
      await this.#settle(before).catch((also: unknown) =>
        this.context.log.warn((also as Error).message),
      )
      throw error
    }
    this.#plan = plan
    await this.#settle(plan).catch((error: unknown) => {
      throw new PartlyReloaded(
        `the new configuration is in force, but addresses and routes do not follow it: ${(error as Error).message}; mend that and reload again`,
      )
    })
  }

  async #settle({ vips, mss }: Plan): Promise<void> {
    await removeOthersFromDevice(vips, this.#device.name)
    await this.#replies.follow({ vips, mss }, this.context.changes)
    this.#settled = true
  }

  #replyOptions({ vips, mss }: Plan): ReplyRoutesOptions {
    return {
      table: VIP_TABLE,
      pref: PREF_REPLY_BACKEND,
      vips,
      mss,
      device: this.options.device,
      warn: (message) => this.context.log.warn(message),
    }
  }
}
