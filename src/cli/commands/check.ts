// The verb `check`: says everything that is wrong with a fleet file, or sums it up. Called by main.ts; run by
// operators, editors and pipelines, so it needs neither root nor the fleet key, and touches nothing.

import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { loadFleet } from '../../config/fleet-file.js'
import { type KeysResult, loadKeys } from '../../config/keys.js'
import { count, formatProblem, type Position, type Problem } from '../../config/problem.js'
import { didYouMean } from '../../config/suggest.js'
import { loadToken, type TokenResult } from '../../config/token.js'
import type { Fleet, FleetNode, Pop, ServiceHealth } from '../../fleet/model.js'
import { statusText } from '../../health/checks.js'
import { EXIT_FAILURE, UserError } from '../errors.js'

interface Options {
  readonly config?: string
  readonly node?: string
  readonly json?: true
}

interface Summary {
  readonly pops: number
  readonly nodes: number
  readonly backends: number
  readonly services: number
  /** Of services with health, how they are checked. */
  readonly health?: readonly ({ readonly service: string } & ServiceHealth)[]
  readonly node?: {
    readonly name: string
    readonly id: number
    readonly pop: string
    readonly address: string
  }
}

interface Report {
  readonly ok: boolean
  readonly problems: readonly Problem[]
  readonly summary: Summary | null
}

export function register(program: Command): void {
  program
    .command('check')
    .description('validate a fleet file: all errors at once, without root')
    .argument('[file]', 'the fleet file, as with --config')
    .option('--config <file>', 'the fleet file')
    .option('--node <name>', 'also say whether this node is in it')
    .option('--json', 'print one JSON object')
    .action((file: string | undefined, options: Options) => {
      const path = pathOf(file, options.config)
      const report = check(path, options.node)
      if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`)
      else printText(path, report)
      if (!report.ok) process.exitCode = EXIT_FAILURE
    })
}

function pathOf(file: string | undefined, config: string | undefined): string {
  const path = config ?? file
  if (path === undefined) {
    throw new UserError('no fleet file named, expected: steadycast check --config fleet.yaml')
  }
  if (file !== undefined && file !== path) {
    throw new UserError(`two fleet files named (${path} and ${file}), expected one`)
  }
  return path
}

function check(path: string, nodeName: string | undefined): Report {
  const result = loadFleet(path)
  if (!result.ok) return { ok: false, problems: result.problems, summary: null }
  const { fleet } = result
  const problems = [
    ...result.warnings,
    ...withoutProgram(path, result),
    ...asWarnings(loadKeys(fleet.keyFile)),
    ...(fleet.adminTokenFile === undefined ? [] : asWarnings(loadToken(fleet.adminTokenFile))),
  ]
  const found = nodeName === undefined ? undefined : findNode(fleet, nodeName)
  if (nodeName !== undefined && found === undefined) {
    return { ok: false, problems: [...problems, unknownNode(path, fleet, nodeName)], summary: null }
  }
  return { ok: true, problems, summary: summarize(fleet, found) }
}

/** A file of secrets that is not on this machine, or not for this user, is no fault of the fleet file. */
function asWarnings(secret: KeysResult | TokenResult): readonly Problem[] {
  if (secret.ok) return secret.warnings
  if (secret.cause !== 'unusable') return []
  return secret.problems.map((problem) => ({ ...problem, severity: 'warning' }))
}

/** The nodes may have it. */
function withoutProgram(
  file: string,
  { fleet, programAt }: { readonly fleet: Fleet; readonly programAt: Position | undefined },
): readonly Problem[] {
  const { daemon } = fleet.announce ?? {}
  const program = daemon?.kind === 'exec' ? daemon.command[0] : undefined
  if (program === undefined || programAt === undefined || isProgram(program)) return []
  const message = `command: this machine has no program ${JSON.stringify(program)} that can be run, expected one on every node: install it there, or correct the path`
  return [{ file, ...programAt, severity: 'warning', message }]
}

function isProgram(name: string): boolean {
  const folders = name.includes('/') ? [''] : (process.env.PATH ?? '').split(':')
  return folders.some((folder) => {
    try {
      const path = folder === '' ? name : join(folder, name)
      accessSync(path, constants.X_OK)
      return statSync(path).isFile()
    } catch {
      return false
    }
  })
}

interface Found {
  readonly node: FleetNode
  readonly pop: Pop
}

function findNode(fleet: Fleet, name: string): Found | undefined {
  return fleet.pops
    .flatMap((pop) => pop.nodes.map((node) => ({ node, pop })))
    .find(({ node }) => node.name === name)
}

function unknownNode(file: string, fleet: Fleet, name: string): Problem {
  const names = fleet.pops.flatMap((pop) => pop.nodes.map((node) => node.name))
  const list = names.slice(0, 8).join(', ') + (names.length > 8 ? ', ...' : '')
  const message = `no node "${name}", expected one of ${list}${didYouMean(name, names)}`
  return { file, line: 1, column: 1, severity: 'error', message }
}

function summarize({ pops, services }: Fleet, found: Found | undefined): Summary {
  const health = services.flatMap(({ name, health }) => {
    return health === undefined ? [] : [{ service: name, ...health }]
  })
  const summary = {
    pops: pops.length,
    nodes: pops.reduce((sum, pop) => sum + pop.nodes.length, 0),
    backends: pops.reduce((sum, pop) => sum + pop.backends.length, 0),
    services: services.length,
    ...(health.length === 0 ? {} : { health }),
  }
  if (found === undefined) return summary
  const { name, id, address } = found.node
  return { ...summary, node: { name, id, pop: found.pop.name, address } }
}

function printText(path: string, { problems, summary }: Report): void {
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`)
  if (summary === null) return
  const { pops, nodes, backends, services, health = [], node } = summary
  const counts = [
    count(pops, 'PoP'),
    count(nodes, 'node'),
    count(backends, 'backend'),
    count(services, 'service'),
  ]
  process.stdout.write(`${path}: ok: ${counts.join(', ')}\n`)
  for (const one of health) process.stdout.write(`${path}: ${healthText(one)}\n`)
  if (node === undefined) return
  process.stdout.write(
    `${path}: node ${node.name}: id ${node.id}, PoP ${node.pop}, address ${node.address}\n`,
  )
}

/** `service web: http /healthz to port 80 every 1000 ms, timeout 500 ms, status 200-399; ...` */
function healthText({ service, check, ...health }: { readonly service: string } & ServiceHealth) {
  const what = check.kind === 'tcp' ? 'tcp' : `${check.kind} ${check.path}`
  const { port, intervalMs, timeoutMs, rise, fall, slowStartMs, probe } = health
  const expected = check.kind === 'tcp' ? '' : `, status ${statusText(check.status)}`
  return (
    `service ${service}: ${what} to port ${port} every ${intervalMs} ms, timeout ${timeoutMs} ms${expected}; ` +
    `up after ${rise}, down after ${fall}, slow start ${slowStartMs} ms, ${probe ? '' : 'not '}probed through the VIP`
  )
}
