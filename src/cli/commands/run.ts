// The verb `run`: a node. Reads the fleet, checks the machine, takes its device, rules and routes, starts the worker and
// stays until told to stop. Called by main.ts. Guarantees: nothing of the machine is changed before everything that can be
// checked has been, and what was changed is taken back, except what keeps a stopped node silent (docs/local-delivery.md).

import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { parseAdminAddress } from '../../admin/address.js'
import { metricsRegistry } from '../../admin/metrics.js'
import { type AdminServer, type AdminSources, startAdmin } from '../../admin/server.js'
import { loadAddon, type WorkerHandle } from '../../dataplane/addon.js'
import { type Generation, type Key, packGeneration } from '../../dataplane/generation.js'
import { addressBytes } from '../../fleet/address.js'
import type { Fleet, FleetNode, Pop, Service } from '../../fleet/model.js'
import {
  bringUp,
  checkDeviceName,
  createDevice,
  type Device,
  quietDevice,
} from '../../host/device.js'
import { ip } from '../../host/ip.js'
import { findPathMtu } from '../../host/mtu.js'
import {
  ADMIN_NODE,
  DEFAULT_MTU,
  DEVICE,
  GUE_PORT,
  MSS_BELOW_MTU,
  PREF_LOCAL,
  PREF_REPLY_NODE,
  PROTOCOL,
  REPLY_TABLE,
} from '../../host/numbers.js'
import { beTheOnlyOne } from '../../host/one-here.js'
import {
  requireAddress,
  requireCapabilities,
  requireIproute,
  requireRoutingSysctls,
  requireVipsElsewhere,
} from '../../host/preconditions.js'
import { ReplyRoutes, replyRules } from '../../host/reply-routes.js'
import { allowAsymmetricReplies, familiesOfKernel } from '../../host/sysctl.js'
import {
  addressCommands,
  guardVips,
  openVips,
  readRules,
  rulesOfNode,
  sweepLeftovers,
  type Vip,
} from '../../host/vip-routing.js'
import { startWorker, watchWorker, workerHealth } from '../../host/worker.js'
import { findNamed, readFleet, readKeys } from '../fleet-input.js'
import { createLog } from '../log.js'
import { runService, type ServiceContext, type Step } from '../service.js'

interface Options {
  readonly config: string
  readonly node: string
  readonly admin: string
  readonly device: string
}

export function register(program: Command): void {
  program
    .command('run')
    .description('be a node of the fleet')
    .requiredOption('--config <file>', 'the fleet file')
    .requiredOption('--node <name>', "this node's name in it")
    .option('--admin <address:port>', 'metrics and health, on loopback', ADMIN_NODE)
    .option('--device <name>', 'the device that packets come in by', DEVICE)
    .action((options: Options) => runService(createLog(), (context) => stepsOf(options, context)))
}

/** Each VIP once; local when a backend on this node answers one of its services. */
export function vipsOf(fleet: Fleet, node: FleetNode): readonly Vip[] {
  const vips = new Map<string, Vip>()
  for (const service of fleet.services) {
    const local = isLocal(fleet, service, node) || (vips.get(service.vip)?.local ?? false)
    vips.set(service.vip, { address: service.vip, family: service.family, local })
  }
  return [...vips.values()]
}

function isLocal({ pops }: Fleet, { pool }: Service, { id }: FleetNode): boolean {
  return pops.some(({ backends }) =>
    backends.some((backend) => backend.nodeId === id && backend.pool === pool),
  )
}

/** The machines that this node sends GUE to. */
function neighbours(fleet: Fleet, node: FleetNode, pop: Pop): readonly string[] {
  const backends = pop.backends.filter(({ deliver }) => deliver === 'gue')
  return [...peersOf(fleet, node), ...backends].map(({ address }) => address)
}

function peersOf(fleet: Fleet, node: FleetNode): readonly FleetNode[] {
  return fleet.pops.flatMap((pop) => pop.nodes).filter(({ id }) => id !== node.id)
}

function stepsOf(options: Options, context: ServiceContext): readonly Step[] {
  const node = new Node(options, context)
  return [
    () => node.read(),
    () => node.check(),
    () => node.openAdmin(),
    () => node.pack(),
    () => node.takeDevice(),
    () => node.guard(),
    () => node.work(),
    () => node.open(),
  ]
}

/** What each step leaves for the next. */
class Node {
  #fleet!: Fleet
  #keys!: readonly Key[]
  #self!: FleetNode
  #pop!: Pop
  #vips!: readonly Vip[]
  #generation!: Generation
  #mtu = DEFAULT_MTU
  #admin!: AdminServer
  #device!: Device
  #worker: WorkerHandle | undefined
  #metrics: ReturnType<typeof metricsRegistry> | undefined

  constructor(
    readonly options: Options,
    readonly context: ServiceContext,
  ) {}

