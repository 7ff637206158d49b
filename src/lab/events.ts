// What can happen in the lab, as data: a schedule is a list of these, and a scenario some schedules that run at the same
// time. Pure: made by schedule.ts and scenarios.ts from a seed, played by moves.ts and pops.ts.

import type { Family } from './topology.js'

/** How routes between clients and PoPs change. */
export type RouteEvent =
  | {
      readonly kind: 'catchment'
      readonly atMs: number
      readonly catchment: number
      readonly pop: number
    }
  | {
      readonly kind: 'client'
      readonly atMs: number
      readonly client: number
      readonly pop: number
    }
  /** A connection whose SYN goes to one PoP and all that follows to another; the SYN's answer comes in between. */
  | {
      readonly kind: 'handshake'
      readonly atMs: number
      readonly client: number
      readonly pop: number
      readonly family: Family
      readonly answer: 'late' | 'lost'
    }
  /** From now on these clients' packets alternate between two PoPs. */
  | { readonly kind: 'split'; readonly atMs: number; readonly clients: readonly number[] }
  /** The PoP is no longer announced: its clients reach the others. */
  | { readonly kind: 'withdraw'; readonly atMs: number; readonly pop: number }
  /** It is again, and has its catchment back. */
  | { readonly kind: 'announce'; readonly atMs: number; readonly pop: number }

export interface NodePlace {
  readonly pop: number
  /** Among the PoP's nodes, from 0. */
  readonly node: number
}

export const BACKEND_CHANGES = ['reweight', 'add', 'drain', 'remove'] as const
export type BackendChange = (typeof BACKEND_CHANGES)[number]

/** What happens inside the PoPs. Nodes exist with Steadycast only. */
export type PopEvent =
  /** The PoP's router spreads the flows over its nodes in another way. */
  | { readonly kind: 'reshuffle'; readonly atMs: number; readonly pop: number }
  /** kill -9, and a new start. */
  | { readonly kind: 'crash'; readonly atMs: number; readonly nodes: readonly NodePlace[] }
  /** In order: the route first, then SIGTERM, and a new start. */
  | { readonly kind: 'restart'; readonly atMs: number; readonly nodes: readonly NodePlace[] }
  /** In the fleet file, in every PoP; `hup`: the running nodes are told, else each reads it when it starts. */
  | {
      readonly kind: 'backends'
      readonly atMs: number
      readonly change: BackendChange
      readonly hup: boolean
    }

export type LabEvent = RouteEvent | PopEvent

/** What is counted for itself: every change of backends is a kind of its own. */
export type Happening = Exclude<LabEvent['kind'], 'backends'> | BackendChange

export const happeningOf = (event: LabEvent): Happening =>
  event.kind === 'backends' ? event.change : event.kind

/** Whether a PoP without Steadycast has it too. */
export function isOfNodes(event: LabEvent): boolean {
  return event.kind === 'reshuffle' || event.kind === 'crash' || event.kind === 'restart'
}
