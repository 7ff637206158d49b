// The fleet that an operator speaks to: its file, and where each of its nodes can be asked from here. Shared by `drain` and
// `undrain`; `doctor` asks which nodes are here.

import type { Command } from 'commander'
import { askDoor, statusOf } from '../admin/client.js'
import type { DoorOf } from '../drain/tell.js'
import type { Fleet } from '../fleet/model.js'
import { STATE_DIR } from '../host/numbers.js'
import { doorOf, localDoors } from '../operator/doors.js'
import { fleetOf, tokenOf } from './asked-nodes.js'
import { UserError } from './errors.js'

export interface FleetOptions {
  readonly config?: string
  readonly tokenFile?: string
  readonly state: string
}

export interface OperatedFleet {
  readonly fleet: Fleet
  readonly doorOf: DoorOf
}

export function withFleetOptions(command: Command): Command {
  return command
    .option('--config <file>', 'the fleet file (default: that of the node on this machine)')
    .option('--token-file <file>', "the admin interface's token (default: as the fleet file says)")
    .option('--state <folder>', 'where the nodes of this machine have their sockets', STATE_DIR)
}

export async function operatedFleet(options: FleetOptions): Promise<OperatedFleet> {
  const local = localDoors(options.state)
  const fleet = fleetOf(options.config ?? (await configOfLocalNode(options.state)))
  const token = tokenOf(options, fleet)
  return { fleet, doorOf: (node) => doorOf(node, local, token) }
}

export async function configOfLocalNode(state: string): Promise<string> {
  const [first] = await localNodes(state)
  return first.config
}

interface LocalNode {
  readonly name: string
  /** Its fleet file. */
  readonly config: string
}

/** Those that run on this machine and answer; throws when there is none. */
export async function localNodes(
  state: string,
): Promise<readonly [LocalNode, ...(readonly LocalNode[])]> {
  const found: LocalNode[] = []
  const silent: string[] = []
  for (const { node, door } of localDoors(state)) {
    const reply = await statusOf(askDoor, door)
    if (reply.ok) found.push({ name: node, config: reply.value.config })
    else silent.push(`${node}: ${reply.why}`)
  }
  const [first, ...others] = found
  if (first !== undefined) return [first, ...others]
  const why = silent.length === 0 ? `no socket in ${state}` : silent.join('; ')
  throw new UserError(
    `no node on this machine says which fleet file is meant (${why}), expected one that runs: name the file with --config`,
  )
}
