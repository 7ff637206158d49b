// How raw packets for a VIP reach a node's device, in rules and routes:
//
//   900   from the device          -> table local      only with local delivery
//   1000  to VIP                   -> table 6080       VIP dev steady0 metric 1; blackhole VIP metric 4096
//   1100  everything               -> table local      only with local delivery; the kernel has this rule at 0
//
// The device vanishes with the process, the rest stays: a crash or a stop is silent, and a router that
// still sends packets here gets none of them back. Called by `run`. Guarantees: at no
// moment does a raw packet for a VIP reach this machine's own stack, neither while this is set up nor taken down, and
// what a predecessor left is used, not torn down first.

import type { Changes, Undo } from './changes.js'
import { type Family, IpError, ip, ipJson, ipRoutes } from './ip.js'
import {
  LOCAL_TABLE,
  MAIN_TABLE,
  METRIC_BLACKHOLE,
  METRIC_DEVICE,
  PREF_FROM_DEVICE,
  PREF_LOCAL,
  PREF_TO_VIP,
  PROTOCOL,
  PROTOCOL_KERNEL,
  REPLY_TABLE,
  VIP_TABLE,
} from './numbers.js'
import { familiesOfKernel } from './sysctl.js'

export interface Vip {
  readonly address: string
  readonly family: Family
  /** A backend on this machine answers it. */
  readonly local: boolean
}

export interface RuleRow {
  readonly priority: number
  readonly src: string
  readonly srclen?: number
  readonly dst?: string
  readonly iif?: string
  readonly table?: string
  readonly protocol?: string
}

interface RouteRow {
  readonly type?: string
  readonly dst: string
  readonly dev?: string
}

/** One of our rules, by all that identifies it. */
export interface Rule {
  readonly family: Family
  readonly pref: number
  readonly from?: string
  readonly to?: string
  readonly iif?: string
  readonly table: string
}

export function rulesOfNode(vips: readonly Vip[], device: string): readonly Rule[] {
  const families = ([4, 6] as const).filter((family) =>
    vips.some((vip) => vip.local && vip.family === family),
  )
  return [
    ...vips.map(({ address, family }) => ({
      family,
      pref: PREF_TO_VIP,
      to: address,
      table: String(VIP_TABLE),
    })),
    ...families.flatMap((family) => [
      { family, pref: PREF_FROM_DEVICE, iif: device, table: String(LOCAL_TABLE) },
      { family, pref: PREF_LOCAL, table: String(LOCAL_TABLE) },
    ]),
  ]
}

export function ruleArgs(rule: Rule): readonly string[] {
  return [
    'pref',
    String(rule.pref),
    ...(rule.from === undefined ? ['from', 'all'] : ['from', rule.from]),
    ...(rule.to === undefined ? [] : ['to', rule.to]),
    ...(rule.iif === undefined ? [] : ['iif', rule.iif]),
    'lookup',
    rule.table,
    'protocol',
    String(PROTOCOL),
  ]
}

export function sameRule(rule: Rule, row: RuleRow): boolean {
  return (
    row.protocol === String(PROTOCOL) &&
    row.priority === rule.pref &&
    row.src === (rule.from ?? 'all') &&
    row.dst === rule.to &&
    row.iif === rule.iif &&
    row.table === rule.table
  )
}

/** Tables and protocols as numbers, whatever /etc/iproute2 calls them. */
export async function readRules(family: Family): Promise<readonly RuleRow[]> {
  return ipJson<RuleRow>('-N', `-${family}`, 'rule', 'show')
}

/** Adds a rule unless a predecessor left it. */
export async function ensureRule(rule: Rule, changes: Changes, stays: boolean): Promise<void> {
  const args = ruleArgs(rule)
  const undo: Undo = async () => {
    await ip(`-${rule.family}`, 'rule', 'del', ...args)
  }
  const found = (await readRules(rule.family)).some((row) => sameRule(rule, row))
  if (!found) await ip(`-${rule.family}`, 'rule', 'add', ...args)
  changes.add(ruleName(rule), undo, { origin: found ? 'adopted' : 'made', stays })
}

/** Removes a rule that ensureRule() has added. */
export async function removeRule(rule: Rule, changes: Changes): Promise<void> {
  await ip(`-${rule.family}`, 'rule', 'del', ...ruleArgs(rule))
  changes.forget(ruleName(rule))
}

function ruleName(rule: Rule): string {
  return `IPv${rule.family} rule ${ruleArgs(rule).join(' ')}`
}

/** Everything but the device's own routes: blackholes, rules, and for local delivery the VIP on lo. In an order in which
 * the VIP becomes this machine's own last. */
export async function guardVips(
  vips: readonly Vip[],
  device: string,
  changes: Changes,
): Promise<void> {
  const localFamilies = new Set(vips.filter(({ local }) => local).map(({ family }) => family))
  for (const vip of vips) await ensureBlackhole(vip, changes)
  for (const rule of rulesOfNode(vips, device)) await ensureRule(rule, changes, true)
  for (const family of localFamilies) await dropFirstLocalRule(family, changes)
  for (const vip of vips) if (vip.local) await ensureOnLoopback(vip, changes)
}

