// What is announced and why, for metrics, status and alerts; and what the decision is made from. Made by announcer.ts; its
// inputs are given by the verb `run`.

import type { Word } from '../operator/words.js'

export type AnnouncementState = 'announced' | 'de-preferred' | 'withdrawn'

export const ANNOUNCEMENT_STATES: readonly AnnouncementState[] = [
  'announced',
  'de-preferred',
  'withdrawn',
]

export interface PrefixReport {
  readonly prefix: string
  /** What the routing daemon is told; `done` of the report says whether it has taken it. */
  readonly state: AnnouncementState
  /** What would be, were it not for damping, hold-down or the last announcer's duty. */
  readonly wanted: AnnouncementState
  /** One sentence. */
  readonly why: string
  readonly sinceMs: number
  /** It stays only because no other PoP would be left. */
  readonly lastAnnouncer: boolean
}

export interface AnnounceReport {
  readonly prefixes: readonly PrefixReport[]
  /** Of the routing daemon: undefined when it does as told; one sentence otherwise. */
  readonly trouble: string | undefined
  /** The routing daemon has taken the states of all prefixes. */
  readonly done: boolean
}

export interface AnnounceInputs {
  readonly node: Word
  /** This node has filled and its worker runs, and its own probes through the VIP succeed. */
  readonly able: { readonly ok: true } | { readonly ok: false; readonly why: string }
  /** By service name: this PoP, or one that it spills to, serves it. Absent: not known yet. */
  readonly served: ReadonlyMap<string, boolean>
  /** By service name: names of other PoPs that serve it themselves and announce, heard lately, not draining. */
  readonly elsewhere: ReadonlyMap<string, readonly string[]>
  /** There are other PoPs, and none of them says what it does: they may be well, or gone; or this node's own path fails, and another node of its PoP may be well. */
  readonly alone?: boolean
}
