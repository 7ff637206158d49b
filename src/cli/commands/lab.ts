// The verb `lab`, which `npm start` runs: real TCP connections through PoP switches and all other events of anycast, with
// Steadycast and with plain hashing. Owns what is printed where and the exit code; src/lab does the rest.

import { randomInt } from 'node:crypto'
import { type Command, InvalidArgumentError } from 'commander'
import { LabFailure } from '../../lab/failure.js'
import type { LabResult } from '../../lab/messages.js'
import {
  CLIENTS,
  type LabOptions,
  POPS,
  parseInRange,
  type Range,
  SCENARIO_CLIENTS_DEFAULT,
  SCENARIO_SECONDS_DEFAULT,
  SECONDS,
  SEED,
} from '../../lab/options.js'
import { runLab } from '../../lab/outer.js'
import { brokenLines, exitCodeOf, jsonResult, verdict } from '../../lab/report.js'
import {
  brokenInScenarios,
  exitCodeOfScenarios,
  jsonOfScenarios,
  tableLines,
  unprovenLines,
} from '../../lab/scenario-report.js'
import { scenarioLines, scenariosNamed } from '../../lab/scenarios.js'
import { frame } from '../../lab/view.js'
import { openScreen } from '../../terminal/screen.js'

interface Options {
  readonly scenario?: readonly string[] | 'list'
  readonly pops: number
  readonly clients?: number
  readonly seconds?: number
  readonly seed?: number
  readonly json?: true
  readonly keep?: true
}

const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const

export function register(program: Command): void {
  const range = ({ min, max }: Range): string => `${min} to ${max}`
  program
    .command('lab')
    .description(
      'a small Internet on this machine: connections live through PoP switches, or die of plain hashing',
    )
    .option(
      '--scenario <name>',
      'what happens to the connections: one scenario by name or number, all, or list for these',
      scenario,
    )
    .option('--pops <n>', `PoPs, ${range(POPS)}`, within(POPS), POPS.default)
    .option(
      '--clients <n>',
      `clients, ${range(CLIENTS)} (default: ${CLIENTS.default}, with scenarios ${SCENARIO_CLIENTS_DEFAULT})`,
      within(CLIENTS),
    )
    .option(
      '--seconds <n>',
      `how long all of it takes, or each scenario, from ${SECONDS.min} (default: ${SECONDS.default}, each scenario ${SCENARIO_SECONDS_DEFAULT})`,
      within(SECONDS),
    )
    .option('--seed <n>', 'play the same events again', within(SEED))
    .option('--json', 'print one JSON object; progress goes to stderr')
    .option('--keep', 'leave it running afterwards, until Ctrl-C')
    .action(async (options: Options) => {
      process.exitCode = options.scenario === 'list' ? list() : await lab(options)
    })
}

function within(range: Range): (text: string) => number {
  return (text) => {
    const value = parseInRange(text, range)
    if (typeof value === 'string') throw new InvalidArgumentError(value)
    return value
  }
}

function scenario(text: string): readonly string[] | 'list' {
  if (text === 'list') return 'list'
  const found = scenariosNamed(text)
  if (typeof found === 'string') throw new InvalidArgumentError(found)
  return found.map(({ name }) => name)
}

function list(): number {
  for (const line of scenarioLines()) process.stdout.write(`${line}\n`)
  return 0
}

function optionsOf({ scenario, pops, clients, seconds, seed, keep }: Options): LabOptions {
  const scenarios = scenario === undefined || scenario === 'list' ? [] : scenario
  const plain = scenarios.length === 0
  return {
    scenarios,
    pops,
    clients: clients ?? (plain ? CLIENTS.default : SCENARIO_CLIENTS_DEFAULT),
    seconds: seconds ?? (plain ? SECONDS.default : SCENARIO_SECONDS_DEFAULT),
    seed: seed ?? randomInt(SEED.max + 1),
    keep: keep === true,
  }
}

async function lab(given: Options): Promise<number> {
  const startedAt = Date.now()
  const options = optionsOf(given)
  const { json } = given
  const screen = openScreen(json ? process.stderr : process.stdout, frame)
  const say = (line: string): void => screen.line(line)
  const onResult = (result: LabResult): void => {
    screen.close()
    const { broken, object, text } = reportOf(result, options, Date.now() - startedAt)
    for (const line of broken) say(line)
    if (json) process.stdout.write(`${JSON.stringify(object)}\n`)
    else for (const line of text) say(line)
  }

  const stop = new AbortController()
  let ending = 0
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      ending ||= 128 + number
      stop.abort()
    })
  }
  const hooks = {
    onProgress: (line: string, of: 'event' | 'tally') => screen.line(line, of),
    ...(screen.show && { onState: screen.show }),
    onResult,
    onOpen: sayDoors(say),
    signal: stop.signal,
  }
  const result = await runLab(options, hooks)
    .catch((error: unknown) => {
      screen.close()
      if (error instanceof LabFailure) {
        for (const line of error.log) process.stderr.write(`${line}\n`)
      }
      throw error
    })
    .finally(() => screen.close())
  if (result !== undefined) {
    return result.kind === 'plain' ? exitCodeOf(result) : exitCodeOfScenarios(result)
  }
  process.stderr.write('steadycast: the lab was stopped; nothing of it is left\n')
  return ending
}

interface Report {
  /** What should not have been; the verdict follows. */
  readonly broken: readonly string[]
  readonly object: object
  readonly text: readonly string[]
}

function reportOf(result: LabResult, options: LabOptions, durationMs: number): Report {
  if (result.kind === 'plain') {
    return {
      broken: brokenLines(result.steadycast),
      object: jsonResult(result, options, durationMs),
      text: verdict(result),
    }
  }
  return {
    broken: [...brokenInScenarios(result), ...unprovenLines(result)],
    object: jsonOfScenarios(result, options, durationMs),
    text: tableLines(result),
  }
}

function sayDoors(say: (line: string) => void) {
  return (doors: readonly { readonly name: string; readonly url: string }[]): void => {
    for (const { name, url } of doors) {
      if (name === 'VIP') say(`A backend behind the VIP: curl ${url}`)
      else say(`Metrics of ${name}: curl ${url}metrics`)
    }
    say('The lab goes on until Ctrl-C.')
  }
}
