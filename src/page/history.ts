// What the page remembers of the last ten minutes. Called by main.ts for every status that it gets. Pure. Guarantees: rates
// are means of RATE_WINDOW_MS at least; where the node was not heard, or began anew, nothing is made up.

import type { StatusDocument } from '../status/model.js'
import { type NodeRates, ratesBetween } from '../status/rates.js'

export const RATE_WINDOW_MS = 5000
export const HISTORY_MS = 10 * 60_000
/** Between two readings: beyond, nothing is known of what was between them. */
export const GAP_MS = 4000

type Outcome = keyof StatusDocument['packets']['misrouted']
export const OUTCOMES = [
  'cached',
  'home',
  'relayed',
  'silent',
  'certain_no',
] as const satisfies readonly Outcome[]

export interface View {
  readonly status: StatusDocument
  readonly rates: NodeRates
  /** Packets a second. */
  readonly misrouted: Readonly<Record<Outcome, number>>
  readonly relayed_per_s: number
  readonly spilled_per_s: number
}

export interface Point {
  readonly atMs: number
  /** Of the packets from routers, 0 to 1. */
  readonly share: number
  /** Nothing is known of the time between this one and the one before. */
  readonly first: boolean
}

interface Reading {
  readonly atMs: number
  readonly status: StatusDocument
}

export class History {
  #readings: Reading[] = []
  #points: Point[] = []

  get points(): readonly Point[] {
    return this.#points
  }

  /** `atMs`: of a clock that never runs backwards. */
  add(status: StatusDocument, atMs: number): View {
    const last = this.#readings.at(-1)
    const anew = last === undefined || status.uptime_s < last.status.uptime_s
    const broken = anew || atMs - last.atMs > GAP_MS
    if (broken) this.#readings = []
    // One that is as old as the window, or nearly, stays to count from.
    const later = this.#readings.findLastIndex((one) => one.atMs <= atMs - RATE_WINDOW_MS)
    this.#readings = [...this.#readings.slice(Math.max(0, later)), { atMs, status }]
    const [from] = this.#readings as [Reading, ...Reading[]]
    const before = from.atMs === atMs ? undefined : from
    const view = viewBetween(before, { atMs, status })
    if (before !== undefined) {
      const first = this.#readings.length === 2
      this.#points.push({ atMs, share: view.rates.misrouted_share, first })
    }
    const kept = this.#points.findIndex((point) => point.atMs >= atMs - HISTORY_MS)
    this.#points = kept < 0 ? [] : this.#points.slice(kept)
    return view
  }
}

function viewBetween(before: Reading | undefined, after: Reading): View {
  const seconds = before === undefined ? 1 : (after.atMs - before.atMs) / 1000
  const was = before?.status.packets
  const now = after.status.packets
  const rate = (from: number | undefined, to: number) =>
    from === undefined ? 0 : Math.max(0, to - from) / seconds
  const misrouted = Object.fromEntries(
    OUTCOMES.map((outcome) => [outcome, rate(was?.misrouted[outcome], now.misrouted[outcome])]),
  ) as Record<Outcome, number>
  return {
    status: after.status,
    rates: ratesBetween(before?.status, after.status, seconds),
    misrouted,
    relayed_per_s: rate(was?.relayed, now.relayed),
    spilled_per_s: rate(was?.spilled, now.spilled),
  }
}
