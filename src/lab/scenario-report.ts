// What `lab --scenario` says at its end: the table, the JSON object, the exit code and the reasons for it. Pure: used by
// the command line. Guarantees that a scenario which touched no living connection does not pass.

import type { PhaseResult, ScenarioResult, ScenariosResult } from './messages.js'
import type { LabOptions } from './options.js'
import { brokenLines, jsonPhase } from './report.js'
import { SCENARIOS } from './scenarios.js'

const NOTHING = '-'

const COLUMNS = [
  '',
  'event',
  'connections',
  'in events',
  'broken, Steadycast',
  'broken, hash alone',
  'longest pause',
] as const
/** These two are words, the rest numbers. */
const LEFT_COLUMNS = 2

/** Connections of the two sides differ: a client whose connection broke tries again. */
export function tableLines({ scenarios }: ScenariosResult): string[] {
  const rows = scenarios.map(({ name, steadycast, hashAlone }) => {
    const { connections, touched, broken, longestPauseMs } = steadycast.tally
    return [
      rowsOf(name),
      name,
      `${connections}`,
      `${touched}`,
      `${broken}`,
      hashAlone === undefined
        ? NOTHING
        : `${hashAlone.tally.broken} of ${hashAlone.tally.connections}`,
      `${(longestPauseMs / 1000).toFixed(1)} s`,
    ]
  })
  const table = [[...COLUMNS], ...rows]
  const widths = COLUMNS.map((_, column) =>
    Math.max(...table.map((cells) => cells[column]?.length ?? 0)),
  )
  return table.map((cells) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return column < LEFT_COLUMNS ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

/** Why the exit code is not 0, besides connections that broke. */
export function unprovenLines({ scenarios }: ScenariosResult): string[] {
  return scenarios.flatMap((scenario) =>
    unproven(scenario).map((why) => `${scenario.name}: ${why}`),
  )
}

/** Which connections broke with Steadycast, and why: none should. */
export function brokenInScenarios({ scenarios }: ScenariosResult): string[] {
  return scenarios.flatMap(({ name, steadycast }) =>
    brokenLines(steadycast).map((line) => `${name}: ${line}`),
  )
}

export function exitCodeOfScenarios(result: ScenariosResult): 0 | 1 {
  const broken = result.scenarios.some(({ steadycast }) => steadycast.tally.broken > 0)
  return broken || result.scenarios.length === 0 || unprovenLines(result).length > 0 ? 1 : 0
}

export function jsonOfScenarios(
  { scenarios }: ScenariosResult,
  options: LabOptions,
  durationMs: number,
): object {
  const seconds = (ms: number): number => Math.round(ms / 100) / 10
  const phase = ({ happened, ...result }: PhaseResult): object => ({
    ...jsonPhase(result),
    in_events: result.tally.touched,
    longest_pause_ms: result.tally.longestPauseMs,
    events: happened,
  })
  const of = (count: (scenario: ScenarioResult) => number): number =>
    scenarios.reduce((sum, scenario) => sum + count(scenario), 0)
  return {
    scenarios: scenarios.map((scenario) => ({
      scenario: scenario.name,
      rows: rowsOf(scenario.name),
      ...phase(scenario.steadycast),
      hash_only: scenario.hashAlone === undefined ? null : phase(scenario.hashAlone),
      unproven: unproven(scenario),
      duration_s: seconds(scenario.durationMs),
    })),
    connections: of(({ steadycast }) => steadycast.tally.connections),
    broken: of(({ steadycast }) => steadycast.tally.broken),
    hash_only_broken: of(({ hashAlone }) => hashAlone?.tally.broken ?? 0),
    duration_s: seconds(durationMs),
    seed: options.seed,
    pops: options.pops,
    clients: options.clients,
  }
}

function unproven({ expected, steadycast, hashAlone }: ScenarioResult): string[] {
  const why: string[] = []
  for (const kind of expected) {
    const { events, connections } = steadycast.happened[kind] ?? { events: 0, connections: 0 }
    if (connections === 0) why.push(`${events} of ${kind}, and no living connection saw any`)
  }
  if (expected.includes('split') && steadycast.alternations === 0) {
    why.push('no packet alternated')
  }
  for (const backend of steadycast.unserved) {
    why.push(`no connection reached the new backend ${backend}`)
  }
  if (hashAlone?.tally.connections === 0) why.push('no connection with a hash alone')
  return why
}

const rowsOf = (name: string): string =>
  SCENARIOS.find((scenario) => scenario.name === name)?.rows ?? ''