async function ensureBlackhole(vip: Vip, changes: Changes): Promise<void> {
  const family = `-${vip.family}`
  const route = ['blackhole', vip.address, 'metric', String(METRIC_BLACKHOLE)]
  const where = ['table', String(VIP_TABLE), 'protocol', String(PROTOCOL)]
  const rows = await ipRoutes<RouteRow>(vip.family, VIP_TABLE)
  const found = rows.some(({ type, dst }) => type === 'blackhole' && dst === vip.address)
  if (!found) await ip(family, 'route', 'add', ...route, ...where)
  const undo = async () => {
    await ip(family, 'route', 'del', ...route, ...where)
  }
  changes.add(`blackhole for ${vip.address}`, undo, {
    origin: found ? 'adopted' : 'made',
    stays: true,
  })
}

async function dropFirstLocalRule(family: Family, changes: Changes): Promise<void> {
  const found = await hasFirstLocalRule(family)
  if (found) await ip(`-${family}`, 'rule', 'del', 'pref', '0', 'lookup', String(LOCAL_TABLE))
  const undo = () => restoreFirstLocalRule(family)
  changes.add(`IPv${family} rule of table local`, undo, {
    origin: found ? 'made' : 'adopted',
    stays: true,
  })
}

async function restoreFirstLocalRule(family: Family): Promise<void> {
  if (await hasFirstLocalRule(family)) return
  const where = ['pref', '0', 'lookup', String(LOCAL_TABLE), 'protocol', String(PROTOCOL_KERNEL)]
  await ip(`-${family}`, 'rule', 'add', ...where)
}

async function hasFirstLocalRule(family: Family): Promise<boolean> {
  return (await readRules(family)).some((row) => {
    return row.priority === 0 && row.table === String(LOCAL_TABLE)
  })
}

interface AddressRow {
  readonly addr_info: readonly {
    readonly local?: string
    readonly scope?: string
    readonly deprecated?: boolean
  }[]
}

async function ensureOnLoopback(vip: Vip, changes: Changes): Promise<void> {
  const rows = await ipJson<AddressRow>('address', 'show', 'dev', 'lo')
  const found = rows.some(({ addr_info }) => addr_info.some(({ local }) => local === vip.address))
  const [add, del] = addressCommands(vip, 'lo')
  if (!found) await ip(...add)
  const undo = async () => {
    await ip(...del)
  }
  changes.add(`${vip.address} on lo`, undo, { origin: found ? 'adopted' : 'made', stays: true })
}

/** Never a source address of anything that does not ask for it: scope host, for IPv6 deprecated. */
export function addressCommands(
  vip: { readonly address: string; readonly family: Family },
  device: string,
): readonly [add: readonly string[], del: readonly string[]] {
  const length = vip.family === 4 ? 32 : 128
  const what = [`${vip.address}/${length}`, 'dev', device]
  const manner =
    vip.family === 4 ? ['scope', 'host'] : ['nodad', 'noprefixroute', 'preferred_lft', '0']
  return [
    [`-${vip.family}`, 'address', 'add', ...what, ...manner],
    [`-${vip.family}`, 'address', 'del', ...what],
  ]
}

/** Before the first openVips(): a backend side that ran here before had its replies' routes in this table. */
export async function clearVipTable(vips: readonly Vip[]): Promise<void> {
  for (const family of new Set(vips.map((vip) => vip.family))) await flush(family, VIP_TABLE)
}

/** From here on packets reach the data path. The routes go with the device. `source` is what this machine's own clients
 * of a VIP use. */
export async function openVips(
  vips: readonly Vip[],
  device: string,
  source: { readonly address: string; readonly family: Family },
): Promise<void> {
  for (const { address, family } of vips) {
    const src = family === source.family ? ['src', source.address] : []
    const route = [address, 'dev', device, 'metric', String(METRIC_DEVICE), ...src]
    const where = ['table', String(VIP_TABLE), 'protocol', String(PROTOCOL)]
    await ip(`-${family}`, 'route', 'replace', ...route, ...where)
  }
}

/** Takes the way to the data path from all VIPs but these: what comes for others falls into their blackholes. */
export async function closeOtherVips(vips: readonly Vip[], device: string): Promise<void> {
  const keep = new Set(vips.map(({ address }) => address))
  for (const family of familiesOfKernel()) {
    const rows = await ipRoutes<RouteRow>(family, VIP_TABLE)
    for (const { dst } of rows.filter((row) => row.dev === device && !keep.has(row.dst))) {
      await ip(`-${family}`, 'route', 'del', dst, 'dev', device, 'table', String(VIP_TABLE))
    }
  }
}

