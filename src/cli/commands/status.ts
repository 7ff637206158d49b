// The verb `status`: how the nodes are, in the manner of `ipvsadm -Ln`, the overall health first. Called by main.ts.
// Guarantees: the exit code says what the first line says: 0 ok, 1 degraded, 2 down, 3 unknown (nothing could be found out).

import { type Command, CommanderError } from 'commander'
import { askDoor, statusOf } from '../../admin/client.js'
import { HostError } from '../../host/host-error.js'
import type { HealthState, OverallHealth, StatusDocument } from '../../status/model.js'
import { healthLines, statusLines } from '../../status/text.js'
import { type AskedNode, type AskedOptions, askedNodes, withAskedOptions } from '../asked-nodes.js'
import { UserError } from '../errors.js'

interface Options extends AskedOptions {
  readonly json?: true
}

/** Wrong options, no permission, a wrong token: as a monitoring system's "unknown". */
const EXIT_UNKNOWN = 3

/** Of nodes that may be well, but tell this user nothing: `unknown`. */
type AskedState = HealthState | 'unknown'

/** The gravest first. */
const STATES: readonly AskedState[] = ['down', 'unknown', 'degraded', 'ok']
const EXIT_CODES: Readonly<Record<AskedState, number>> = {
  ok: 0,
  degraded: 1,
  down: 2,
  unknown: EXIT_UNKNOWN,
}

interface AskedHealth {
  readonly state: AskedState
  readonly reasons: OverallHealth['reasons']
}

export type NodeStatus =
  | { readonly ok: true; readonly status: StatusDocument }
  | {
      readonly ok: false
      readonly node: string
      readonly why: string
      readonly state: 'down' | 'unknown'
    }

export function register(program: Command): void {
  withAskedOptions(
    program
      .command('status')
      .description(
        'how the nodes of this machine, or of a fleet, are; exit code 0 ok, 1 degraded, 2 down, 3 unknown',
      ),
  )
    .option('--json', 'print one JSON object')
    .exitOverride(({ exitCode, code, message }) => {
      throw new CommanderError(exitCode === 0 ? 0 : EXIT_UNKNOWN, code, message)
    })
    .action(async (options: Options) => {
      const asked = orUnknown(() => askedNodes(options))
      const nodes = await Promise.all(asked.map(statusOfNode))
      const health = overall(nodes, options.state)
      const lines = options.json ? [JSON.stringify(asJson(health, nodes))] : textOf(health, nodes)
      process.stdout.write(`${lines.join('\n')}\n`)
      process.exitCode = EXIT_CODES[health.state]
    })
}

function orUnknown<T>(find: () => T): T {
  try {
    return find()
  } catch (error) {
    if (error instanceof UserError || error instanceof HostError) {
      throw new UserError(error.message, EXIT_UNKNOWN)
    }
    throw error
  }
}

export async function statusOfNode({ node, door }: AskedNode): Promise<NodeStatus> {
  const name = node ?? ''
  if (!('kind' in door)) return { ok: false, node: name, why: door.why, state: 'down' }
  const reply = await statusOf(askDoor, door)
  if (!reply.ok) {
    return { ok: false, node: name, why: reply.why, state: reply.unknown ? 'unknown' : 'down' }
  }
  return { ok: true, status: reply.value }
}

/** Of all that were asked: the worst, each reason with its node. */
export function overall(nodes: readonly NodeStatus[], state: string): AskedHealth {
  const [only] = nodes
  if (only === undefined) {
    const why = `no node runs on this machine (no socket in ${state}): start one with "steadycast run", or name others with --config or --admin`
    return { state: 'down', reasons: [why] }
  }
  if (nodes.length === 1 && only.ok) return only.status.health
  const all = nodes.map((node) =>
    node.ok
      ? { name: node.status.node, ...node.status.health }
      : { name: node.node, state: node.state, reasons: [node.why] },
  )
  return {
    state: STATES.find((state) => all.some((one) => one.state === state)) ?? 'ok',
    reasons: STATES.flatMap((state) =>
      all
        .filter((one) => one.state === state)
        .flatMap(({ name, reasons }) =>
          reasons.map((why) => (name === '' ? why : `${name}: ${why}`)),
        ),
    ),
  }
}

function textOf(health: AskedHealth, nodes: readonly NodeStatus[]): readonly string[] {
  const known = nodes.flatMap((node) => (node.ok ? [node.status] : []))
  const [only] = known
  if (nodes.length === 1 && only !== undefined) return statusLines(only)
  return [...healthLines(health), ...known.flatMap((status) => ['', ...statusLines(status)])]
}

function asJson(health: AskedHealth, nodes: readonly NodeStatus[]): object {
  return {
    health,
    nodes: nodes.flatMap((node) => (node.ok ? [node.status] : [])),
    unreachable: nodes.flatMap((node) => (node.ok ? [] : [{ node: node.node, why: node.why }])),
  }
}
