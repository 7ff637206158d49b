// Gathers what `doctor` judges: by ip, nft and ethtool, from /proc and from the admin interface. Called by the verb.
// Guarantees: changes nothing, sends no packet but to the admin interface and by ping (echo.ts); a program that is missing is
// a fact, no failure.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { askDoor, type Door } from '../admin/client.js'
import { loadKeys } from '../config/keys.js'
import { digestText, fleetDigest } from '../fleet/digest.js'
import type { Fleet, Pop } from '../fleet/model.js'
import { HostError } from '../host/host-error.js'
import { type Family, IpError, ipEnv, ipJson, ipRoutes } from '../host/ip.js'
import { GUE_PORT, VIP_TABLE } from '../host/numbers.js'
import { type RoutingNeeds, requireRoutingSysctls } from '../host/preconditions.js'
import { familiesOfKernel, readSysctl } from '../host/sysctl.js'
import { type RuleRow, readRules, type Vip } from '../host/vip-routing.js'
import { echoes } from './echo.js'
import type { AddressFact, Facts, LinkFact, MachineFact, PathFact, VipFact } from './facts.js'
import { firewallOf } from './firewall.js'
import { gatherLive } from './live.js'

const PROGRAM_TIMEOUT_MS = 10_000
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024
/** Stand for clients: documentation prefixes, to which no packet is sent. */
const SOMEWHERE: Readonly<Record<Family, string>> = { 4: '192.0.2.1', 6: '2001:db8:c11e::1' }

export interface Subject {
  readonly side: Facts['side']
  readonly name: string
  readonly address: string
  readonly pop: Pop
  readonly fleet: Fleet
  /** That this machine serves or forwards. */
  readonly vips: readonly Vip[]
  /** That it sends GUE to, or gets it from. */
  readonly machines: readonly Omit<MachineFact, 'path' | 'echo'>[]
  readonly needs: RoutingNeeds | undefined
  readonly device: string
  /** Of the process that runs here. */
  readonly door: Door
}

export async function gather(subject: Subject): Promise<Facts> {
  const { side, name, address, pop, fleet, device, door } = subject
  const links = await gatherLinks()
  const addresses = await gatherAddresses()
  const families = familiesOfKernel()
  const mtus = new Map(links.map((link) => [link.device, link.mtu]))
  const path = (to: string, from?: string) => pathTo(to, from, mtus)
  const rules = async (family: Family): Promise<readonly RuleRow[]> =>
    families.includes(family) ? await readRules(family) : []
  const [live, machines] = await Promise.all([
    gatherLive(askDoor, door, subject),
    gatherMachines(subject.machines, path),
  ])
  return {
    side,
    name,
    pop: pop.name,
    address,
    device,
    fleet,
    digests: digestsOf(fleet),
    addresses,
    links,
    rules: { 4: await rules(4), 6: await rules(6) },
    vips: await all(subject.vips, async (vip): Promise<VipFact> => {
      const here = addresses.some((one) => one.address === vip.address)
      return {
        ...vip,
        reply: here ? await path(SOMEWHERE[vip.family], vip.address) : undefined,
        routes: (await ipRoutes<VipRouteRow>(vip.family, VIP_TABLE))
          .filter(({ dst }) => dst === vip.address)
          .map(({ type, dev }) => ({ type: type ?? 'unicast', device: dev })),
      }
    }),
    machines,
    outbound: { 4: await path(SOMEWHERE[4]), 6: await path(SOMEWHERE[6]) },
    sysctl: readSysctl,
    precondition: preconditionOf(subject),
    offloads: await gatherOffloads(links),
    firewall: firewallOf(await program('nft', ['-j', 'list', 'ruleset'])),
    listens: isTaken('udp') || isTaken('udp6'),
    live: live.ok ? live.fact : null,
    unanswered: live.ok ? '' : live.why,
  }
}

async function gatherMachines(
  machines: Subject['machines'],
  path: (to: string) => Promise<PathFact | null>,
): Promise<readonly MachineFact[]> {
  const routed = await all(machines, async (machine) => ({
    ...machine,
    path: await path(machine.address),
  }))
  const found = await echoes(new Map(routed.map(({ address, path }) => [address, path?.mtu ?? 0])))
  return routed.map((machine) => ({ ...machine, echo: found.get(machine.address) }))
}

interface VipRouteRow {
  readonly type?: string
  readonly dst: string
  readonly dev?: string
}

/** One after the other: each is a program. */
async function all<T, U>(of: readonly T[], each: (one: T) => Promise<U>): Promise<readonly U[]> {
  const results: U[] = []
  for (const one of of) results.push(await each(one))
  return results
}

