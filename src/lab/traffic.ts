// Who does what: each client's role and the rates that keep a small machine busy but not full. Pure: made once by
// inner.ts from the topology, given to the clients' process, read by the schedule (which moves every role).

import type { Topology } from './topology.js'

export type Role =
  | 'download'
  | 'upload'
  | 'echo'
  | 'short'
  | 'half-closed'
  | 'idle'
  | 'handshake'
  /** Everything at once: the alternating client, and a client that is alone in the lab. */
  | 'all'

export interface ClientPlan {
  readonly id: number
  readonly role: Role
  readonly address4: string
  readonly address6: string
}

export interface TrafficPlan {
  readonly clients: readonly ClientPlan[]
  /** Bytes a second of one long connection. */
  readonly downloadRate: number
  readonly uploadRate: number
  readonly echoRate: number
  /** Between two short requests of one client. */
  readonly shortPauseMs: number
}

const DOWNLOAD_BUDGET = 24 * 1024 * 1024
const UPLOAD_BUDGET = 6 * 1024 * 1024
const ECHO_BUDGET = 1024 * 1024
const SHORT_REQUESTS_PER_S = 40
const MIN_RATE = 8 * 1024
const MAX_RATE = 4 * 1024 * 1024
const MIN_SHORT_PAUSE_MS = 50

/** In this order, so that a lab of few clients has the roles that matter most. */
const ROLES: readonly Role[] = [
  'download',
  'upload',
  'short',
  'echo',
  'half-closed',
  'idle',
  'handshake',
  'download',
]

/** `handshakes`: some clients speak only when the schedule splits their handshakes. */
export function trafficOf(topology: Topology, handshakes = true): TrafficPlan {
  const played = handshakes ? ROLES : ROLES.filter((role) => role !== 'handshake')
  const everything = (id: number): boolean =>
    id === topology.alternating || topology.clients.length === 1
  const order = spreadOverCatchments(topology)
  const roles = new Map(order.map((id, index) => [id, played[index % played.length] ?? 'download']))
  const clients = topology.clients.map(({ id, address4, address6 }) => ({
    id,
    role: everything(id) ? 'all' : (roles.get(id) ?? 'download'),
    address4,
    address6,
  }))
  const share = (budget: number, ...roles: readonly Role[]): number => {
    const connections = clients.filter(({ role }) => role === 'all' || roles.includes(role)).length
    return Math.floor(Math.min(MAX_RATE, Math.max(MIN_RATE, budget / Math.max(1, connections))))
  }
  const short = clients.filter(({ role }) => role === 'all' || role === 'short').length
  return {
    clients,
    downloadRate: share(DOWNLOAD_BUDGET, 'download', 'half-closed'),
    uploadRate: share(UPLOAD_BUDGET, 'upload'),
    echoRate: share(ECHO_BUDGET, 'echo'),
    shortPauseMs: Math.max(MIN_SHORT_PAUSE_MS, Math.round((1000 * short) / SHORT_REQUESTS_PER_S)),
  }
}

/** One of each catchment in turn, so that no catchment is all downloads. */
function spreadOverCatchments(topology: Topology): number[] {
  const rank = new Map<number, number>()
  return topology.clients
    .filter(({ id }) => id !== topology.alternating)
    .map(({ id, catchment }) => {
      const place = rank.get(catchment) ?? 0
      rank.set(catchment, place + 1)
      return { id, place, catchment }
    })
    .sort((a, b) => a.place - b.place || a.catchment - b.catchment)
    .map(({ id }) => id)
}
