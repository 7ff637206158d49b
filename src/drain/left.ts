// What is left of a drain, from the statuses of the nodes that were told: flows that still need what is drained, packets
// that routers still send, prefixes that are not withdrawn, and who does not answer. Called by wait.ts. Pure.
// docs/drain.md says what "left" means for a node, a backend and a PoP.

import { STATUS_FRESH_MS, type StatusDocument } from '../status/model.js'
import { backendsOf, nodesOf, type Order, type Target } from './targets.js'

/** Of one node: its last status, or why there is none. */
export type Reading =
  | { readonly ok: true; readonly status: StatusDocument; readonly atMs: number }
  | { readonly ok: false; readonly why: string }

/** By node name. */
export type Readings = ReadonlyMap<string, Reading>

export interface Left {
  readonly flows: number
  /** Of these, with a packet within the last 30 s. */
  readonly active: number
  /** Since the oldest of them began. */
  readonly oldestS: number
  /** Packets so far that were delivered to the backends in question. */
  readonly packets: number
  /** Packets so far that other PoPs forwarded to the nodes that were told. */
  readonly forwarded: number
  /** Packets so far that routers sent to the nodes that stand back; undefined for a backend, where it does not matter. */
  readonly ingress: number | undefined
  /** `198.51.100.0/24 de-preferred`, of the nodes that stand back. */
  readonly announced: readonly string[]
  /** Of nodes that stand back: their routing daemons have not taken what they are told, and may announce all that they did. */
  readonly untaken: readonly string[]
  /** Some node that stands back announces nothing by itself: the operator withdraws. */
  readonly byHand: boolean
  /** Of the counts of flows, when the oldest began, on the clock of the readings; undefined: one was never counted. */
  readonly countedFromMs: number | undefined
  /** Nodes whose part is not known, and why. */
  readonly unknown: readonly string[]
}

export function leftOf(target: Target, readings: Readings): Left {
  const known = [...readings].flatMap(([name, reading]) =>
    reading.ok ? [{ name, ...reading }] : [],
  )
  const { pop } = target
  const names = new Set(neededBackends(target, readings))
  const back = new Set(nodesOf(target).map(({ name }) => name))
  const standing = known.filter(({ name }) => back.has(name))
  const rows = known.flatMap(({ status }) =>
    status.backends.filter((one) => one.pop === pop.name && names.has(one.name)),
  )
  const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0)
  const froms = known.map(({ status, atMs }) =>
    status.flows.counted_ms === null
      ? Number.NEGATIVE_INFINITY
      : atMs - STATUS_FRESH_MS - status.flows.counted_ms,
  )
  const from = Math.min(...froms)
  return {
    flows: total(rows.map(({ owned_flows }) => owned_flows)),
    active: total(rows.map(({ active_flows }) => active_flows)),
    oldestS: Math.max(0, ...rows.map(({ oldest_s }) => oldest_s)),
    packets: total(rows.map(({ packets }) => packets)),
    forwarded: total(known.map(({ status }) => status.packets.forwarded_here)),
    ingress:
      back.size === 0 ? undefined : total(standing.map(({ status }) => status.packets.ingress)),
    announced: standing.flatMap(({ status }) =>
      (status.announcements?.prefixes ?? [])
        .filter(({ state }) => state !== 'withdrawn')
        .map(({ prefix, state }) => `${prefix} ${state}`),
    ),
    untaken: standing.flatMap(({ name, status: { announcements } }) => {
      // A node of an earlier release says only that there is trouble.
      if (announcements === null || (announcements.done ?? announcements.trouble === null))
        return []
      const { trouble } = announcements
      return [
        trouble === null
          ? `${name}'s routing daemon to do as told`
          : `${name}'s routing daemon, which does not do as told (${trouble})`,
      ]
    }),
    byHand: standing.some(({ status }) => status.announcements === null),
    countedFromMs: Number.isFinite(from) ? from : undefined,
    unknown: unknownNodes(readings),
  }
}

/** Nodes by which some of the words are not in force any more: somebody else has said that all is ready. */
export function takenBackAt(orders: readonly Order[], readings: Readings): readonly string[] {
  return orders.flatMap(({ node, words }) => {
    const reading = readings.get(node.name)
    if (reading?.ok !== true) return []
    const { word, backends, pop } = reading.status
    const ready = new Set(
      backends.filter((one) => one.pop === pop && one.word === 'ready').map(({ name }) => name),
    )
    const isBack =
      (words.node !== undefined && word === 'ready') ||
      Object.keys(words.backends ?? {}).some((name) => ready.has(name))
    return isBack ? [node.name] : []
  })
}

/** Backends whose flows cannot do without what is drained. A node that has a sibling to take its part over is needed only
 * by the backends that its own stack is; a node without one by all of its PoP. */
function neededBackends(target: Target, readings: Readings): readonly string[] {
  if (target.kind !== 'node') return backendsOf(target).map(({ name }) => name)
  const reading = readings.get(target.node.name)
  const siblings =
    reading?.ok === true
      ? reading.status.peers.filter(
          ({ pop, up, filled, reports_filled }) =>
            pop === target.pop.name && up && filled && reports_filled,
        )
      : []
  const needed = siblings.length > 0 ? backendsOf(target) : target.pop.backends
  return needed.map(({ name }) => name)
}

/** A node that does not answer may own flows, unless the others see that it is dead; one that has just begun has yet to be
 * told which. */
function unknownNodes(readings: Readings): readonly string[] {
  const seen = [...readings.values()].flatMap((reading) => (reading.ok ? [reading.status] : []))
  return [...readings].flatMap(([name, reading]) => {
    if (reading.ok) {
      const { filled, recalling } = reading.status.publication
      return filled && !recalling ? [] : [`${name}: it has begun anew and is being told its flows`]
    }
    const peers = seen.flatMap(({ peers }) => peers.filter((peer) => peer.name === name))
    const dead = peers.length > 0 && peers.every(({ up }) => !up)
    return dead ? [] : [`${name}: ${reading.why}`]
  })
}
