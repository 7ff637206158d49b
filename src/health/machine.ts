// The state of one check: what a row of outcomes makes of it. Called by checker.ts and probe.ts. Guarantees: pure; a
// state changes after `rise` successes or `fall` failures in a row, but for the first outcome of all, which decides.

import type { Outcome } from './outcome.js'
import type { CheckState } from './report.js'

export interface CheckStatus {
  readonly state: CheckState
  /** When the state began. */
  readonly sinceMs: number
  /** Outcomes in a row that speak against the state. */
  readonly against: number
  /** When it came up after having been down, or as a backend that is new here: what a slow start counts from. */
  readonly recoveredMs: number | undefined
  readonly why: string | undefined
  readonly lastMs: number | undefined
  readonly durationMs: number | undefined
}

export interface Thresholds {
  readonly rise: number
  readonly fall: number
}

export function unknownSince(sinceMs: number): CheckStatus {
  return {
    state: 'unknown',
    sinceMs,
    against: 0,
    recoveredMs: undefined,
    why: undefined,
    lastMs: undefined,
    durationMs: undefined,
  }
}

/** `isNew`: the backend came while this node was running. */
export function afterOutcome(
  before: CheckStatus,
  outcome: Outcome,
  { rise, fall }: Thresholds,
  durationMs: number,
  nowMs: number,
  isNew = false,
): CheckStatus {
  const why = outcome.ok ? undefined : outcome.why
  const seen = { ...before, why, lastMs: nowMs, durationMs }
  const says = outcome.ok ? 'up' : 'down'
  if (says === before.state) return { ...seen, against: 0 }
  const against = before.against + 1
  const needed = before.state === 'unknown' ? 1 : outcome.ok ? rise : fall
  if (against < needed) return { ...seen, against }
  const recovered = outcome.ok && (before.state === 'down' || isNew)
  return {
    ...seen,
    state: says,
    sinceMs: nowMs,
    against: 0,
    recoveredMs: recovered ? nowMs : undefined,
  }
}
