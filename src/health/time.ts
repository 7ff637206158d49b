// The clock, the timers and the chance that health goes by. Injected, so that tests run it in virtual time.

import { performance } from 'node:perf_hooks'

export interface Timers {
  /** Milliseconds since 1970, which never run backwards. */
  nowMs(): number
  /** Calls once, later; what it returns takes that back. */
  after(ms: number, call: () => void): () => void
}

/** 0 <= x < 1. */
export type Chance = () => number

export const REAL_TIME: Timers = {
  nowMs: () => performance.timeOrigin + performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms)
    return () => clearTimeout(timer)
  },
}
