// What /status answers and `status --json` prints: one document for each node, described in docs/admin.md. Made by build.ts;
// read by the verbs, by the status page and by operators' own programs. Guarantees: within one `format` fields are only
// added; a time is a duration in the unit that its name ends in, so that clocks of two machines need not agree; counters
// count from the start of the process.

import type { AnnouncementState } from '../announce/report.js'
import type { CheckState } from '../health/report.js'
import type { Word } from '../operator/words.js'

export const STATUS_FORMAT = 1
/** A document answers all who ask within it, so that asking often costs a node little: it may be that old. */
export const STATUS_FRESH_MS = 200

export type HealthState = 'ok' | 'degraded' | 'down'

export interface OverallHealth {
  readonly state: HealthState
  /** Sentences, the gravest first; none when all is well. */
  readonly reasons: readonly string[]
}

export interface PeerStatus {
  readonly name: string
  readonly pop: string
  readonly address: string
  readonly up: boolean
  /** It has told this node all that it holds, without a gap. */
  readonly filled: boolean
  /** It says that it has filled itself. */
  readonly reports_filled: boolean
  /** It withholds all of its services: it drains, or cannot serve. */
  readonly draining: boolean
  /** Of the wire; 0: not known yet. */
  readonly version: number
  readonly round_trip_ms: number | null
  readonly unacknowledged_batches: number
  /** Whether its fleet file says the same as this node's; null: not known. */
  readonly same_fleet: boolean | null
}

export interface ServiceStatus {
  readonly name: string
  readonly vip: string
  readonly ports: readonly number[]
  readonly protocol: 'tcp' | 'udp'
  readonly pool: string
  /** Backends of this PoP that take new connections, and all of them. */
  readonly ready: number
  readonly configured: number
  /** Names of other PoPs that say they serve it. */
  readonly elsewhere: readonly string[]
  /** No backend is up, here or elsewhere: new connections go to all of its backends here, in case the checks are wrong. */
  readonly to_all: boolean
  readonly new_flows: number
  readonly packets: number
  readonly bytes: number
}

export interface CheckStatus {
  readonly service: string
  readonly state: CheckState
  readonly since_s: number
  /** Of the last check, when it failed. */
  readonly why: string | null
  /** 1: its full share; less during a slow start. */
  readonly share: number
}

/** departed: removed from the fleet file while flows name it. idle: of weight 0. */
export type BackendState = 'ready' | 'draining' | 'maintenance' | 'unhealthy' | 'idle' | 'departed'

export interface BackendStatus {
  readonly name: string
  readonly pop: string
  readonly pool: string
  readonly address: string
  /** For `deliver: local` the node whose stack answers; null: GUE. */
  readonly local_to: string | null
  readonly weight: number
  /** Of another PoP's backend only what the fleet file says is known here. */
  readonly state: BackendState
  readonly word: Word
  /** Of a word other than ready. */
  readonly word_since_s: number | null
  readonly checks: readonly CheckStatus[]
  /** Of the Maglev table, among those of its services, that it holds most of. */
  readonly slots: number
  /** Of that table, 0 to 1. */
  readonly share: number
  /** That name it, in whatever role this node holds them. */
  readonly flows: number
  /** Of these, whose owner node this is: each flow of a PoP is owned by one of its nodes. */
  readonly owned_flows: number
  /** Of the owned, with a packet within the last 30 s. */
  readonly active_flows: number
  /** Since the oldest of the owned began; 1022 or more look alike. */
  readonly oldest_s: number
  readonly new_flows: number
  readonly packets: number
  readonly bytes: number
}

export interface PacketStatus {
  readonly received: number
  readonly transmitted: number
  /** For a service, from elsewhere than a node: what routers send here. */
  readonly ingress: number
  readonly delivered: number
  /** To the owner node in another PoP, and taken in as such. */
  readonly forwarded: number
  readonly forwarded_here: number
  readonly relayed: number
  readonly spilled: number
  readonly dropped: number
  readonly misrouted: {
    readonly cached: number
    readonly home: number
    readonly relayed: number
    readonly silent: number
    readonly certain_no: number
  }
}

export interface DropStatus {
  readonly reason: string
  readonly meaning: string
  readonly packets: number
}

export interface PrefixStatus {
  readonly prefix: string
  readonly state: AnnouncementState
  readonly wanted: AnnouncementState
  readonly why: string
  readonly since_s: number
  readonly last_announcer: boolean
}

export interface ProbeStatus {
  readonly service: string
  readonly ok: boolean
  readonly why: string | null
  readonly since_s: number
}

export interface StatusDocument {
  readonly format: typeof STATUS_FORMAT
  readonly node: string
  readonly pop: string
  readonly address: string
  readonly version: string
  readonly uptime_s: number
  /** The fleet file's path on that machine. */
  readonly config: string
  /** Of what it says; equal on nodes of one release whose files say the same. */
  readonly fleet_digest: string
  readonly health: OverallHealth
  /** What the operator said of this node. */
  readonly word: Word
  readonly word_since_s: number | null
  readonly worker: { readonly error: string | null; readonly busy_s: number }
  readonly reload: {
    readonly successful: boolean
    readonly last_success_s: number
    /** Of the last one, when it was not successful. */
    readonly why: string | null
  }
  readonly publication: {
    readonly filled: boolean
    readonly certain: boolean
    readonly withholds: boolean
    readonly recalling: boolean
  }
  readonly flows: {
    readonly capacity: number
    readonly half_open: number
    readonly established: number
    readonly closing: number
    /** Since the flows of the backends were last counted; null: never. */
    readonly counted_ms: number | null
  }
  readonly packets: PacketStatus
  /** Those that there were, the most frequent first. */
  readonly drops: readonly DropStatus[]
  readonly peers: readonly PeerStatus[]
  readonly services: readonly ServiceStatus[]
  readonly backends: readonly BackendStatus[]
  /** null: this node does not probe itself. */
  readonly probes: readonly ProbeStatus[] | null
  /** null: this node announces nothing by itself. */
  readonly announcements: {
    readonly prefixes: readonly PrefixStatus[]
    readonly trouble: string | null
    /** The routing daemon has taken the states of all prefixes. */
    readonly done: boolean
  } | null
}