/** Makes these the addresses of the device, which take the device with them when it goes. */
export async function putOnDevice(
  vips: readonly { readonly address: string; readonly family: Family }[],
  device: string,
): Promise<void> {
  const there = new Set((await addressesOf(device)).map(({ address }) => address))
  for (const vip of vips) {
    if (!there.has(vip.address)) await ip(...addressCommands(vip, device)[0])
  }
}

/** Removes all other addresses of the device. */
export async function removeOthersFromDevice(
  vips: readonly { readonly address: string }[],
  device: string,
): Promise<void> {
  const keep = new Set(vips.map(({ address }) => address))
  for (const vip of await addressesOf(device)) {
    if (!keep.has(vip.address)) await ip(...addressCommands(vip, device)[1])
  }
}

async function addressesOf(
  device: string,
): Promise<readonly { readonly address: string; readonly family: Family }[]> {
  const rows = await ipJson<AddressRow>('address', 'show', 'dev', device)
  return rows
    .flatMap(({ addr_info }) => addr_info)
    .flatMap(({ local }) =>
      local === undefined ? [] : [{ address: local, family: local.includes(':') ? 6 : 4 } as const],
    )
}

/** Removes what a predecessor with another fleet file left and this node does not use; says what. Called when the start
 * has succeeded. */
export async function sweepLeftovers(
  wanted: readonly Rule[],
  vips: readonly Vip[],
): Promise<readonly string[]> {
  const removed: string[] = []
  for (const family of familiesOfKernel()) {
    const ours = vips.filter((vip) => vip.family === family)
    const rules = wanted.filter((rule) => rule.family === family)
    const rows = (await readRules(family)).filter((row) => row.protocol === String(PROTOCOL))
    const stale = rows.filter((row) => !rules.some((rule) => sameRule(rule, row)))
    const notLocal = ours.flatMap(({ local, address }) => (local ? [] : [address]))
    const gone = stale.flatMap(({ dst }) => (dst === undefined ? [] : [dst]))
    removed.push(...(await sweepLoopback(family, new Set([...notLocal, ...gone]))))
    if (
      stale.some(({ priority, table }) => priority === PREF_LOCAL && table === String(LOCAL_TABLE))
    ) {
      await restoreFirstLocalRule(family)
    }
    for (const row of stale) {
      const args = ruleArgs(ruleOf(row, family))
      await ip(`-${family}`, 'rule', 'del', ...args)
      removed.push(`rule ${args.join(' ')}`)
    }
    const keep = new Set(ours.map(({ address }) => address))
    const keepReplies = rules.some(({ table }) => table === String(REPLY_TABLE))
    removed.push(...(await sweepRoutes(family, keep, keepReplies)))
  }
  return removed
}

/** Of these addresses, the ones that are on lo in the manner of addressCommands(). */
async function sweepLoopback(
  family: Family,
  addresses: ReadonlySet<string>,
): Promise<readonly string[]> {
  const rows = await ipJson<AddressRow>(`-${family}`, 'address', 'show', 'dev', 'lo')
  const stale = rows
    .flatMap(({ addr_info }) => addr_info)
    .filter(({ scope, deprecated }) => (family === 4 ? scope === 'host' : deprecated === true))
    .flatMap(({ local }) => (local !== undefined && addresses.has(local) ? [local] : []))
  for (const address of stale) await ip(...addressCommands({ address, family }, 'lo')[1])
  return stale.map((address) => `${address} on lo`)
}

function ruleOf(row: RuleRow, family: Family): Rule {
  return {
    family,
    pref: row.priority,
    table: row.table ?? String(MAIN_TABLE),
    ...(row.src === 'all' ? {} : { from: row.src }),
    ...(row.dst === undefined ? {} : { to: row.dst }),
    ...(row.iif === undefined ? {} : { iif: row.iif }),
  }
}

/** Of table 6080, blackholes for other VIPs; of table 6081, everything when no reply uses it. */
async function sweepRoutes(
  family: Family,
  wanted: ReadonlySet<string>,
  keepReplies: boolean,
): Promise<readonly string[]> {
  const table = ['table', String(VIP_TABLE)]
  const rows = await ipRoutes<RouteRow>(family, VIP_TABLE)
  const stale = rows.filter(({ type, dst }) => type === 'blackhole' && !wanted.has(dst))
  for (const { dst } of stale) {
    await ip(`-${family}`, 'route', 'del', 'blackhole', dst, ...table)
  }
  if (!keepReplies) await flush(family, REPLY_TABLE)
  return stale.map(({ dst }) => `blackhole ${dst}`)
}

/** Removes our own unicast routes from a table that need not exist. */
async function flush(family: Family, table: number): Promise<void> {
  const what = ['table', String(table), 'protocol', String(PROTOCOL), 'type', 'unicast']
  await ip(`-${family}`, 'route', 'flush', ...what).catch((error: unknown) => {
    const absent = error instanceof IpError && error.answer.includes('does not exist')
    if (!absent) throw error
  })
}
