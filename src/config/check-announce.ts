// What `announce` must mean: one way to announce, prefixes that hold VIPs, services that are there; and the model made of
// it. Called by fleet-file.ts with a file whose shape has no fault. Reports to the source.

import { parsePrefix, prefixHolds } from '../fleet/address.js'
import type { Announce, AnnouncedPrefix, RoutingDaemon } from '../fleet/announce.js'
import { checkPrefixes } from './check-reach.js'
import { durationText } from './duration.js'
import { announcedShape, dePreferredShape, type FleetFile } from './shape.js'
import type { Source } from './source.js'

type AnnounceFile = NonNullable<FleetFile['announce']>
type PrefixFile = AnnounceFile['prefixes'][number]

export function checkAnnounce(source: Source, file: FleetFile): void {
  const { announce } = file
  if (announce === undefined) {
    warnAboutScope(source, file)
    return
  }
  const kinds = ['bird', 'exec'].filter((kind) => Object.hasOwn(announce, kind))
  if (kinds.length !== 1) {
    const got = kinds.length === 0 ? 'neither "bird" nor "exec"' : 'both "bird" and "exec"'
    source.errorAtKey(['announce'], `announce: got ${got}, expected one of them`)
  }
  if (announce.hold_down > announce.max_hold_down) {
    source.error(
      ['announce', 'hold_down'],
      `hold_down: ${durationText(announce.hold_down / 1000)} is more than max_hold_down (${durationText(announce.max_hold_down / 1000)}), expected at most as much`,
    )
  }
  const first = new Map<string, number>()
  for (const [index, prefix] of announce.prefixes.entries()) {
    const path = ['announce', 'prefixes', index]
    const earlier = first.get(prefix.prefix)
    if (earlier !== undefined) {
      const place = source.whereIs(['announce', 'prefixes', earlier, 'prefix'])
      source.error(
        [...path, 'prefix'],
        `prefix: ${prefix.prefix} again, expected each prefix once; the first is at ${place}`,
      )
    } else first.set(prefix.prefix, index)
    checkServicesOf(source, file, prefix, path)
  }
  checkPrefixes(source, file)
  if (!source.hasErrors) warnAboutUnannounced(source, file, announce)
}

function checkServicesOf(
  source: Source,
  file: FleetFile,
  prefix: PrefixFile,
  path: readonly (string | number)[],
): void {
  const inside = servicesInside(file, prefix.prefix)
  const insideSet = new Set(inside)
  if (inside.length === 0) {
    source.error(
      [...path, 'prefix'],
      `prefix: ${prefix.prefix} holds the VIP of no service, expected one of at least one`,
    )
  }
  if (typeof prefix.up_when === 'string') return
  const all = file.services.map(({ name }) => name)
  const byName = new Map(file.services.map((service) => [service.name, service]))
  for (const [index, name] of prefix.up_when.entries()) {
    if (insideSet.has(name)) continue
    const service = byName.get(name)
    source.error(
      [...path, 'up_when', index],
      service === undefined
        ? `up_when[${index}]: no service is called "${name}", expected one of this prefix${source.didYouMean(name, inside.length > 0 ? inside : all)}`
        : `up_when[${index}]: the VIP of service "${name}" (${service.vip.text}) is not in ${prefix.prefix}, expected a service whose VIP is`,
    )
  }
}

/** Once for each VIP. Whether it is a fault is for the operator to say: it may be announced by other means. */
function warnAboutUnannounced(source: Source, file: FleetFile, announce: AnnounceFile): void {
  const told = new Set<string>()
  for (const [index, { vip }] of file.services.entries()) {
    if (told.has(vip.text)) continue
    told.add(vip.text)
    if (announce.prefixes.some(({ prefix }) => holds(prefix, vip.text))) continue
    source.warnAtKey(
      ['services', index, 'vip'],
      `vip: ${vip.text} is in no prefix under "announce": Steadycast does not announce it`,
    )
  }
}

function warnAboutScope(source: Source, { fleet }: FleetFile): void {
  for (const [at, pop] of fleet.pops.entries()) {
    const path = ['fleet', 'pops', at]
    const node = pop.nodes.findIndex(({ scope }) => scope === 'local')
    if (pop.scope !== 'local' && node < 0) continue
    source.warnAtKey(
      [...path, ...(pop.scope === 'local' ? [] : ['nodes', node]), 'scope'],
      'scope: without "announce" it has no effect',
    )
    return
  }
}

/** Of a file without errors. */
export function announceOf(file: FleetFile): Announce | undefined {
  const { announce, fleet } = file
  if (announce === undefined) return undefined
  const { for: dePreferredMs, ...dePreferred } = announce.de_preferred ?? dePreferredShape.parse({})
  return {
    daemon: daemonOf(announce),
    prefixes: announce.prefixes.map((prefix) => prefixOf(file, prefix)),
    announced: announce.announced ?? announcedShape.parse({}),
    dePreferred,
    dePreferredMs,
    holdDownMs: announce.hold_down,
    maxHoldDownMs: announce.max_hold_down,
    localNodes: new Set(
      fleet.pops.flatMap((pop) =>
        pop.nodes.filter(({ scope }) => (scope ?? pop.scope) === 'local').map(({ name }) => name),
      ),
    ),
  }
}

function daemonOf({ bird, exec }: AnnounceFile): RoutingDaemon {
  if (bird !== undefined) return { kind: 'bird', socket: bird }
  if (exec === undefined) throw new Error('announce passed the checks without a daemon')
  return {
    kind: 'exec',
    command: exec.command,
    timeoutMs: exec.timeout,
    repeatMs: exec.repeat,
  }
}

function prefixOf(file: FleetFile, { prefix, up_when }: PrefixFile): AnnouncedPrefix {
  const family = prefix.includes(':') ? 6 : 4
  return typeof up_when === 'string'
    ? { prefix, family, upWhen: up_when, services: servicesInside(file, prefix) }
    : { prefix, family, upWhen: 'all', services: [...new Set(up_when)] }
}

function servicesInside(file: FleetFile, prefix: string): readonly string[] {
  return file.services.filter(({ vip }) => holds(prefix, vip.text)).map(({ name }) => name)
}

function holds(prefix: string, address: string): boolean {
  const parsed = parsePrefix(prefix)
  return parsed.ok && prefixHolds(parsed.prefix, address)
}
