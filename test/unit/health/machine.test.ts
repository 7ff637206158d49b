// The state of one check, and the shares of a slow start.

import t from 'tap'
import { afterOutcome, type CheckStatus, unknownSince } from '../../../src/health/machine.js'
import { failed, type Outcome } from '../../../src/health/outcome.js'
import { SLOW_START_STEPS, shareAfter } from '../../../src/health/slow-start.js'

const GOOD: Outcome = { ok: true }
const BAD = failed('status', 'expected status 200, got 503')
const THRESHOLDS = { rise: 2, fall: 3 }

/** `+` a success, `-` a failure, one a second from 1000 on. */
function after(outcomes: string, before: CheckStatus = unknownSince(0), isNew = false) {
  return [...outcomes].reduce((status, sign, at) => {
    return afterOutcome(status, sign === '+' ? GOOD : BAD, THRESHOLDS, 5, 1000 * (at + 1), isNew)
  }, before)
}

t.test('the first outcome decides at once', async (t) => {
  t.match(after('+'), { state: 'up', sinceMs: 1000, recoveredMs: undefined, why: undefined })
  t.match(after('-'), { state: 'down', sinceMs: 1000, why: 'expected status 200, got 503' })
})

t.test(
  'a state changes after rise successes or fall failures in a row, never before',
  async (t) => {
    for (const [outcomes, state, sinceMs] of [
      ['+--', 'up', 1000],
      ['+---', 'down', 4000],
      ['+--+--', 'up', 1000],
      ['+--+---', 'down', 7000],
      ['-+', 'down', 1000],
      ['-++', 'up', 3000],
      ['-+-+-+-', 'down', 1000],
      ['+---++', 'up', 6000],
    ] as const) {
      t.match(after(outcomes), { state, sinceMs }, outcomes)
    }
  },
)

t.test('a slow start counts from a recovery, not from the start of the node', async (t) => {
  t.equal(after('+').recoveredMs, undefined)
  t.equal(after('-++').recoveredMs, 3000)
  t.equal(after('-+++++').recoveredMs, 3000)
  t.equal(after('+', unknownSince(0), true).recoveredMs, 1000, 'a backend that is new')
  t.equal(after('-++---').recoveredMs, undefined)
})

t.test('the last outcome is told, whatever the state', async (t) => {
  t.match(after('+-'), {
    state: 'up',
    why: 'expected status 200, got 503',
    lastMs: 2000,
    durationMs: 5,
  })
  t.equal(after('-+').why, undefined)
})

t.test('a share grows in equal steps from the first to the whole', async (t) => {
  const shares = Array.from({ length: 31 }, (_, second) => shareAfter(second * 1000, 30_000))
  t.equal(shares[0], 1 / SLOW_START_STEPS)
  t.equal(shares[2], 0.1)
  t.equal(shares[3], 0.2)
  t.equal(shares[29], 1)
  t.equal(shares[30], 1)
  t.same(
    shares,
    [...shares].sort((a, b) => a - b),
  )
  t.equal(new Set(shares).size, SLOW_START_STEPS)
  t.equal(shareAfter(0, 0), 1, 'turned off')
  t.equal(shareAfter(Number.POSITIVE_INFINITY, 1000), 1)
})
