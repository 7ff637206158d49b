// Which nodes a verb asks, and where: those that run on this machine, those of a fleet file, or one address. Shared by the
// verbs that ask. Guarantees: whatever cannot be asked is told in a sentence.

import { isAbsolute } from 'node:path'
import type { Command } from 'commander'
import type { Door } from '../admin/client.js'
import { loadFleet } from '../config/fleet-file.js'
import { formatProblem } from '../config/problem.js'
import { loadToken } from '../config/token.js'
import { isOfThisMachine, readAdminAddress } from '../fleet/admin-address.js'
import type { Fleet } from '../fleet/model.js'
import { STATE_DIR } from '../host/numbers.js'
import { doorOf, localDoors } from '../operator/doors.js'
import { UserError } from './errors.js'
import { findNamed, refuseStart } from './fleet-input.js'

export interface AskedOptions {
  readonly config?: string
  readonly node?: string
  readonly admin?: string
  readonly tokenFile?: string
  readonly state: string
}

export interface AskedNode {
  /** Undefined: only its address is known. */
  readonly node: string | undefined
  readonly door: Door | { readonly why: string }
}

export function withAskedOptions(command: Command): Command {
  return command
    .option('--config <file>', 'the fleet file: ask all of its nodes')
    .option('--node <name>', 'only this node')
    .option('--admin <url|socket>', 'ask the node that listens there')
    .option('--token-file <file>', "the admin interface's token (default: as the fleet file says)")
    .option('--state <folder>', 'where the nodes of this machine have their sockets', STATE_DIR)
}

/** None: no node runs on this machine, and no others were named. */
export function askedNodes(options: AskedOptions): readonly AskedNode[] {
  const { config, node, admin, state } = options
  if (admin !== undefined) {
    if (node !== undefined) throw new UserError('--admin and --node given, expected one of them')
    return [{ node: undefined, door: explicitDoor(admin, options) }]
  }
  const local = localDoors(state)
  if (config === undefined) {
    if (node === undefined) return local
    const found = local.find((one) => one.node === node)
    if (found !== undefined) return [found]
    throw new UserError(
      `--node: no node ${JSON.stringify(node)} runs on this machine (no socket in ${state}), expected one; for a node elsewhere name the fleet file with --config`,
    )
  }
  const fleet = fleetOf(config)
  const token = tokenOf(options, fleet)
  const what = { noun: 'node', option: '--node', path: config }
  const nodes =
    node === undefined
      ? fleet.pops.flatMap((pop) => pop.nodes)
      : [findNamed(fleet, (pop) => pop.nodes, what, node).found]
  return nodes.map((one) => ({ node: one.name, door: doorOf(one, local, token) }))
}

/** Warnings are `check`'s to tell. */
export function fleetOf(path: string): Fleet {
  const result = loadFleet(path)
  return result.ok ? result.fleet : refuseStart(path, result.problems)
}

/** Read at its first use, once. */
export function tokenOf(
  { tokenFile }: Pick<AskedOptions, 'tokenFile'>,
  fleet: Fleet | undefined,
): () => string | undefined {
  const path = tokenFile ?? fleet?.adminTokenFile
  let token: string | undefined
  return () => {
    if (path === undefined || token !== undefined) return token
    const result = loadToken(path)
    if (!result.ok) {
      throw new UserError(result.problems.map(formatProblem).join('; '))
    }
    token = result.token
    return token
  }
}

/** What --admin says. */
export function explicitDoor(
  text: string,
  options: Pick<AskedOptions, 'config' | 'tokenFile'>,
): Door {
  if (isAbsolute(text)) return { kind: 'unix', path: text }
  const address = readAdminAddress(text.replace(/^http:\/\//, '').replace(/\/$/, ''))
  if (address === undefined) {
    throw new UserError(
      `--admin: got ${JSON.stringify(text)}, expected the path of a socket, or an address and a port such as http://127.0.0.1:6080`,
    )
  }
  // Over loopback only changes need the token, and this user may not be allowed to read it.
  if (isOfThisMachine(address) && options.tokenFile === undefined) {
    return { kind: 'tcp', address, token: undefined }
  }
  const fleet = options.config === undefined ? undefined : fleetOf(options.config)
  return { kind: 'tcp', address, token: tokenOf(options, fleet)() }
}
