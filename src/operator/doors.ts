// Where the nodes of a fleet can be asked from this machine: a node that runs here by its UNIX socket, others by the address
// of their admin interface in the fleet file. Called by the verbs. Guarantees: a node that cannot be asked has a sentence
// that says what to do.

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Door } from '../admin/client.js'
import { readAdminAddress } from '../fleet/admin-address.js'
import type { FleetNode } from '../fleet/model.js'
import { errnoCode, HostError } from '../host/host-error.js'
import { SOCKET_SUFFIX } from '../host/state-dir.js'

export interface NodeDoor {
  /** By the socket's name, or by the fleet file. */
  readonly node: string
  readonly door: Door
}

/** Of the nodes that run on this machine, or did: one for each socket, by name. */
export function localDoors(stateDir: string): readonly NodeDoor[] {
  let names: readonly string[]
  try {
    names = readdirSync(stateDir)
  } catch (error) {
    const code = errnoCode(error)
    if (code === 'ENOENT') return []
    throw new HostError(
      `${stateDir} cannot be looked into (${code}), expected the state folder of the nodes of this machine: run this as their user (steadycast, as a rule) or as root, or name the folder with --state`,
    )
  }
  return names
    .filter((name) => name.endsWith(SOCKET_SUFFIX) && isSocket(join(stateDir, name)))
    .sort()
    .map((name) => ({
      node: name.slice(0, -SOCKET_SUFFIX.length),
      door: { kind: 'unix', path: join(stateDir, name) },
    }))
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false
}

/** The token is read only when it is needed. */
export function doorOf(
  node: FleetNode,
  local: readonly NodeDoor[],
  token: () => string | undefined,
): Door | { readonly why: string } {
  const here = local.find((one) => one.node === node.name)
  if (here !== undefined) return here.door
  const address = readAdminAddress(node.admin ?? '')
  if (address !== undefined) return { kind: 'tcp', address, token: token() }
  return {
    why: `it does not run on this machine, and the fleet file has no "admin" address for it: run this on its own machine, or add "admin: ADDRESS:PORT" to the node and restart it`,
  }
}
