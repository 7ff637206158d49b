// What services must mean, among themselves and towards the fleet: VIPs, ports, pools, and what this version
// accepts without acting on it. Called by fleet-file.ts with drafts. Reports to the source.

import { isLoopback } from '../fleet/address.js'
import { MAX_POOLS, MAX_SERVICE_PORTS, MAX_TIMEOUT_SETS, MAX_VIPS } from '../fleet/limits.js'
import type { Drafts, PopDraft, ServiceDraft } from './drafts.js'
import type { Path, Source } from './source.js'

export function checkServices(source: Source, drafts: Drafts): void {
  const { pops, services } = drafts
  for (const service of services) checkProtocol(source, service)
  checkVips(source, services, pops)
  checkPorts(source, services)
  checkFragments(source, services)
  checkPools(source, drafts)
  checkCounts(source, services, pops)
  checkTimeouts(source, services)
}

/** Of a file without errors. */
export function warnAboutServices(source: Source, { pops, services }: Drafts): void {
  const takers = (of: readonly PopDraft[]) =>
    new Set(
      of
        .flatMap(({ backends }) => backends)
        .filter(({ weight }) => weight !== 0)
        .map(({ pool }) => pool),
    )
  const anywhere = takers(pops)
  for (const service of services.filter(({ pool }) => !anywhere.has(pool))) {
    source.warnAtKey(
      service.path,
      `service "${service.name}" has no backend that takes new connections in any PoP: they are dropped`,
    )
  }
  for (const pop of pops) {
    const here = takers([pop])
    const spilled = services
      .filter(({ pool }) => anywhere.has(pool) && !here.has(pool))
      .map(({ name }) => `"${name}"`)
    if (spilled.length === 0) continue
    const list = spilled.slice(0, 8).join(', ') + (spilled.length > 8 ? ', ...' : '')
    const plural = spilled.length > 1 ? 's' : ''
    source.warnAtKey(
      pop.path,
      `PoP "${pop.name}" has no backend that takes new connections for service${plural} ${list}: ` +
        'its nodes hand such connections to other PoPs',
    )
  }
  const used = new Set(services.map(({ pool }) => pool))
  for (const { path, pool } of pops.flatMap((pop) => pop.backends)) {
    if (pool === undefined || used.has(pool)) continue
    used.add(pool)
    source.warnAtKey([...path, 'pool'], `pool "${pool}" is used by no service`)
  }
}

function checkProtocol(source: Source, service: ServiceDraft): void {
  if (service.protocol === 'tcp' && service.fragments === true) {
    const message =
      'fragments: got true for a tcp service, expected it for udp only (TCP flows are told apart by their ports)'
    source.errorAtKey([...service.path, 'fragments'], message)
  }
  if (service.protocol === 'udp' && service.given('timeouts')) {
    const message =
      'timeouts: got timeouts for a udp service, expected them for tcp only (UDP has no flow table entries)'
    source.errorAtKey([...service.path, 'timeouts'], message)
  }
}

function checkVips(
  source: Source,
  services: readonly ServiceDraft[],
  pops: readonly PopDraft[],
): void {
  const taken = new Map<string, { readonly what: string; readonly path: Path }>()
  for (const pop of pops) {
    for (const { name, address, path } of pop.nodes) {
      if (address) taken.set(address.text, { what: `node "${name}"`, path: [...path, 'address'] })
    }
    for (const { name, address, path, deliver } of pop.backends) {
      if (!address || deliver !== 'gue' || taken.has(address.text)) continue
      taken.set(address.text, { what: `backend "${name}"`, path: [...path, 'address'] })
    }
  }
  for (const { vip, path } of services) {
    if (vip === undefined) continue
    const holder = taken.get(vip.text)
    if (holder !== undefined) {
      const place = source.whereIs(holder.path)
      const message = `vip: ${vip.text} is the address of ${holder.what} at ${place}, expected an address of no machine`
      source.error([...path, 'vip'], message)
    } else if (isLoopback(vip)) {
      source.error(
        [...path, 'vip'],
        `vip: ${vip.text} is a loopback address, expected one that clients can reach`,
      )
    }
  }
}

