// Addresses at which machines must reach each other, and can not: loopback in a fleet of several nodes, admin interfaces at
// addresses that are no node's own, announced prefixes that take the machines' own traffic with them. Called by fleet-file.ts
// and, for prefixes, by check-announce.ts. Reports to the source.

import { isLoopback, type Prefix, parsePrefix, prefixHolds } from '../fleet/address.js'
import { readAdminAddress } from '../fleet/admin-address.js'
import type { Drafts } from './drafts.js'
import type { FleetFile } from './shape.js'
import type { Path, Source } from './source.js'

/** The longest that networks take from each other. */
const LONGEST = { 4: 24, 6: 48 } as const

interface Holder {
  readonly what: string
  readonly path: Path
}

export function checkReach(source: Source, drafts: Drafts): void {
  checkLoopback(source, drafts)
  checkAdminHosts(source, drafts)
}

function checkLoopback(source: Source, { pops }: Drafts): void {
  const nodes = pops.flatMap((pop) => pop.nodes)
  if (nodes.length < 2) return
  const backends = pops.flatMap((pop) => pop.backends).filter(({ deliver }) => deliver === 'gue')
  for (const { address, path } of [...nodes, ...backends]) {
    if (address === undefined || !isLoopback(address)) continue
    source.error(
      [...path, 'address'],
      `address: ${address.text} is a loopback address, which every machine takes for itself, expected one that the other nodes reach`,
    )
  }
}

/** Where a VIP leads packets go to backends; where another machine's leads, they go to that. */
function checkAdminHosts(source: Source, { pops, services }: Drafts): void {
  const holders = new Map<string, Holder>()
  for (const { vip, name, path } of services) {
    if (vip === undefined || holders.has(vip.text)) continue
    holders.set(vip.text, { what: `the VIP of service "${name}"`, path: [...path, 'vip'] })
  }
  for (const pop of pops) {
    for (const { address, name, path } of pop.nodes) {
      if (address === undefined) continue
      holders.set(address.text, {
        what: `the address of node "${name}"`,
        path: [...path, 'address'],
      })
    }
  }
  for (const { admin, address, path } of pops.flatMap((pop) => pop.nodes)) {
    const host = admin === undefined ? undefined : readAdminAddress(admin)?.host
    const holder = host === undefined || host === address?.text ? undefined : holders.get(host)
    if (holder === undefined) continue
    source.error(
      [...path, 'admin'],
      `admin: ${host} is ${holder.what} at ${source.whereIs(holder.path)}, expected an address of this node's own machine`,
    )
  }
}

/** Of a file whose shape has no fault. */
export function checkPrefixes(source: Source, file: FleetFile): void {
  const machines = machinesOf(file)
  const earlier: { readonly prefix: Prefix; readonly path: Path }[] = []
  for (const [index, { prefix: text }] of (file.announce?.prefixes ?? []).entries()) {
    const parsed = parsePrefix(text)
    if (!parsed.ok) continue
    const { prefix } = parsed
    const path = ['announce', 'prefixes', index, 'prefix']
    if (prefix.length === 0) {
      source.error(
        path,
        `prefix: ${text} is the default route, which would bring all traffic there is, expected the prefix of the VIPs`,
      )
      continue
    }
    checkMachinesIn(source, prefix, path, machines, file)
    const longest = LONGEST[prefix.family]
    if (prefix.length > longest) {
      const message = `prefix: ${text} is longer than /${longest}: networks take it inside an IGP, not on the Internet`
      source.warnAtKey(path, message)
    }
    const other = earlier.find((one) => overlap(one.prefix, prefix))
    if (other !== undefined && other.prefix.text !== text) {
      const message = `prefix: ${text} and ${other.prefix.text} at ${source.whereIs(other.path)} overlap: where the longer one is withdrawn the other still brings its packets`
      source.warnAtKey(path, message)
    }
    earlier.push({ prefix, path })
  }
}

function machinesOf({ fleet }: FleetFile): readonly (Holder & { readonly address: string })[] {
  return fleet.pops.flatMap((pop, at) => {
    const path = ['fleet', 'pops', at]
    return [
      ...pop.nodes.map(({ name, address }, i) => ({
        what: `node "${name}"`,
        address: address.text,
        path: [...path, 'nodes', i, 'address'],
      })),
      ...pop.backends.flatMap(({ name, address, deliver }, i) =>
        deliver !== 'gue' || address === undefined
          ? []
          : [
              {
                what: `backend "${name}"`,
                address: address.text,
                path: [...path, 'backends', i, 'address'],
              },
            ],
      ),
    ]
  })
}

/** The first, and how many more. With one PoP the routers there may know better ways to the machines. */
function checkMachinesIn(
  source: Source,
  prefix: Prefix,
  path: Path,
  machines: ReturnType<typeof machinesOf>,
  { fleet }: FleetFile,
): void {
  const inside = machines.filter(({ address }) => prefixHolds(prefix, address))
  const [first] = inside
  if (first === undefined) return
  const more = inside.length > 1 ? ` and ${inside.length - 1} more` : ''
  const found = `prefix: ${prefix.text} holds the address of ${first.what} (${first.address} at ${source.whereIs(first.path)})${more}`
  if (fleet.pops.length > 1) {
    source.error(
      path,
      `${found}, so packets between machines would go to whichever PoP is nearest, expected machines' addresses outside of announced prefixes`,
    )
  } else
    source.warnAtKey(path, `${found}: it is reached by that prefix, and not while it is withdrawn`)
}

function overlap(one: Prefix, other: Prefix): boolean {
  const [wide, narrow] = one.length <= other.length ? [one, other] : [other, one]
  return prefixHolds(wide, narrow.text.split('/')[0] ?? '')
}
