// Waits until nothing is left of a drain, and says every second what is. Called by the verb `drain`. Guarantees: it is over
// only after everything has been nothing for a while, by counts that began after the words were said; a node that does not
// answer is never taken for one without flows, and what somebody else has taken back is never called drained.

import type { Ask } from '../admin/client.js'
import { type Left, leftOf, type Reading, takenBackAt } from './left.js'
import type { Order, Target } from './targets.js'
import { askStatuses, type DoorOf } from './tell.js'

export const POLL_MS = 1000
/** Nothing has come from routers for so long: what was on its way has arrived. */
export const QUIET_MS = 10_000
/** Nothing is left for so long: flows change their owner node within it. */
export const SETTLED_MS = 3000
/** Rates are over so long. */
const RATE_WINDOW_MS = 5000

export interface Clock {
  nowMs(): number
  sleep(ms: number): Promise<void>
}

export interface Progress {
  readonly left: Left
  readonly elapsedMs: number
  readonly packetsPerS: number
  readonly forwardedPerS: number
  readonly ingressPerS: number
  /** What is still waited for, in words; none: nothing. */
  readonly waitsFor: readonly string[]
}

export type Outcome =
  | { readonly kind: 'done' | 'timeout' | 'interrupted'; readonly last: Progress }
  /** The words are not in force any more; by which nodes. */
  | { readonly kind: 'taken back'; readonly last: Progress; readonly nodes: readonly string[] }

export interface WaitOptions {
  readonly target: Target
  readonly orders: readonly Order[]
  readonly ask: Ask
  readonly doorOf: DoorOf
  readonly clock: Clock
  /** Undefined: as long as it takes. */
  readonly timeoutMs: number | undefined
  readonly interrupted: () => boolean
  readonly show: (progress: Progress) => void
}

interface Sample {
  readonly atMs: number
  readonly left: Left
  readonly takenBack: readonly string[]
}

export async function waitUntilNothingIsLeft(options: WaitOptions): Promise<Outcome> {
  const { clock, timeoutMs, interrupted } = options
  const saidMs = clock.nowMs()
  const samples: Sample[] = []
  let nothingSinceMs: number | undefined
  for (;;) {
    const begunMs = clock.nowMs()
    const { left, takenBack } = await look(options)
    const atMs = clock.nowMs()
    samples.push({ atMs, left, takenBack })
    while (samples.length > 1 && (samples[1]?.atMs ?? atMs) <= atMs - QUIET_MS) samples.shift()
    const waitsFor = reasonsToWait(samples, saidMs)
    if (waitsFor.length > 0) nothingSinceMs = undefined
    else nothingSinceMs ??= atMs
    const last = { left, elapsedMs: atMs - saidMs, waitsFor, ...ratesOf(samples) }
    options.show(last)
    // A status may be a little older than the words that it is to show.
    const before = samples.at(-2)?.takenBack ?? []
    const nodes = takenBack.filter((name) => before.includes(name))
    if (nodes.length > 0) return { kind: 'taken back', last, nodes }
    if (nothingSinceMs !== undefined && hasSettled(left, nothingSinceMs, atMs)) {
      return { kind: 'done', last }
    }
    if (interrupted()) return { kind: 'interrupted', last }
    if (timeoutMs !== undefined && atMs - saidMs >= timeoutMs) return { kind: 'timeout', last }
    await clock.sleep(Math.max(0, POLL_MS - (clock.nowMs() - begunMs)))
    if (interrupted()) return { kind: 'interrupted', last }
  }
}

/** What was counted then was counted from then on. */
function hasSettled({ countedFromMs = 0 }: Left, sinceMs: number, atMs: number): boolean {
  return atMs - sinceMs >= SETTLED_MS && countedFromMs >= sinceMs
}

async function look({ target, orders, ask, doorOf, clock }: WaitOptions) {
  const { statuses, failures } = await askStatuses(
    orders.map(({ node }) => node),
    ask,
    doorOf,
  )
  const atMs = clock.nowMs()
  const readings = new Map<string, Reading>()
  for (const [name, status] of statuses) readings.set(name, { ok: true, status, atMs })
  for (const { node, why } of failures) readings.set(node, { ok: false, why })
  return { left: leftOf(target, readings), takenBack: takenBackAt(orders, readings) }
}

function reasonsToWait(samples: readonly Sample[], saidMs: number): readonly string[] {
  const last = samples.at(-1)
  if (last === undefined) return []
  const { left, atMs } = last
  const reasons: string[] = []
  if (left.unknown.length > 0) reasons.push(`an answer (${left.unknown.join('; ')})`)
  if (left.countedFromMs === undefined || left.countedFromMs < saidMs) {
    reasons.push('a count of the flows')
  } else if (left.flows > 0) reasons.push('flows')
  if (left.announced.length > 0) reasons.push(left.announced.join(', '))
  reasons.push(...left.untaken)
  if (left.ingress !== undefined && !isQuiet(samples, atMs, left.ingress)) {
    reasons.push(
      left.byHand
        ? 'routers to send nothing here: withdraw the prefixes'
        : 'routers to send nothing here',
    )
  }
  return reasons
}

/** Samples reach back to QUIET_MS and no further, once there are as many. */
function isQuiet(samples: readonly Sample[], atMs: number, ingress: number): boolean {
  const [first] = samples
  if (first === undefined || atMs - first.atMs < QUIET_MS) return false
  return first.left.ingress === ingress
}

function ratesOf(samples: readonly Sample[]) {
  const last = samples.at(-1)
  const first = samples.find(({ atMs }) => atMs >= (last?.atMs ?? 0) - RATE_WINDOW_MS)
  const of = (count: (left: Left) => number): number => {
    if (last === undefined || first === undefined || last.atMs <= first.atMs) return 0
    const grown = count(last.left) - count(first.left)
    return Math.max(0, (1000 * grown) / (last.atMs - first.atMs))
  }
  return {
    packetsPerS: of(({ packets }) => packets),
    forwardedPerS: of(({ forwarded }) => forwarded),
    ingressPerS: of(({ ingress }) => ingress ?? 0),
  }
}
