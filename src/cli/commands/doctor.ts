// The verb `doctor`: the usual reasons for "it does not forward", one line each with what to do. Run on the machine that is
// meant, as a node or as a backend. Called by main.ts. Guarantees: changes nothing; the exit code is 0 when nothing is
// wrong, 1 with warnings, 2 when something is wrong, 3 when it could not look.

import type { Command } from 'commander'
import type { Door } from '../../admin/client.js'
import { allChecks, exitCodeOf } from '../../doctor/checks.js'
import type { Finding, Status } from '../../doctor/facts.js'
import { gather, type Subject } from '../../doctor/gather.js'
import { listed } from '../../host/host-error.js'
import { ADMIN_BACKEND, ADMIN_NODE, DEVICE, STATE_DIR } from '../../host/numbers.js'
import { requireIproute } from '../../host/preconditions.js'
import { localDoors } from '../../operator/doors.js'
import { explicitDoor, fleetOf } from '../asked-nodes.js'
import { UserError } from '../errors.js'
import { findNamed } from '../fleet-input.js'
import { neighbours, outline, peersOf, routingNeeds, vipsOf } from '../node-plan.js'
import { configOfLocalNode, localNodes } from '../operated-fleet.js'

const EXIT_COULD_NOT_LOOK = 3

interface Options {
  readonly config?: string
  readonly node?: string
  readonly backend?: string
  readonly admin?: string
  readonly tokenFile?: string
  readonly state: string
  readonly device: string
  readonly json?: true
}

export function register(program: Command): void {
  program
    .command('doctor')
    .description('find the usual reasons why it does not forward, on this machine')
    .option('--config <file>', 'the fleet file (default: that of the node on this machine)')
    .option('--node <name>', 'this machine is this node of it (default: the one that runs here)')
    .option('--backend <name>', 'this machine is this backend of it')
    .option(
      '--admin <url|socket>',
      `of the process that runs here (default: the node's socket, of a backend ${ADMIN_BACKEND})`,
    )
    .option('--token-file <file>', "the admin interface's token (default: as the fleet file says)")
    .option('--state <folder>', 'where the nodes of this machine have their sockets', STATE_DIR)
    .option('--device <name>', 'the device that "run" or "backend" was given', DEVICE)
    .option('--json', 'print one JSON object')
    .action(async (options: Options) => {
      const findings = await examine(options).catch((error: unknown) => {
        const { message, exitCode } = error as { message: string; exitCode?: unknown }
        throw typeof exitCode === 'number' ? new UserError(message, EXIT_COULD_NOT_LOOK) : error
      })
      if (options.json) process.stdout.write(`${JSON.stringify(jsonOf(findings))}\n`)
      else for (const finding of findings) process.stdout.write(`${lineOf(finding)}\n`)
      process.exitCode = exitCodeOf(findings)
    })
}

async function examine(options: Options): Promise<readonly Finding[]> {
  const { config, ...one } = await meant(options)
  const fleet = fleetOf(config)
  await requireIproute()
  const named = { ...options, config }
  const subject =
    'backend' in one
      ? backendSubject(named, fleet, one.backend)
      : nodeSubject(named, fleet, one.node)
  return allChecks(await gather(subject))
}

type Meant = { readonly config: string } & (
  | { readonly node: string }
  | { readonly backend: string }
)

/** What the options name, else the one node that runs here. */
async function meant({ node, backend, config, state }: Options): Promise<Meant> {
  if (node !== undefined && backend === undefined) {
    return { config: config ?? (await configOf(state, node)), node }
  }
  if (backend !== undefined && node === undefined) {
    return { config: config ?? (await configOfLocalNode(state)), backend }
  }
  if (node !== undefined || config !== undefined) {
    throw new UserError(
      'expected --node NAME on a node, or --backend NAME on a backend machine, and not both',
    )
  }
  const [only, ...others] = await localNodes(state)
  if (others.length > 0) {
    const names = [only, ...others].map(({ name }) => name)
    throw new UserError(
      `${names.length} nodes run on this machine (${listed(names)}), expected one to examine: name it with --node`,
    )
  }
  return { config: only.config, node: only.name }
}

/** Of the node itself where it runs here; several may have files of their own. */
async function configOf(state: string, node: string): Promise<string> {
  const here = await localNodes(state)
  return (here.find(({ name }) => name === node) ?? here[0]).config
}

type LoadedFleet = Subject['fleet']
type Named = Options & { readonly config: string }

function nodeSubject(options: Named, fleet: LoadedFleet, name: string): Subject {
  const what = { noun: 'node', option: '--node', path: options.config }
  const { found: self, pop } = findNamed(fleet, ({ nodes }) => nodes, what, name)
  const of = outline({ fleet, keys: [], self, pop }, [])
  const near = new Set(neighbours(of))
  const backends = pop.backends.filter(({ deliver }) => deliver === 'gue')
  return {
    side: 'node',
    name,
    address: self.address,
    pop,
    fleet,
    vips: vipsOf(fleet, self),
    machines: [
      ...peersOf(fleet, self).map((peer) => ({ ...peer, kind: 'peer' as const })),
      ...backends.map((one) => ({ ...one, kind: 'backend' as const })),
    ].flatMap(({ name, address, kind }) => (near.has(address) ? [{ name, address, kind }] : [])),
    needs: routingNeeds(of),
    device: options.device,
    door: doorOf(options, name),
  }
}

function backendSubject(options: Named, fleet: LoadedFleet, name: string): Subject {
  const what = { noun: 'backend', option: '--backend', path: options.config }
  const { found: self, pop } = findNamed(fleet, ({ backends }) => backends, what, name)
  if (self.deliver === 'local') {
    throw new UserError(
      `--backend: ${name} is delivered locally by its node: ask with --node, on that machine`,
    )
  }
  const services = fleet.services.filter(({ pool }) => pool === self.pool)
  const vips = new Map(services.map(({ vip, family }) => [vip, family]))
  return {
    side: 'backend',
    name,
    address: self.address,
    pop,
    fleet,
    vips: [...vips].map(([address, family]) => ({ address, family, local: true })),
    machines: pop.nodes.map((one) => ({ name: one.name, address: one.address, kind: 'node' })),
    needs: undefined,
    device: options.device,
    door: explicitDoor(options.admin ?? ADMIN_BACKEND, options),
  }
}

/** Of the node itself, if it runs here; whatever else runs here answers on loopback. */
function doorOf(options: Options, node: string): Door {
  const here = options.admin === undefined ? localDoors(options.state) : []
  return (
    here.find((one) => one.node === node)?.door ??
    explicitDoor(options.admin ?? ADMIN_NODE, options)
  )
}

const LABELS: Readonly<Record<Status, string>> = {
  ok: 'ok',
  unknown: 'unknown',
  warning: 'warning',
  wrong: 'WRONG',
}

function lineOf({ check, status, found, todo }: Finding): string {
  return `${LABELS[status].padEnd(8)} ${check}: ${found}${todo === '' ? '' : `; to do: ${todo}`}`
}

function jsonOf(findings: readonly Finding[]) {
  const worst = (['wrong', 'warning'] as const).find((status) =>
    findings.some((finding) => finding.status === status),
  )
  return { status: worst ?? 'ok', findings }
}
