// The fleet file: text in, a Fleet or all its problems out. loadFleet() reads the disk, parseFleet() is pure.
// Called by every verb that takes --config. Guarantees: all problems at once (of a fleet beyond its limits those of shape
// alone), sorted by position, each one line; a Fleet that comes out needs no further check; the time is bounded by limits.

import { dirname, isAbsolute, join } from 'node:path'
import { backendId, derivedNodeId, derivedPopId } from '../fleet/ids.js'
import { DEFAULT_CHECK_TIMEOUT_MS, MAX_FLEET_FILE_BYTES, MAX_PROBLEMS } from '../fleet/limits.js'
import type {
  Backend,
  Check,
  Fleet,
  FleetNode,
  Pop,
  Service,
  ServiceHealth,
} from '../fleet/model.js'
import { checkAdmin } from './check-admin.js'
import { announceOf, checkAnnounce } from './check-announce.js'
import { checkFleet, checkSize } from './check-fleet.js'
import { checkHealth, nameIn } from './check-health.js'
import { checkReach } from './check-reach.js'
import { checkPortCount, checkServices, warnAboutServices } from './check-services.js'
import { readDrafts } from './drafts.js'
import { checkShape } from './issues.js'
import { FILE_START, type Position, type Problem, sortProblems } from './problem.js'
import { readText } from './read-text.js'
import { type FleetFile, timeoutsShape } from './shape.js'
import { Source } from './source.js'

export type FleetResult =
  | {
      readonly ok: true
      readonly fleet: Fleet
      readonly warnings: readonly Problem[]
      /** Where the program of "exec" is named. */
      readonly programAt: Position | undefined
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }

type PopFile = FleetFile['fleet']['pops'][number]
type ServiceFile = FleetFile['services'][number]
type HealthFile = NonNullable<ServiceFile['health']>

export function loadFleet(path: string): FleetResult {
  const read = readText(path, MAX_FLEET_FILE_BYTES, 'MAX_FLEET_FILE_BYTES')
  return read.ok ? parseFleet(read.text, path) : { ok: false, problems: [read.problem] }
}

/** `fileName` is for messages, and its folder for a relative key_file. */
export function parseFleet(text: string, fileName: string): FleetResult {
  if (/\r[^\n]/.test(text) && !text.includes('\n')) return withoutLines(fileName)
  const source = new Source(text, fileName)
  let file: FleetFile | undefined
  if (!source.broken) {
    if (source.value === null || source.value === undefined) {
      source.error([], 'the file is empty, expected the keys fleet and services')
    } else file = checkMeaning(source)
  }
  const problems = limit(sortProblems(source.problems))
  if (file === undefined || source.hasErrors) return { ok: false, problems }
  const programAt = file.announce?.exec && source.positionOf(['announce', 'exec', 'command', 0])
  return { ok: true, fleet: build(file, fileName), warnings: problems, programAt }
}

/** To YAML all of it is one line. */
function withoutLines(file: string): FleetResult {
  const message = `the lines end in CR alone, expected LF or CR LF; convert it: tr '\\r' '\\n' < ${file}`
  return { ok: false, problems: [{ file, ...FILE_START, severity: 'error', message }] }
}

function checkMeaning(source: Source): FleetFile | undefined {
  const file = checkShape(source)
  const drafts = readDrafts(source.value)
  const sizes = [checkSize(source, drafts), checkPortCount(source, drafts)]
  if (sizes.includes(false)) return undefined
  checkFleet(source, drafts)
  checkAdmin(source, drafts)
  checkReach(source, drafts)
  checkServices(source, drafts)
  checkHealth(source, drafts)
  if (file !== undefined) checkAnnounce(source, file)
  if (!source.hasErrors) warnAboutServices(source, drafts)
  return file
}

function limit(problems: readonly Problem[]): readonly Problem[] {
  const last = problems[MAX_PROBLEMS]
  if (last === undefined) return problems
  const rest = problems.length - MAX_PROBLEMS
  const message = `${rest} more from here on, not shown; mend those above first`
  return [...problems.slice(0, MAX_PROBLEMS), { ...last, message }]
}

function build(file: FleetFile, fileName: string): Fleet {
  const { fleet, services, admin } = file
  const beside = (path: string) => (isAbsolute(path) ? path : join(dirname(fileName), path))
  const announce = announceOf(file)
  return {
    keyFile: beside(fleet.key_file),
    hashSeed: fleet.hash_seed,
    flowTableEntries: fleet.flow_table,
    pops: fleet.pops.map(buildPop),
    services: services.map(buildService),
    ...(announce === undefined ? {} : { announce }),
    ...(admin === undefined ? {} : { adminTokenFile: beside(admin.token_file) }),
  }
}

function buildPop(file: PopFile): Pop {
  const id = file.id ?? derivedPopId(file.name)
  const nodes = file.nodes.map((node): FleetNode => {
    const { name, address, admin } = node
    const own = { id: node.id ?? derivedNodeId(name), name, popId: id, address: address.text }
    return admin === undefined ? own : { ...own, admin }
  })
  const backends = file.backends.map((backend): Backend => {
    const { name, deliver, weight, pool } = backend
    const node =
      deliver === 'local' ? nodes.find((candidate) => candidate.name === backend.node) : undefined
    const address = node?.address ?? backend.address?.text
    if (address === undefined)
      throw new Error(`backend ${name} passed the checks without an address`)
    return {
      id: backendId(id, name, address),
      name,
      popId: id,
      address,
      deliver,
      nodeId: node?.id ?? 0,
      weight,
      pool,
    }
  })
  return { id, name: file.name, nodes, backends }
}

function buildService(file: ServiceFile): Service {
  const { name, vip, ports, protocol, pool, fragments } = file
  const timeouts = file.timeouts ?? timeoutsShape.parse({})
  return {
    name,
    vip: vip.text,
    family: vip.family,
    ports,
    protocol,
    pool,
    fragments,
    halfOpenS: timeouts.half_open,
    idleS: timeouts.idle,
    closingS: timeouts.closing,
    health: file.health === undefined ? undefined : buildHealth(file, file.health),
  }
}

function buildHealth(service: ServiceFile, file: HealthFile): ServiceHealth {
  const { interval, timeout, rise, fall } = file
  return {
    check: buildCheck(file),
    port: file.port ?? service.ports[0] ?? 0,
    intervalMs: interval,
    timeoutMs: timeout ?? Math.min(DEFAULT_CHECK_TIMEOUT_MS, interval),
    rise,
    fall,
    slowStartMs: file.slow_start,
    probe: file.probe && service.protocol === 'tcp',
  }
}

function buildCheck(file: HealthFile): Check {
  const { http, https, host, status, body, verify } = file
  const path = http ?? https
  if (path === undefined) return { kind: 'tcp' }
  const serverName = https === undefined ? undefined : (file.server_name ?? nameIn(host))
  return {
    kind: https === undefined ? 'http' : 'https',
    path,
    host,
    status,
    body,
    serverName,
    verify,
  }
}