  read(): void {
    const { config, node, device } = this.options
    this.#fleet = readFleet(config, this.context.log)
    this.#keys = readKeys(this.#fleet.keyFile, this.context.log)
    const what = { noun: 'node', option: '--node', path: config }
    const { found, pop } = findNamed(this.#fleet, ({ nodes }) => nodes, what, node)
    this.#self = found
    this.#pop = pop
    this.#vips = vipsOf(this.#fleet, found)
    checkDeviceName(device)
    parseAdminAddress(this.options.admin)
  }

  async check(): Promise<void> {
    requireCapabilities('run')
    await requireIproute()
    await requireAddress(`node ${this.#self.name}`, this.#self.address)
    const local = this.#fleet.services.filter((service) =>
      isLocal(this.#fleet, service, this.#self),
    )
    requireRoutingSysctls(
      {
        ipv4: this.#vips.some(({ family }) => family === 4),
        ipv6: this.#vips.some(({ family }) => family === 6),
        localTcp: local.some(({ protocol }) => protocol === 'tcp'),
        localUdp: local.some(({ protocol }) => protocol === 'udp'),
        localIpv6: local.some(({ family }) => family === 6),
      },
      this.options.device,
    )
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
    const { mtu, unreachable } = await findPathMtu(neighbours(this.#fleet, this.#self, this.#pop))
    if (unreachable.length > 0) {
      this.context.log.warn({ unreachable }, 'no route leads to some peers or backends now')
    }
    this.#mtu = mtu
    this.#generation = packGeneration(
      this.#fleet,
      { kind: 'node', nodeId: this.#self.id, keys: this.#keys },
      mtu,
    )
  }

  async takeDevice(): Promise<void> {
    const { changes, log } = this.context
    this.#device = await createDevice(this.options.device, loadAddon().openPort, changes)
    const { kind, reason, name } = this.#device
    if (kind === 'packet') log.info({ reason }, `no TUN device: ${name} is a veth pair`)
    await quietDevice(this.#device, {
      ipv6: this.#vips.some(({ family }) => family === 6),
      acceptLocal: this.#vips.some(({ local }) => local),
    })
    allowAsymmetricReplies(name)
  }

  async guard(): Promise<void> {
    const { changes } = this.context
    const { name } = this.#device
    const local = this.#vips.filter((vip) => vip.local)
    if (local.length > 0) await this.#warnOfEarlyRules()
    await guardVips(this.#vips, name, changes)
    // Loose reverse-path filtering asks the device for an address of its own. It goes with the device.
    for (const vip of local) await ip(...addressCommands(vip, name)[0])
    if (local.length > 0) await this.#replies().start(changes)
  }

  work(): void {
    const { changes, fail, log } = this.context
    const { name, port } = this.#device
    const address = addressBytes(this.#self.address)
    this.#worker = startWorker(this.#self.address, port, changes, () =>
      loadAddon().startNode({
        port,
        address,
        udpPort: GUE_PORT,
        generation: this.#generation.blob,
        bootId: bootId(),
        flowEntries: this.#fleet.flowTableEntries,
      }),
    )
    const { status, counters } = this.#worker
    const peers = peersOf(this.#fleet, this.#self)
    this.#metrics = metricsRegistry({
      side: 'node',
      table: loadAddon().counterTable(),
      counters,
      generation: this.#generation,
      fleet: this.#fleet,
      peers,
      worker: status,
    })
    const peerChanged = (nodeId: number, up: boolean, rttUs: number | null) => {
      const peer = peers.find(({ id }) => id === nodeId)
      if (peer === undefined) return
      const pop = this.#fleet.pops.find(({ id }) => id === peer.popId)?.name
      const about = { peer: peer.name, pop, ...(rttUs === null ? {} : { rttMs: rttUs / 1000 }) }
      if (up) log.info(about, `peer ${peer.name} is up`)
      else log.warn(about, `peer ${peer.name} is down`)
    }
    watchWorker({ worker: this.#worker, device: name, changes, fail, peerChanged })
  }

  async open(): Promise<void> {
    const { log } = this.context
    const { address } = this.#self
    await bringUp(this.#device)
    await openVips(this.#vips, this.#device.name, {
      address,
      family: address.includes(':') ? 6 : 4,
    })
    const local = this.#vips.some((vip) => vip.local)
    const wanted = [
      ...rulesOfNode(this.#vips, this.#device.name),
      ...(local ? replyRules(this.#replyOptions()) : []),
    ]
    const removed = await sweepLeftovers(wanted, this.#vips)
    if (removed.length > 0) log.info({ removed }, 'removed what an earlier run had left')
    await requireVipsElsewhere(this.#vips)
    log.info(
      {
        node: this.#self.name,
        pop: this.#pop.name,
        address,
        vips: this.#vips.map((vip) => vip.address),
        peers: peersOf(this.#fleet, this.#self).map(({ name }) => name),
        io: this.#device.kind,
        mtu: this.#mtu,
        metrics: `${this.#admin.url}/metrics`,
      },
      `node ${this.#self.name} of PoP ${this.#pop.name} is running`,
    )
  }

  #replies(): ReplyRoutes {
    return new ReplyRoutes(this.#replyOptions())
  }

  #replyOptions() {
    return {
      table: REPLY_TABLE,
      pref: PREF_REPLY_NODE,
      vips: this.#vips.filter(({ local }) => local),
      mss: Math.min(this.#mtu, DEFAULT_MTU) - MSS_BELOW_MTU,
      device: this.options.device,
      warn: (message: string) => this.context.log.warn(message),
    }
  }

  /** Rules that came after table local so far come before it when it has moved. */
  async #warnOfEarlyRules(): Promise<void> {
    for (const family of familiesOfKernel()) {
      const early = (await readRules(family)).filter(({ priority, protocol }) => {
        return priority > 0 && priority < PREF_LOCAL && protocol !== String(PROTOCOL)
      })
      for (const { priority } of early) {
        this.context.log.warn(
          `the IPv${family} rule with priority ${priority} comes before table local while VIPs are delivered locally: give it one above ${PREF_LOCAL} if it matches packets for this machine`,
        )
      }
    }
  }
}

/** Random and not 0, which stands for "none". */
function bootId(): bigint {
  return randomBytes(8).readBigUInt64BE() || 1n
}
