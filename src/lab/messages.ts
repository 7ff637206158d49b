// What the lab's processes tell each other over Node's IPC channel: outer and inner, inner and clients, inner and
// relays, inner and splitter. One discriminated union per direction; nothing else crosses.

import type { LabOptions } from './options.js'
import type { Family } from './topology.js'
import type { TrafficPlan } from './traffic.js'

/** What a live connection is doing when its client's route moves. */
export const ACTIVITIES = [
  'connecting',
  'downloading',
  'uploading',
  'echoing',
  'half-closed',
  'idle',
  'requesting',
] as const
export type Activity = (typeof ACTIVITIES)[number]

export interface BrokenConnection {
  readonly client: number
  readonly activity: Activity
  readonly family: Family
  readonly backend: string
  readonly reason: string
}

export interface Tally {
  readonly connections: number
  readonly alive: number
  readonly broken: number
  readonly bytes: number
  /** Route changes that moved a client with at least one live connection. */
  readonly switches: number
  /** The connections that were alive then, by what they were doing. */
  readonly switched: Readonly<Record<Activity, number>>
  /** The first few. */
  readonly samples: readonly BrokenConnection[]
}

export type ToClients =
  | {
      readonly kind: 'start'
      readonly traffic: TrafficPlan
      readonly seed: number
      readonly durationMs: number
      readonly stallMs: number
    }
  /** Are the VIPs answered to every one of these clients, by both families? */
  | { readonly kind: 'try'; readonly traffic: TrafficPlan; readonly clients: readonly number[] }
  /** The routes of these clients are about to move. */
  | { readonly kind: 'moving'; readonly clients: readonly number[] }
  | { readonly kind: 'connect'; readonly client: number; readonly family: Family }

export type FromClients =
  | { readonly kind: 'ready' }
  | { readonly kind: 'tried'; readonly error: string }
  /** Answers `moving`: how many connections of those clients are alive. */
  | { readonly kind: 'counted'; readonly live: number }
  | { readonly kind: 'tally'; readonly tally: Tally }
  | { readonly kind: 'done'; readonly tally: Tally }

export interface PhaseResult {
  readonly tally: Tally
  /** Packets of the alternating client that took another way than the one before. */
  readonly alternations: number
}

export interface LabResult {
  readonly steadycast: PhaseResult
  readonly plainHashing: PhaseResult
}

/** A door from the user's own network into the lab, for --keep. */
export interface Door {
  readonly name: string
  readonly namespace: string
  readonly host: string
  readonly port: number
  /** The VIP is reached from a client's address only. */
  readonly localAddress?: string
}

export type ToInner =
  | { readonly kind: 'start'; readonly options: LabOptions; readonly startedAt: number }
  /** Comes with a listening server of the user's network. */
  | { readonly kind: 'door'; readonly door: Door }

export type FromInner =
  | { readonly kind: 'hello'; readonly pid: number }
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'failure'; readonly message: string; readonly log: readonly string[] }
  /** This door's relay accepts. */
  | { readonly kind: 'open'; readonly door: Door }
  | { readonly kind: 'result'; readonly result: LabResult; readonly doors: readonly Door[] }

export type ToRelay = Door

export type FromSplitter =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'packets'; readonly packets: number }
