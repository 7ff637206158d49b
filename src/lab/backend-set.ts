// Which backends a PoP has in the fleet file, and what a change of them is. Pure: used by pops.ts for the file and for
// the router's hops of a PoP without Steadycast, which change in the same way.

import type { BackendChange } from './events.js'
import type { Host, Pop } from './topology.js'

export interface Configured {
  readonly host: Host
  /** 0: it keeps its connections and gets no new ones. */
  readonly weight: number
}

export interface BackendSet {
  readonly configured: readonly Configured[]
  /** Its machine runs on, and its connections with it. */
  readonly removed: readonly Host[]
}

export interface Changed {
  readonly set: BackendSet
  /** Whose connections the change is about. */
  readonly concerned: readonly string[]
  /** For people: "ams-web-2 drains". */
  readonly text: string
}

const HEAVY = 3

export function initialBackends(pop: Pop): BackendSet {
  return { configured: pop.backends.map((host) => ({ host, weight: 1 })), removed: [] }
}

/** Drains and removes where it hurts most: the backend with the most connections. */
export function changeBackends(
  pop: Pop,
  set: BackendSet,
  change: BackendChange,
  alive: (backend: string) => number,
): Changed {
  const ready = set.configured
    .filter(({ weight }) => weight > 0)
    .map(({ host }) => host)
    .sort((a, b) => alive(b.name) - alive(a.name))
  const [busiest] = ready
  const least = ready.at(-1)
  if (busiest === undefined || least === undefined) {
    throw new RangeError(`PoP ${pop.name} has no backend left to ${change}`)
  }
  const weigh = (host: Host, weight: number): readonly Configured[] =>
    set.configured.map((one) => (one.host === host ? { host, weight } : one))
  const all = set.configured.map(({ host }) => host.name)
  switch (change) {
    case 'reweight':
      return {
        set: { ...set, configured: weigh(least, HEAVY) },
        concerned: all,
        text: `${least.name} has weight ${HEAVY}`,
      }
    case 'add': {
      const spare = pop.spares.find((host) => !set.configured.some((one) => one.host === host))
      if (spare === undefined) throw new RangeError(`PoP ${pop.name} has no machine left to add`)
      return {
        set: { ...set, configured: [...set.configured, { host: spare, weight: 1 }] },
        concerned: all,
        text: `${spare.name} is new`,
      }
    }
    case 'drain':
      return {
        set: { ...set, configured: weigh(busiest, 0) },
        concerned: [busiest.name],
        text: `${busiest.name} drains`,
      }
    case 'remove':
      return {
        set: {
          configured: set.configured.filter(({ host }) => host !== busiest),
          removed: [...set.removed, busiest],
        },
        concerned: [busiest.name],
        text: `${busiest.name} is removed`,
      }
  }
}
