// Tells nodes the operator's words: all of them are asked first, so that nothing is half done because one cannot be
// reached. Called by the verbs `drain` and `undrain`. Guarantees: who was told and who was not is never left open.

import { type Ask, type Door, statusOf } from '../admin/client.js'
import type { FleetNode } from '../fleet/model.js'
import type { StatusDocument } from '../status/model.js'
import type { Order } from './targets.js'

export type DoorOf = (node: FleetNode) => Door | { readonly why: string }

export interface Failure {
  readonly node: string
  readonly why: string
}

export interface Told {
  readonly told: readonly Order[]
  readonly failures: readonly Failure[]
}

export interface Asked {
  readonly statuses: ReadonlyMap<string, StatusDocument>
  readonly failures: readonly Failure[]
}

/** All at once. */
export async function askStatuses(
  nodes: readonly FleetNode[],
  ask: Ask,
  doorOf: DoorOf,
): Promise<Asked> {
  const statuses = new Map<string, StatusDocument>()
  const failures: Failure[] = []
  await Promise.all(
    nodes.map(async (node) => {
      const door = doorOf(node)
      const reply =
        'kind' in door ? await statusOf(ask, door) : { ok: false as const, why: door.why }
      if (!reply.ok) failures.push({ node: node.name, why: reply.why })
      else if (reply.value.node !== node.name) {
        const why = `the node that answers calls itself ${reply.value.node}: correct its "admin" address in the fleet file`
        failures.push({ node: node.name, why })
      } else statuses.set(node.name, reply.value)
    }),
  )
  return { statuses, failures }
}

/** A node that does not know one of the backends, because its fleet file is another. */
export function misfits(
  orders: readonly Order[],
  statuses: ReadonlyMap<string, StatusDocument>,
): readonly Failure[] {
  return orders.flatMap(({ node, words }) => {
    const status = statuses.get(node.name)
    if (status === undefined) return []
    const known = new Set(
      status.backends
        .filter(({ pop, state }) => pop === status.pop && state !== 'departed')
        .map(({ name }) => name),
    )
    const unknown = Object.keys(words.backends ?? {}).find((name) => !known.has(name))
    if (unknown === undefined) return []
    return [{ node: node.name, why: `its fleet file has no backend ${unknown}: reload it` }]
  })
}

/** One after the other; goes on after a failure. */
export async function tell(orders: readonly Order[], ask: Ask, doorOf: DoorOf): Promise<Told> {
  const told: Order[] = []
  const failures: Failure[] = []
  for (const order of orders) {
    const door = doorOf(order.node)
    const reply =
      'kind' in door
        ? await ask(door, { method: 'POST', path: '/words', body: order.words })
        : { ok: false as const, why: door.why }
    if (reply.ok) told.push(order)
    else failures.push({ node: order.node.name, why: reply.why })
  }
  return { told, failures }
}
