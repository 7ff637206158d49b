// What the lab's processes tell each other over Node's IPC channel: outer and inner, inner and clients, inner and
// relays, inner and splitter. One discriminated union per direction; nothing else crosses.

import type { Happening } from './events.js'
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

export interface BackendTally {
  /** Connections that it has answered so far. */
  readonly served: number
  readonly alive: number
}

/** Whose connections an event happens to. */
export interface Concerned {
  readonly clients: readonly number[]
  readonly backends: readonly string[]
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
  /** Connections that lived while at least one event happened to them. */
  readonly touched: number
  /** Without a byte in either direction, where one was due. */
  readonly longestPauseMs: number
  readonly backends: Readonly<Record<string, BackendTally>>
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
  | { readonly kind: 'moving'; readonly id: number; readonly clients: readonly number[] }
  /** Something else happens to these connections now. */
  | { readonly kind: 'touching'; readonly id: number; readonly concerned: Concerned }
  /** Whether every PoP has a live node. */
  | { readonly kind: 'reachable'; readonly reachable: boolean }
  /** The phase goes on for at least so long. */
  | { readonly kind: 'extend'; readonly leftMs: number }
  | { readonly kind: 'connect'; readonly client: number; readonly family: Family }

export type FromClients =
  | { readonly kind: 'ready' }
  | { readonly kind: 'tried'; readonly error: string }
  /** Answers `moving` and `touching`: how many of those connections are alive. */
  | { readonly kind: 'counted'; readonly id: number; readonly live: number }
  | { readonly kind: 'tally'; readonly tally: Tally }
  | { readonly kind: 'done'; readonly tally: Tally }

export interface Happened {
  readonly events: number
  /** That were alive when it happened to them, counted anew for every event. */
  readonly connections: number
}

export interface PhaseResult {
  readonly tally: Tally
  readonly happened: Readonly<Partial<Record<Happening, Happened>>>
  /** Backends that were added and that no connection has reached. */
  readonly unserved: readonly string[]
  /** Packets of the alternating client that took another way than the one before. */
  readonly alternations: number
}

export interface PlainResult {
  readonly kind: 'plain'
  readonly steadycast: PhaseResult
  readonly plainHashing: PhaseResult
}

export interface ScenarioResult {
  readonly name: string
  /** What had to happen to living connections. */
  readonly expected: readonly Happening[]
  readonly steadycast: PhaseResult
  /** None where nothing of it happens to a PoP without nodes. */
  readonly hashAlone: PhaseResult | undefined
  readonly durationMs: number
}

export interface ScenariosResult {
  readonly kind: 'scenarios'
  readonly scenarios: readonly ScenarioResult[]
}

export type LabResult = PlainResult | ScenariosResult

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
  | {
      readonly kind: 'start'
      readonly options: LabOptions
      readonly startedAt: number
      /** Somebody watches: send states. */
      readonly live: boolean
    }
  /** Comes with a listening server of the user's network. */
  | { readonly kind: 'door'; readonly door: Door }

export type FromInner =
  | { readonly kind: 'hello'; readonly pid: number }
  | { readonly kind: 'progress'; readonly text: string; readonly of: 'event' | 'tally' }
  | { readonly kind: 'state'; readonly state: LiveState }
  | { readonly kind: 'failure'; readonly message: string; readonly log: readonly string[] }
  /** This door's relay accepts. */
  | { readonly kind: 'open'; readonly door: Door }
  | { readonly kind: 'result'; readonly result: LabResult; readonly doors: readonly Door[] }

/** What the live view shows. */
export interface LiveState {
  /** "pop-switch, 1 of 12", or empty. */
  readonly scenario: string
  readonly phase: 'Steadycast' | 'plain hashing'
  readonly elapsedMs: number
  readonly pops: readonly LivePop[]
  /** In order of their ids. */
  readonly clients: readonly LiveClient[]
  readonly tally: Tally | undefined
  /** Of clients whose packets alternate. */
  readonly alternations: number
  /** All that PoPs have sent each other in this phase. */
  readonly betweenPops: number
  readonly betweenPopsPerS: number
}

export interface LivePop {
  readonly number: number
  readonly name: string
  readonly announced: boolean
  readonly nodes: readonly { readonly name: string; readonly state: NodeState }[]
  readonly backends: readonly {
    readonly name: string
    /** 0: draining; undefined: not in the fleet file. */
    readonly weight: number | undefined
    readonly alive: number
  }[]
}

export interface LiveClient {
  readonly catchment: number
  /** Undefined: two in turn. */
  readonly pop: number | undefined
}

/** `dead`: its route may still be there. */
export type NodeState = 'up' | 'dead' | 'stopping' | 'starting'

export type ToRelay = Door

export type FromSplitter =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'packets'; readonly packets: number }
