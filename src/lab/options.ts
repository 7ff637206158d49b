// What a user may ask of the lab, and every limit of it by name. Read by the command line, the outer and the inner
// process. Guarantees: an accepted LabOptions can be laid out (addresses suffice) and timed (each phase gets its time).

export interface LabOptions {
  /** Names; none: route changes of all kinds, as `npm start` shows them. */
  readonly scenarios: readonly string[]
  readonly pops: number
  readonly clients: number
  /** From the start of the command to its verdict; with scenarios, for each. */
  readonly seconds: number
  /** The same seed gives the same events and the same content. */
  readonly seed: number
  readonly keep: boolean
}

export interface Range {
  readonly min: number
  readonly max: number
  readonly default: number
}

export const POPS: Range = { min: 2, max: 8, default: 3 }
export const CLIENTS: Range = { min: 1, max: 500, default: 24 }
export const SECONDS: Range = { min: 8, max: 3600, default: 30 }
export const SCENARIO_CLIENTS_DEFAULT = 48
export const SCENARIO_SECONDS_DEFAULT = 20
export const SEED: Range = { min: 0, max: 0xffffffff, default: 0 }

/** A connection that moves no byte for this long, while all PoPs are reachable, is broken. */
export const STALL_LIMIT_MS = 10_000
/** From the first command to nodes and servers that answer. */
export const START_LIMIT_MS = 120_000
/** The traffic of one phase never gets less, however small --seconds is. */
export const MIN_PHASE_MS = 2_000
/** Of --seconds: what the ends of both phases and taking all down need. */
export const CLOSING_MS = 1_500

/** The integer, or a sentence that says what was expected. */
export function parseInRange(text: string, range: Range): number | string {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN
  if (Number.isInteger(value) && value >= range.min && value <= range.max) return value
  return `expected a whole number from ${range.min} to ${range.max}, got ${JSON.stringify(text)}`
}

/** A scenario's events take their time; what it needs beyond this it takes. */
export function scenarioPhaseMs({ seconds }: LabOptions): number {
  return Math.floor((seconds * 1000 - CLOSING_MS) / 2)
}

/** Both phases get the same time, because they replay the same events. */
export function phaseMs(options: LabOptions, elapsedMs: number): number {
  const left = options.seconds * 1000 - elapsedMs - CLOSING_MS
  return Math.max(MIN_PHASE_MS, Math.floor(left / 2))
}
