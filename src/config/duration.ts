// Durations as an operator writes them: a whole number with ms, s, m or h. Called by shape.ts.
// Guarantees: never rounds down, so that a timeout is never shorter than what was asked for.

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** Milliseconds, or undefined for what is no duration. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d{1,12})(ms|s|m|h)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]
}

/** Seconds, rounded up. */
export function durationS(text: string): number | undefined {
  const ms = durationMs(text)
  return ms === undefined ? undefined : Math.ceil(ms / 1000)
}

/** `3h`, `65s`: the shortest exact spelling. */
export function durationText(seconds: number): string {
  if (seconds > 0 && seconds % 3600 === 0) return `${seconds / 3600}h`
  if (seconds > 0 && seconds % 60 === 0) return `${seconds / 60}m`
  return `${seconds}s`
}
