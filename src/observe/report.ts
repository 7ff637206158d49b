// What `observe` has seen, in words and as JSON. Pure. Guarantees: every count that has a limit says when the limit was met.

import type { ObservedCounts, RawObservation } from '../dataplane/observation.js'

/** SC_OBSERVE_FLOWS and SC_OBSERVE_PREFIXES of native/observe.h. */
const MAX_FLOWS = 262_144
const MAX_PREFIXES = 4096
const SHOWN_PREFIXES = 20

export interface ObservationSource {
  /** A device or a file. */
  readonly from: string
  readonly vips: readonly string[]
  readonly graceS: number
}

export interface Observation extends ObservationSource, Omit<RawObservation, 'errno'> {
  /** Of all connections whose beginning or middle was seen, those first seen in the middle. */
  readonly middleShare: number
  /** Of those that began, the stalled ones. */
  readonly stalledShare: number
}

const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

/** With prefixes in the order of what went wrong there. */
export function observationOf(raw: RawObservation, source: ObservationSource): Observation {
  const { errno: _, ...counts } = raw
  return {
    ...source,
    ...counts,
    middleShare: share(raw.middle, raw.middle + raw.begun),
    stalledShare: share(raw.stalled, raw.begun),
    prefixes: [...raw.prefixes].sort(
      (a, b) => trouble(b) - trouble(a) || b.begun - a.begun || (a.prefix < b.prefix ? -1 : 1),
    ),
  }
}

const trouble = ({ middle, stalled }: ObservedCounts): number => middle + stalled

export function percent(value: number): string {
  if (value === 0) return '0%'
  return value < 0.0001 ? 'under 0.01%' : `${(value * 100).toFixed(2)}%`
}

/** Lines without the last newline. */
export function observationText(of: Observation): string {
  const troubled = of.prefixes.filter((prefix) => trouble(prefix) > 0)
  const shown = troubled.slice(0, SHOWN_PREFIXES)
  const width = Math.max(6, ...shown.map(({ prefix }) => prefix.length))
  return [
    `${of.from}, ${of.vips.join(', ')}: ${of.packets} TCP packets in ${of.seconds.toFixed(1)} s, ${of.others} others`,
    '',
    `  ${of.begun} connections began`,
    `  ${of.middle} arrived in the middle (${percent(of.middleShare)} of those that began or arrived): their routes changed, or are split`,
    `    ${of.wentOn} of them went on sending, ${of.middle - of.wentOn} stopped within a second: reset, most likely, or strays`,
    `  ${of.stalled} stalled half open (${percent(of.stalledShare)} of those that began): the rest of the handshake went elsewhere, or nobody answered`,
    `    ${of.repeated} of them repeated their SYN`,
    '',
    `  not counted: ${of.before} first seen within ${of.graceS} s, which may have been open before; ${of.ending} first seen by their end; ${of.pending} handshakes still under way`,
    ...limits(of).map((line) => `  ${line}`),
    ...(shown.length === 0 ? [] : ['', ...table(shown, width)]),
    ...(troubled.length > shown.length ? [`  and ${troubled.length - shown.length} more`] : []),
  ].join('\n')
}

function table(
  rows: readonly (ObservedCounts & { readonly prefix: string })[],
  width: number,
): readonly string[] {
  const line = (...cells: readonly (string | number)[]) =>
    `  ${String(cells[0]).padEnd(width)}${cells
      .slice(1)
      .map((cell) => String(cell).padStart(11))
      .join('')}`
  return [
    line('prefix', 'began', 'in middle', 'went on', 'stalled'),
    ...rows.map(({ prefix, begun, middle, wentOn, stalled }) =>
      line(prefix, begun, middle, wentOn, stalled),
    ),
  ]
}

/** What there was no room for. */
export function limits(of: Observation): readonly string[] {
  return [
    ...(of.lost > 0 ? [`${of.lost} packets were lost before they could be read`] : []),
    ...(of.unfollowed > 0
      ? [
          `${of.unfollowed} packets are of connections beyond the ${MAX_FLOWS} that are followed at a time`,
        ]
      : []),
    ...(of.unplaced > 0
      ? [
          `${of.unplaced} connections are of prefixes beyond the ${MAX_PREFIXES} that are told apart`,
        ]
      : []),
  ]
}
