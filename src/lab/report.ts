// What the lab says: progress lines, the verdict of two lines, the JSON object, the exit code. Pure: used by phase.ts
// (progress), by the command line (the rest) and by scenario-report.ts.

import type { PhaseResult, PlainResult, Tally } from './messages.js'
import type { LabOptions } from './options.js'

export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}

export function progressLine(seconds: number, text: string): string {
  return `${seconds.toFixed(1).padStart(6)} s  ${text}`
}

export function tallyText(tally: Tally): string {
  return [
    plural(tally.connections, 'connection'),
    `${tally.alive} alive`,
    plural(tally.switches, 'PoP switch', 'PoP switches'),
    `${formatBytes(tally.bytes)} checked`,
    `${tally.broken} broken`,
  ].join(', ')
}

export function verdict({ steadycast, plainHashing }: PlainResult): readonly [string, string] {
  const s = steadycast.tally
  const p = plainHashing.tally
  const counts = (tally: Tally): string =>
    `${plural(tally.connections, 'connection')}, ${plural(tally.switches, 'PoP switch', 'PoP switches')}`
  return [
    `Steadycast: ${counts(s)}, ${formatBytes(s.bytes)} checked, ${s.broken} broken.`,
    `Plain hashing: ${counts(p)}, ${p.broken} broken.`,
  ]
}

/** Which connections broke with Steadycast, and why: none should. */
export function brokenLines({ tally }: PhaseResult): string[] {
  const { samples, broken } = tally
  const lines = samples.map(
    ({ client, activity, family, backend, reason }) =>
      `broken: client ${client}, IPv${family}, ${activity}, ${backend === '' ? 'no backend yet' : `backend ${backend}`}: ${reason}`,
  )
  if (broken > samples.length) lines.push(`broken: ${broken - samples.length} more`)
  return lines
}

export function jsonPhase({ tally, alternations }: Pick<PhaseResult, 'tally' | 'alternations'>) {
  const { connections, switches, bytes, broken, switched } = tally
  return { connections, switches, bytes, broken, alternations, switched }
}

export function jsonResult(result: PlainResult, options: LabOptions, durationMs: number): object {
  return {
    ...jsonPhase(result.steadycast),
    hash_only: jsonPhase(result.plainHashing),
    duration_s: Math.round(durationMs / 100) / 10,
    seed: options.seed,
    pops: options.pops,
    clients: options.clients,
  }
}

/** 0 only when nothing broke with Steadycast, and there was something to break. */
export function exitCodeOf({ steadycast, plainHashing }: PlainResult): 0 | 1 {
  const { broken, connections, switches } = steadycast.tally
  const proven = broken === 0 && connections > 0 && switches > 0
  return proven && plainHashing.tally.connections > 0 ? 0 : 1
}