function checkPorts(source: Source, services: readonly ServiceDraft[]): void {
  const rows = new Map<string, { readonly service: ServiceDraft; readonly path: Path }>()
  for (const service of services) {
    const own = new Set<number>()
    for (const { port, path } of service.ports) {
      if (own.has(port)) source.error(path, `ports: ${port} again, expected each port once`)
      if (own.has(port) || service.vip === undefined || service.protocol === undefined) continue
      own.add(port)
      const row = `${service.vip.text} ${service.protocol} port ${port}`
      const earlier = rows.get(row)
      if (earlier === undefined) rows.set(row, { service, path })
      else {
        const place = source.whereIs(earlier.path)
        source.error(
          path,
          `ports: ${row} belongs to service "${earlier.service.name}" at ${place}, expected one service per VIP, protocol and port`,
        )
      }
    }
  }
}

/** Later fragments carry no ports, so nothing but the VIP can say which service they belong to. */
function checkFragments(source: Source, services: readonly ServiceDraft[]): void {
  const udp = services.filter(({ protocol, vip }) => protocol === 'udp' && vip !== undefined)
  for (const service of udp.filter(({ fragments }) => fragments === true)) {
    const other = udp.find(
      ({ vip, fragments, pool }) =>
        vip?.text === service.vip?.text &&
        (fragments === false || (fragments && pool !== service.pool)),
    )
    if (other === undefined) continue
    const place = source.whereIs(other.path)
    source.errorAtKey(
      [...service.path, 'fragments'],
      `fragments: service "${other.name}" at ${place} has the same VIP with another pool or without "fragments", ` +
        'expected the same for all udp services of a VIP (fragments carry no ports)',
    )
  }
}

function checkPools(source: Source, { pops, services, poolsKnown }: Drafts): void {
  if (!poolsKnown) return
  const pools = new Set(pops.flatMap((pop) => pop.backends.map(({ pool }) => pool ?? '')))
  const known = [...pools]
  for (const service of services) {
    const { pool, path } = service
    if (pool === undefined || pools.has(pool)) continue
    const origin = service.given('pool') ? '' : ' (none is given)'
    const message = `pool: "${pool}"${origin} has no backend in any PoP, expected a pool with one${source.didYouMean(pool, known)}`
    source.error(service.given('pool') ? [...path, 'pool'] : path, message)
  }
}

/** An entry of the flow table has 3 bits for them. */
function checkTimeouts(source: Source, services: readonly ServiceDraft[]): void {
  const sets = new Set<string>()
  for (const { path, protocol, timeouts, given } of services) {
    if (protocol !== 'tcp' || timeouts === undefined) continue
    const set = `${timeouts.half_open} ${timeouts.idle} ${timeouts.closing}`
    if (sets.has(set)) continue
    sets.add(set)
    if (sets.size <= MAX_TIMEOUT_SETS) continue
    source.error(
      given('timeouts') ? [...path, 'timeouts'] : path,
      `timeouts: more than ${MAX_TIMEOUT_SETS} different sets of timeouts, expected at most ${MAX_TIMEOUT_SETS} (MAX_TIMEOUT_SETS), the default one included`,
    )
    return
  }
}

/** Each service has at least one. False: too many for the other checks, some of which compare each with each. */
export function checkPortCount(source: Source, { services }: Drafts): boolean {
  let rows = 0
  for (const { path, ports } of services) {
    rows += Math.max(1, ports.length)
    if (rows <= MAX_SERVICE_PORTS) continue
    const message = `ports: more than ${MAX_SERVICE_PORTS} in all services, expected at most ${MAX_SERVICE_PORTS} (MAX_SERVICE_PORTS)`
    source.error([...path, 'ports'], message)
    return false
  }
  return true
}

function checkCounts(
  source: Source,
  services: readonly ServiceDraft[],
  pops: readonly PopDraft[],
): void {
  const vips = new Set<string>()
  for (const { path, vip } of services) {
    if (vip === undefined || vips.has(vip.text)) continue
    vips.add(vip.text)
    if (vips.size === MAX_VIPS + 1) {
      source.error(
        [...path, 'vip'],
        `vip: more than ${MAX_VIPS} VIPs, expected at most ${MAX_VIPS} (MAX_VIPS)`,
      )
    }
  }
  const pools = new Set<string>()
  for (const { pool, path } of pops.flatMap((pop) => pop.backends)) {
    if (pool === undefined || pools.has(pool)) continue
    pools.add(pool)
    if (pools.size === MAX_POOLS + 1) {
      source.error(
        [...path, 'pool'],
        `pool: more than ${MAX_POOLS} pools, expected at most ${MAX_POOLS} (MAX_POOLS)`,
      )
    }
  }
}