interface LinkRow {
  readonly ifname: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly link_type?: string
}

async function gatherLinks(): Promise<readonly LinkFact[]> {
  const rows = await ipJson<LinkRow>('link', 'show')
  return rows.map(({ ifname, mtu, flags, link_type }) => ({
    device: ifname,
    mtu,
    up: flags.includes('UP'),
    etherType: link_type === 'ether',
  }))
}

interface AddressRow {
  readonly ifname: string
  readonly addr_info: readonly {
    readonly family?: string
    readonly local?: string
    readonly prefixlen?: number
  }[]
}

async function gatherAddresses(): Promise<readonly AddressFact[]> {
  const rows = await ipJson<AddressRow>('address', 'show')
  return rows.flatMap(({ ifname, addr_info }) =>
    addr_info.flatMap(({ family, local, prefixlen }) =>
      local === undefined
        ? []
        : [
            {
              device: ifname,
              address: local,
              family: family === 'inet6' ? (6 as const) : (4 as const),
              prefixLength: prefixlen ?? 0,
            },
          ],
    ),
  )
}

interface RouteRow {
  readonly type?: string
  readonly dev?: string
  readonly prefsrc?: string
  readonly metrics?: readonly { readonly mtu?: number; readonly advmss?: number }[]
}

const DEAD_ENDS: ReadonlySet<string> = new Set(['unreachable', 'blackhole', 'prohibit', 'throw'])

async function pathTo(
  to: string,
  from: string | undefined,
  mtus: ReadonlyMap<string, number>,
): Promise<PathFact | null> {
  const args = from === undefined ? [to] : [to, 'from', from]
  const rows = await ipJson<RouteRow>('route', 'get', ...args).catch((error: unknown) => {
    if (error instanceof IpError) return []
    throw error
  })
  const [row] = rows
  if (row?.dev === undefined || DEAD_ENDS.has(row.type ?? '')) return null
  const metric = (name: 'mtu' | 'advmss') =>
    row.metrics?.find((one) => one[name] !== undefined)?.[name]
  return {
    device: row.dev,
    source: row.prefsrc,
    mtu: metric('mtu') ?? mtus.get(row.dev),
    advmss: metric('advmss'),
  }
}

function preconditionOf({ needs, device }: Subject): string | undefined {
  if (needs === undefined) return undefined
  try {
    requireRoutingSysctls(needs, device)
    return undefined
  } catch (error) {
    if (error instanceof HostError) return error.message
    throw error
  }
}

async function gatherOffloads(links: readonly LinkFact[]): Promise<Facts['offloads']> {
  const found = new Map<string, ReadonlySet<string>>()
  for (const { device, etherType } of links) {
    if (!etherType) continue
    const text = await program('ethtool', ['-k', device])
    if (text === undefined) continue
    found.set(
      device,
      new Set([...text.matchAll(/^\s*([a-z0-9-]+): on\b/gm)].map(([, name = '']) => name)),
    )
  }
  return found.size === 0 && links.some(({ etherType }) => etherType) ? undefined : found
}

/** What a program says; undefined: it is not there, or refuses. */
function program(name: string, args: readonly string[]): Promise<string | undefined> {
  const options = { env: ipEnv, timeout: PROGRAM_TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES }
  return new Promise((resolve) => {
    execFile(name, args, options, (error, stdout) => resolve(error === null ? stdout : undefined))
  })
}

/** Whether a socket has the GUE port, the kernel's own (fou) included. */
function isTaken(table: 'udp' | 'udp6'): boolean {
  try {
    const port = GUE_PORT.toString(16).toUpperCase().padStart(4, '0')
    // "  12: 0100007F:17C0 00000000:0000 07 ..."
    return new RegExp(`^\\s*\\d+: [0-9A-F]+:${port} `, 'm').test(
      readFileSync(`/proc/net/${table}`, 'utf8'),
    )
  } catch {
    // A kernel without IPv6.
    return false
  }
}

const KEY_DIGEST_DIGITS = 12

function digestsOf(fleet: Fleet): Facts['digests'] {
  const digest = (key: Uint8Array): string =>
    createHash('sha256').update(key).digest('hex').slice(0, KEY_DIGEST_DIGITS)
  const keys = loadKeys(fleet.keyFile)
  return {
    fleet: digestText(fleetDigest(fleet)),
    keys: keys.ok ? keys.keys.map(({ id, key }) => `${id}:${digest(key)}`) : undefined,
  }
}
