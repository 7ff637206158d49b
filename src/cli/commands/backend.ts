// The verb `backend`: the backend machine's side. A device that carries the VIPs, the worker that takes packets out of
// GUE, and routes whose small MSS leaves room for it. Called by main.ts. Guarantees: nothing is
// changed before all that can be checked has been; everything is taken back.

import type { Command } from 'commander'
import { parseAdminAddress } from '../../admin/address.js'
import { metricsRegistry } from '../../admin/metrics.js'
import { type AdminServer, type AdminSources, startAdmin } from '../../admin/server.js'
import { loadAddon, type WorkerHandle } from '../../dataplane/addon.js'
import { type Generation, packGeneration } from '../../dataplane/generation.js'
import { addressBytes } from '../../fleet/address.js'
import type { Backend, Fleet, Pop } from '../../fleet/model.js'
import {
  bringUp,
  checkDeviceName,
  createDevice,
  type Device,
  quietDevice,
} from '../../host/device.js'
import { type Family, ip } from '../../host/ip.js'
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
import { addressCommands, sweepLeftovers } from '../../host/vip-routing.js'
import { startWorker, watchWorker, workerHealth } from '../../host/worker.js'
import { UserError } from '../errors.js'
import { findNamed, readFleet } from '../fleet-input.js'
import { createLog } from '../log.js'
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

export function register(program: Command): void {
  program
    .command('backend')
    .description('be a backend machine: take packets out of GUE and give them to its servers')
    .requiredOption('--config <file>', 'the fleet file')
    .requiredOption('--name <backend>', "this backend's name in it")
    .option('--admin <address:port>', 'metrics and health, on loopback', ADMIN_BACKEND)
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

/** What each step leaves for the next. */
class BackendSide {
  #fleet!: Fleet
  #self!: Backend
  #pop!: Pop
  #vips!: readonly Vip[]
  #generation!: Generation
  #mss = DEFAULT_MTU - MSS_BELOW_MTU
  #admin!: AdminServer
  #device!: Device
  #worker: WorkerHandle | undefined
  #metrics: ReturnType<typeof metricsRegistry> | undefined

  constructor(
    readonly options: Options,
    readonly context: ServiceContext,
  ) {}

  read(): void {
    const { config, name, device } = this.options
    this.#fleet = readFleet(config, this.context.log)
    const what = { noun: 'backend', option: '--name', path: config }
    const { found, pop } = findNamed(this.#fleet, ({ backends }) => backends, what, name)
    if (found.deliver === 'local') {
      const node = pop.nodes.find(({ id }) => id === found.nodeId)?.name
      throw new UserError(
        `backend ${name} has "deliver: local", so node ${node} hands it its packets without GUE: run "steadycast run --config ${config} --node ${node}" on this machine instead`,
      )
    }
    this.#self = found
    this.#pop = pop
    // One machine may be a backend of several pools; the one process serves them all.
    const here = pop.backends.filter(
      ({ deliver, address }) => deliver === 'gue' && address === found.address,
    )
    const pools = new Set(here.map(({ pool }) => pool))
    const services = this.#fleet.services.filter(({ pool }) => pools.has(pool))
    this.#vips = [
      ...new Map(services.map(({ vip, family }) => [vip, { address: vip, family }])).values(),
    ]
    if (this.#vips.length === 0) {
      throw new UserError(
        `no service in ${config} uses the pool ${JSON.stringify(found.pool)} of backend ${name}, expected one: name it in a service, or correct the backend's pool`,
      )
    }
    checkDeviceName(device)
    parseAdminAddress(this.options.admin)
  }

  async check(): Promise<void> {
    requireCapabilities('backend')
    await requireIproute()
    await requireAddress(`backend ${this.#self.name}`, this.#self.address)
    if (this.#vips.some(({ family }) => family === 6)) requireIpv6()
  }

  async openAdmin(): Promise<void> {
    await beTheOnlyOne(this.context.changes)
    const sources: AdminSources = {
      health: () => workerHealth(this.#worker),
      metrics: async () => ({
        contentType: this.#metrics?.contentType ?? 'text/plain; charset=utf-8',
        text: (await this.#metrics?.metrics()) ?? '',
      }),
    }
    this.#admin = await startAdmin(parseAdminAddress(this.options.admin), sources, (message) =>
      this.context.log.warn(message),
    )
    this.context.changes.add('admin server', () => this.#admin.close())
  }

  async pack(): Promise<void> {
    const { mtu } = await findPathMtu(this.#pop.nodes.map(({ address }) => address))
    this.#mss = Math.min(mtu, DEFAULT_MTU) - MSS_BELOW_MTU
    this.#generation = packGeneration(this.#fleet, { kind: 'backend' }, mtu)
  }

  async takeDevice(): Promise<void> {
    const { changes, log } = this.context
    this.#device = await createDevice(this.options.device, loadAddon().openPort, changes)
    const { kind, reason, name } = this.#device
    if (kind === 'packet') log.info({ reason }, `no TUN device: ${name} is a veth pair`)
    const ipv6 = this.#vips.some(({ family }) => family === 6)
    await quietDevice(this.#device, { ipv6, acceptLocal: false })
    allowAsymmetricReplies(name)
    // They go with the device.
    for (const vip of this.#vips) await ip(...addressCommands(vip, name)[0])
    await new ReplyRoutes(this.#replyOptions()).start(changes)
  }

  work(): void {
    const { changes, fail } = this.context
    const { name, port } = this.#device
    this.#worker = startWorker(this.#self.address, port, changes, () =>
      loadAddon().startBackend({
        port,
        address: addressBytes(this.#self.address),
        udpPort: GUE_PORT,
        generation: this.#generation.blob,
        popId: this.#pop.id,
      }),
    )
    this.#metrics = metricsRegistry({
      side: 'backend',
      table: loadAddon().counterTable(),
      counters: this.#worker.counters,
      generation: this.#generation,
      fleet: this.#fleet,
      peers: [],
      worker: this.#worker.status,
    })
    watchWorker({ worker: this.#worker, device: name, changes, fail, peerChanged: () => {} })
  }

  async open(): Promise<void> {
    const { log } = this.context
    await bringUp(this.#device)
    const removed = await sweepLeftovers(replyRules(this.#replyOptions()), [])
    if (removed.length > 0) log.info({ removed }, 'removed what an earlier run had left')
    log.info(
      {
        backend: this.#self.name,
        pop: this.#pop.name,
        address: this.#self.address,
        vips: this.#vips.map(({ address }) => address),
        nodes: this.#pop.nodes.map(({ name }) => name),
        io: this.#device.kind,
        mss: this.#mss,
        metrics: `${this.#admin.url}/metrics`,
      },
      `backend ${this.#self.name} of PoP ${this.#pop.name} is running`,
    )
  }

  #replyOptions(): ReplyRoutesOptions {
    return {
      table: VIP_TABLE,
      pref: PREF_REPLY_BACKEND,
      vips: this.#vips,
      mss: this.#mss,
      device: this.options.device,
      warn: (message) => this.context.log.warn(message),
    }
  }
}
