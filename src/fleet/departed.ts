// Backends that were removed from the fleet file while flows still name them. The nodes of their PoP keep them, without new
// connections, until no flow does. Called by the verb `run`; kept across restarts by src/config/departed-file.ts.
// Guarantees: pure; what the file says wins; the fleet's limits hold with them as without.

import { MAX_BACKENDS, MAX_POOLS } from './limits.js'
import type { Backend, Fleet } from './model.js'

/** Kept at least this long: within it every copy of a flow at another node has been told of again or has ended. */
export const DEPARTED_MIN_S = 15 * 60

export interface Departed {
  readonly backend: Backend
  /** When it was removed, in milliseconds since 1970. */
  readonly sinceMs: number
}

/** Of a PoP, after it has gone over to the fleet. known: its backends of before. */
export function departedAfter(
  before: readonly Departed[],
  known: readonly Backend[],
  fleet: Fleet,
  popId: number,
  nowMs: number,
): readonly Departed[] {
  const present = new Set(fleet.pops.flatMap(({ backends }) => backends).map(({ id }) => id))
  const removed = known.map((backend): Departed => ({ backend, sinceMs: nowMs }))
  const all = new Map([...removed, ...before].map((one) => [one.backend.id, one]))
  const candidates = [...all.values()]
    .filter(({ backend }) => !present.has(backend.id) && fits(backend, fleet, popId))
    .sort((a, b) => b.sinceMs - a.sinceMs)
  return withinLimits(candidates, fleet, present.size)
}

/** For local delivery its node must still be there, under its old id and address. */
function fits(backend: Backend, fleet: Fleet, popId: number): boolean {
  const pop = fleet.pops.find(({ id }) => id === popId)
  if (pop === undefined || backend.popId !== popId) return false
  if (backend.deliver === 'gue') return true
  return pop.nodes.some(({ id, address }) => id === backend.nodeId && address === backend.address)
}

/** The latest come first. */
function withinLimits(
  candidates: readonly Departed[],
  fleet: Fleet,
  backends: number,
): readonly Departed[] {
  const pools = new Set(
    [...fleet.services, ...fleet.pops.flatMap((pop) => pop.backends)].map(({ pool }) => pool),
  )
  const kept: Departed[] = []
  for (const one of candidates) {
    const { pool } = one.backend
    if (backends + kept.length >= MAX_BACKENDS || (pools.size >= MAX_POOLS && !pools.has(pool))) {
      continue
    }
    pools.add(pool)
    kept.push(one)
  }
  return kept
}

/** The fleet with those among the PoP's backends that take no new connections. They come first: where only one can
 * answer, the last does. */
export function withDeparted(fleet: Fleet, popId: number, departed: readonly Departed[]): Fleet {
  if (departed.length === 0) return fleet
  const still = departed.map(({ backend }): Backend => ({ ...backend, weight: 0 }))
  const pops = fleet.pops.map((pop) =>
    pop.id === popId ? { ...pop, backends: [...still, ...pop.backends] } : pop,
  )
  return { ...fleet, pops }
}

/** So long after a node's start every flow that it has recalled has been counted: the table is passed once a minute. */
export const FLOWS_COUNTED_S = 180

/** Whether it can be let go. flows: how many name it; startedMs: since when this node counts. */
export function isDone(
  { sinceMs }: Departed,
  flows: number,
  startedMs: number,
  nowMs: number,
): boolean {
  const counted = nowMs - startedMs >= FLOWS_COUNTED_S * 1000
  return flows === 0 && counted && nowMs - sinceMs >= DEPARTED_MIN_S * 1000
}
