// A node's VIPs on its machine, at the start and when a reload changes them: guard, then (the caller) the data path, then
// settle. Called by `run`. Guarantees: until a VIP is settled its packets end in its blackhole, and one that goes leaves
// the machine's own addresses before its rule goes, so that the kernel never answers for it.

import type { Changes } from './changes.js'
import {
  DEFAULT_MTU,
  MSS_BELOW_MTU,
  PREF_LOCAL,
  PREF_REPLY_NODE,
  PROTOCOL,
  REPLY_TABLE,
} from './numbers.js'
import { ReplyRoutes, type ReplyRoutesOptions, replyRules } from './reply-routes.js'
import { familiesOfKernel } from './sysctl.js'
import {
  clearVipTable,
  closeOtherVips,
  guardVips,
  openVips,
  putOnDevice,
  readRules,
  removeOthersFromDevice,
  rulesOfNode,
  sweepLeftovers,
  type Vip,
} from './vip-routing.js'

export class NodeVips {
  readonly #device: string
  readonly #changes: Changes
  readonly #warn: (message: string) => void
  #replies: ReplyRoutes | undefined
  /** In force, or none yet. */
  #settled: readonly Vip[] | undefined

  constructor(device: string, changes: Changes, warn: (message: string) => void) {
    this.#device = device
    this.#changes = changes
    this.#warn = warn
  }

  /** Everything but the way to the data path, for these VIPs beside those that are settled. */
  async guard(vips: readonly Vip[], mtu: number): Promise<void> {
    const all = union(this.#settled ?? [], vips)
    const local = all.filter((vip) => vip.local)
    if (local.length > 0 && this.#replies === undefined) await this.#warnOfEarlyRules()
    await guardVips(all, this.#device, this.#changes)
    // Loose reverse-path filtering asks the device for an address of its own.
    await putOnDevice(local, this.#device)
    await this.#reply(all, mtu)
    if (this.#settled === undefined) await clearVipTable(vips)
  }

  /** Opens the way for these VIPs and removes all others; says what was removed. `source` is this machine's address. */
  async settle(vips: readonly Vip[], mtu: number, source: string): Promise<readonly string[]> {
    const local = vips.filter((vip) => vip.local)
    await openVips(vips, this.#device, { address: source, family: source.includes(':') ? 6 : 4 })
    await closeOtherVips(vips, this.#device)
    await removeOthersFromDevice(local, this.#device)
    await this.#reply(vips, mtu)
    const replies = local.length > 0 ? replyRules(this.#replyOptions(vips, mtu)) : []
    const removed = await sweepLeftovers([...rulesOfNode(vips, this.#device), ...replies], vips)
    this.#settled = vips
    return removed
  }

  async #reply(vips: readonly Vip[], mtu: number): Promise<void> {
    const options = this.#replyOptions(vips, mtu)
    if (this.#replies !== undefined) return await this.#replies.follow(options, this.#changes)
    if (options.vips.length === 0) return
    this.#replies = new ReplyRoutes(options)
    await this.#replies.start(this.#changes)
  }

  #replyOptions(vips: readonly Vip[], mtu: number): ReplyRoutesOptions {
    return {
      table: REPLY_TABLE,
      pref: PREF_REPLY_NODE,
      vips: vips.filter(({ local }) => local),
      mss: Math.min(mtu, DEFAULT_MTU) - MSS_BELOW_MTU,
      device: this.#device,
      warn: this.#warn,
    }
  }

  /** Rules that came after table local so far come before it when it has moved. */
  async #warnOfEarlyRules(): Promise<void> {
    for (const family of familiesOfKernel()) {
      const early = (await readRules(family)).filter(({ priority, protocol }) => {
        return priority > 0 && priority < PREF_LOCAL && protocol !== String(PROTOCOL)
      })
      for (const { priority } of early) {
        this.#warn(
          `the IPv${family} rule with priority ${priority} comes before table local while VIPs are delivered locally: give it one above ${PREF_LOCAL} if it matches packets for this machine`,
        )
      }
    }
  }
}

/** Local when it is so in either. */
function union(one: readonly Vip[], other: readonly Vip[]): readonly Vip[] {
  const all = new Map(one.map((vip) => [vip.address, vip]))
  for (const vip of other) {
    all.set(vip.address, { ...vip, local: vip.local || (all.get(vip.address)?.local ?? false) })
  }
  return [...all.values()]
}
