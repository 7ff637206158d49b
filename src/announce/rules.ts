// Whether a prefix is announced, de-preferred or withdrawn. Called by announcer.ts. Guarantees: pure; time comes in, a
// state and the moment of the next look come out. docs/announcing.md tells operators the same rules in the same order.

import type { AnnouncedPrefix } from '../fleet/announce.js'
import type { AnnounceInputs, AnnouncementState, PrefixReport } from './report.js'

export interface Timing {
  readonly dePreferredMs: number
  readonly holdDownMs: number
  readonly maxHoldDownMs: number
}

/** What one look at a prefix leaves for the next. */
export interface PrefixMemory {
  readonly state: AnnouncementState
  readonly sinceMs: number
  /** The node drains since then. */
  readonly drainingSinceMs: number | undefined
  /** Of withdrawals that nobody asked for, one soon after the other. */
  readonly flaps: number
  /** Not before then. */
  readonly heldUntilMs: number
  /** When it last came back. */
  readonly upSinceMs: number
}

export interface Look {
  readonly memory: PrefixMemory
  readonly report: PrefixReport
  /** When time alone changes something. */
  readonly nextMs: number | undefined
}

export const FRESH: PrefixMemory = {
  state: 'withdrawn',
  sinceMs: 0,
  drainingSinceMs: undefined,
  flaps: 0,
  heldUntilMs: 0,
  upSinceMs: 0,
}

/** Of a process that has died: what was announced then went, and nobody had asked for that. */
export function afterDeath(before: PrefixMemory, timing: Timing, nowMs: number): PrefixMemory {
  return {
    ...heldAfter(withinLongest(before, timing, nowMs), 'withdrawn', true, timing, nowMs),
    state: 'withdrawn',
    sinceMs: nowMs,
    drainingSinceMs: before.drainingSinceMs,
  }
}

/** What would be, were it not for hold-down. */
interface Verdict {
  readonly state: AnnouncementState
  readonly wanted: AnnouncementState
  readonly why: string
  readonly lastAnnouncer: boolean
  /** A withdrawal for this reason begins a hold-down. */
  readonly isFault: boolean
  readonly nextMs?: number
}

export function look(
  prefix: AnnouncedPrefix,
  timing: Timing,
  inputs: AnnounceInputs,
  remembered: PrefixMemory,
  nowMs: number,
): Look {
  const before = withinLongest(remembered, timing, nowMs)
  const drainingSinceMs = inputs.node === 'draining' ? (before.drainingSinceMs ?? nowMs) : undefined
  const isUp = before.state !== 'withdrawn'
  const verdict = judge(prefix, timing, inputs, { isUp, drainingSinceMs }, nowMs)
  const holding = before.state === 'withdrawn' && nowMs < before.heldUntilMs
  const held = holding && verdict.state !== 'withdrawn' && othersAnnounce(prefix, inputs)
  const state = held ? 'withdrawn' : verdict.state
  const changed = state !== before.state
  const memory: PrefixMemory = {
    state,
    sinceMs: changed || before.sinceMs === 0 ? nowMs : before.sinceMs,
    drainingSinceMs,
    ...heldAfter(before, state, verdict.isFault, timing, nowMs),
  }
  const nextMs = held ? before.heldUntilMs : verdict.nextMs
  const report: PrefixReport = {
    prefix: prefix.prefix,
    state,
    wanted: verdict.wanted,
    why: held ? heldBecause(before, verdict, nowMs) : verdict.why,
    sinceMs: memory.sinceMs,
    lastAnnouncer: verdict.lastAnnouncer && state !== 'withdrawn',
  }
  return { memory, report, nextMs }
}

function judge(
  prefix: AnnouncedPrefix,
  timing: Timing,
  inputs: AnnounceInputs,
  {
    isUp,
    drainingSinceMs,
  }: { readonly isUp: boolean; readonly drainingSinceMs: number | undefined },
  nowMs: number,
): Verdict {
  const health = judgeHealth(prefix, inputs, isUp)
  const calm = { lastAnnouncer: false, isFault: false }
  if (inputs.node === 'maintenance') {
    const why = 'the operator has this node in maintenance'
    return { ...calm, state: 'withdrawn', wanted: 'withdrawn', why }
  }
  if (health.state === 'withdrawn' || drainingSinceMs === undefined) return health
  const untilMs = drainingSinceMs + timing.dePreferredMs
  const why = 'the operator drains this node'
  if (nowMs >= untilMs) {
    return { ...calm, state: 'withdrawn', wanted: 'withdrawn', why }
  }
  const { lastAnnouncer } = health
  const wanted = health.wanted === 'withdrawn' ? 'withdrawn' : 'de-preferred'
  return { ...calm, lastAnnouncer, state: 'de-preferred', wanted, why, nextMs: untilMs }
}

