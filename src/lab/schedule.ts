// Which routes move when, from the seed. Pure: inner.ts replays the same list in both phases. Guarantees: every move
// goes to another PoP than the one the client is at, every role is moved, and the last event leaves its connections
// time to show whether they live.

import type { RouteEvent } from './events.js'
import { seeded } from './random.js'
import {
  clientsOf,
  initialRouting,
  moveCatchment,
  moveClient,
  popOfClient,
  type Routing,
} from './routing.js'
import type { Client, Topology } from './topology.js'
import type { TrafficPlan } from './traffic.js'

/** Connections are made first. */
export const FIRST_EVENT_MS = 500
/** The last events are over by then: a handshake split takes a second, repeated SYNs another. */
export const QUIET_END_MS = 700
/** From holding the SYN-ACK back to letting it through. */
export const HANDSHAKE_MS = 400
/** Every so many milliseconds one of them, where given. */
export interface Paces {
  readonly catchment?: number
  readonly client?: number
  readonly handshake?: number
}

export const PLAIN_PACES: Paces = { catchment: 2_000, client: 250, handshake: 1_100 }
/** Each interval is drawn from 1 - JITTER to 1 + JITTER of itself. */
const JITTER = 0.4

export function scheduleOf(
  topology: Topology,
  traffic: TrafficPlan,
  seed: number,
  durationMs: number,
  paces: Paces = PLAIN_PACES,
): RouteEvent[] {
  const random = seeded(seed)
  const end = durationMs - QUIET_END_MS
  const times = (kind: keyof Paces, last: number): { kind: keyof Paces; atMs: number }[] => {
    const everyMs = paces[kind]
    if (everyMs === undefined) return []
    const list: number[] = []
    let at = FIRST_EVENT_MS + random.next() * everyMs
    while (at <= last) {
      list.push(Math.round(at))
      at += everyMs * (1 - JITTER + 2 * JITTER * random.next())
    }
    return (list.length > 0 ? list : [FIRST_EVENT_MS]).map((atMs) => ({ kind, atMs }))
  }
  const slots = [
    ...times('catchment', end),
    ...times('client', end),
    ...times('handshake', end - 2 * HANDSHAKE_MS),
  ].sort((a, b) => a.atMs - b.atMs)

  const movable = topology.clients.filter(({ id }) => id !== topology.alternating)
  const ofRole = (wanted: boolean): Client[] =>
    movable.filter(
      ({ id }) => (traffic.clients.find((plan) => plan.id === id)?.role === 'handshake') === wanted,
    )
  // Each turn through the shuffled list moves every client once, so no role is left out for long.
  const turn = cycle(() => random.shuffle(ofRole(false).length > 0 ? ofRole(false) : movable))
  const shaking = cycle(() => random.shuffle(ofRole(true).length > 0 ? ofRole(true) : movable))
  const catchment = cycle(() =>
    random.shuffle(topology.pops.filter(({ number }) => clientsOf(topology, number).length > 0)),
  )
  const elsewhere = (pop: number): number =>
    random.pick(topology.pops.filter(({ number }) => number !== pop)).number

  let routing: Routing = initialRouting(topology)
  return slots.map(({ kind, atMs }): RouteEvent => {
    if (kind === 'catchment') {
      const { number } = catchment()
      const pop = elsewhere(routing.catchments.get(number) ?? number)
      routing = moveCatchment(topology, routing, number, pop).routing
      return { kind, atMs, catchment: number, pop }
    }
    const client = kind === 'client' ? turn() : shaking()
    const pop = elsewhere(popOfClient(routing, client))
    routing = moveClient(routing, client, pop).routing
    if (kind === 'client') return { kind, atMs, client: client.id, pop }
    const family = random.pick([4, 6] as const)
    const answer = random.pick(['late', 'lost'] as const)
    return { kind, atMs, client: client.id, pop, family, answer }
  })
}

/** Endless: one list after another. */
function cycle<T>(list: () => readonly T[]): () => T {
  let left: T[] = []
  return () => {
    if (left.length === 0) left = [...list()]
    const item = left.shift()
    if (item === undefined) throw new RangeError('nothing to take turns with')
    return item
  }
}
