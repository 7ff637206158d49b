// The progress of a drain as text: one line, or a frame for a terminal. Pure.

import { OLDEST_MAX_S } from '../dataplane/generation.js'
import { type Size, textOf } from '../terminal/line.js'
import { durationWords, per } from '../terminal/table.js'
import type { Progress } from './wait.js'

export function progressLine({ left, packetsPerS, forwardedPerS, ingressPerS }: Progress): string {
  return [
    flowsText(left),
    `${per(packetsPerS)} packets/s to them`,
    `${per(forwardedPerS)}/s of other PoPs' packets`,
    ...(left.ingress === undefined ? [] : [`${per(ingressPerS)}/s from routers`]),
    ...left.announced,
    ...left.unknown,
  ].join(', ')
}

function flowsText({ flows, active, oldestS }: Progress['left']): string {
  if (flows === 0) return '0 flows left'
  const oldest = oldestS >= OLDEST_MAX_S ? 'more than 17 min' : durationWords(oldestS)
  return `${flows} ${flows === 1 ? 'flow' : 'flows'} left (${active} active, the oldest ${oldest})`
}

export function drainFrame(
  { what, progress }: { readonly what: string; readonly progress: Progress },
  { columns }: Size,
  colour: boolean,
): string[] {
  const waits =
    progress.waitsFor.length === 0 ? 'nothing is left' : `waits for ${progress.waitsFor.join(', ')}`
  return [
    textOf(
      [
        { text: `Draining ${what}`, style: 'bold' },
        { text: `  ${durationWords(progress.elapsedMs / 1000)}  ` },
        { text: waits, style: progress.waitsFor.length === 0 ? 'green' : 'yellow' },
      ],
      columns,
      colour,
    ),
    textOf([{ text: progressLine(progress) }], columns, colour),
  ]
}

/** For programs. */
export function progressJson({ left, elapsedMs, waitsFor, ...rates }: Progress): object {
  return {
    elapsed_ms: Math.round(elapsedMs),
    flows: left.flows,
    active_flows: left.active,
    oldest_s: left.oldestS,
    packets_per_s: rates.packetsPerS,
    forwarded_per_s: rates.forwardedPerS,
    ingress_per_s: left.ingress === undefined ? null : rates.ingressPerS,
    announced: left.announced,
    routing_daemon: left.untaken,
    unreachable: left.unknown,
    waits_for: waitsFor,
  }
}