function judgeHealth(prefix: AnnouncedPrefix, inputs: AnnounceInputs, isUp: boolean): Verdict {
  const { able, served } = inputs
  const withdrawn = { state: 'withdrawn', wanted: 'withdrawn', lastAnnouncer: false } as const
  if (!able.ok) return { ...withdrawn, why: able.why, isFault: true }
  if (holds(prefix, (name) => served.get(name) === true)) {
    const why = `${prefix.upWhen === 'any' ? 'a service' : 'every service'} that it stays up for is served`
    return { state: 'announced', wanted: 'announced', lastAnnouncer: false, isFault: false, why }
  }
  const unknown = prefix.services.filter((name) => !served.has(name))
  // What is not known yet may still come out well: until then all stays as it is, and is nobody's duty.
  if (holds(prefix, (name) => served.get(name) !== false)) {
    const state = isUp ? 'announced' : 'withdrawn'
    const why = `whether these are served is not known yet: ${named(unknown)}`
    return { state, wanted: state, why, isFault: false, lastAnnouncer: false }
  }
  const down = prefix.services.filter((name) => served.get(name) === false)
  const reason = `no PoP that new connections reach from here serves ${named(down)}`
  if (othersAnnounce(prefix, inputs)) return { ...withdrawn, why: reason, isFault: true }
  const alone = inputs.alone === true
  return {
    state: alone ? 'de-preferred' : 'announced',
    wanted: 'withdrawn',
    why: alone
      ? `${reason}, and what others do is not known: it stays, de-preferred, in case none is left`
      : `${reason}, and no other PoP would announce it: it stays, because a check may be wrong`,
    lastAnnouncer: true,
    isFault: false,
  }
}

function holds(
  { upWhen, services }: AnnouncedPrefix,
  isServed: (service: string) => boolean,
): boolean {
  return upWhen === 'any' ? services.some(isServed) : services.every(isServed)
}

/** A PoP that serves one of the services spills those of the others to the PoPs that serve them. */
function othersAnnounce(prefix: AnnouncedPrefix, { elsewhere }: AnnounceInputs): boolean {
  return holds(prefix, (name) => (elsewhere.get(name)?.length ?? 0) > 0)
}

/** A clock that was set back must not hold a prefix down for as long. */
function withinLongest(memory: PrefixMemory, timing: Timing, nowMs: number): PrefixMemory {
  const heldUntilMs = Math.min(memory.heldUntilMs, nowMs + timing.maxHoldDownMs)
  return { ...memory, heldUntilMs }
}

type Held = Pick<PrefixMemory, 'flaps' | 'heldUntilMs' | 'upSinceMs'>

/** Each withdrawal soon after a return doubles the time away, up to the longest; as long a time up forgives all. */
function heldAfter(
  before: PrefixMemory,
  state: AnnouncementState,
  isFault: boolean,
  { holdDownMs, maxHoldDownMs }: Timing,
  nowMs: number,
): Held {
  const { flaps, heldUntilMs, upSinceMs } = before
  const wasUp = before.state !== 'withdrawn'
  if (!wasUp && state !== 'withdrawn') return { flaps, heldUntilMs, upSinceMs: nowMs }
  if (!wasUp || state !== 'withdrawn' || !isFault) return { flaps, heldUntilMs, upSinceMs }
  const again = nowMs - upSinceMs < maxHoldDownMs ? flaps + 1 : 1
  const awayMs = Math.min(holdDownMs * 2 ** Math.min(again - 1, 32), maxHoldDownMs)
  return { flaps: again, heldUntilMs: nowMs + awayMs, upSinceMs }
}

function heldBecause(before: PrefixMemory, { why }: Verdict, nowMs: number): string {
  const s = Math.ceil((before.heldUntilMs - nowMs) / 1000)
  const times = before.flaps > 1 ? ` after ${before.flaps} withdrawals in a row` : ''
  return `held down for ${s} s more${times}; ${why}`
}

function named(services: readonly string[]): string {
  const shown = services.slice(0, 8).join(', ')
  return services.length > 8 ? `${shown} and ${services.length - 8} more` : shown
}
