// How much of its share a backend takes that has come back. Called by choose.ts. Guarantees: pure; grows in
// SLOW_START_STEPS equal steps from the first, never 0, to 1.

export const SLOW_START_STEPS = 10

export function shareAfter(elapsedMs: number, slowStartMs: number): number {
  if (slowStartMs === 0 || elapsedMs >= slowStartMs) return 1
  const step = Math.floor((Math.max(elapsedMs, 0) * SLOW_START_STEPS) / slowStartMs) + 1
  return Math.min(step, SLOW_START_STEPS) / SLOW_START_STEPS
}
