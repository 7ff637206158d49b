// The verb `lab`, which `npm start` runs: real TCP connections through PoP switches, with Steadycast and with plain
// hashing. Owns what is printed where and the exit code; src/lab does the rest.

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
  SECONDS,
  SEED,
} from '../../lab/options.js'
import { runLab } from '../../lab/outer.js'
import { brokenLines, exitCodeOf, jsonResult, verdict } from '../../lab/report.js'

interface Options {
  readonly pops: number
  readonly clients: number
  readonly seconds: number
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
    .option('--pops <n>', `PoPs, ${range(POPS)}`, within(POPS), POPS.default)
    .option('--clients <n>', `clients, ${range(CLIENTS)}`, within(CLIENTS), CLIENTS.default)
    .option(
      '--seconds <n>',
      `how long all of it takes, from ${SECONDS.min}`,
      within(SECONDS),
      SECONDS.default,
    )
    .option('--seed <n>', 'play the same events again', within(SEED))
    .option('--json', 'print one JSON object; progress goes to stderr')
    .option('--keep', 'leave it running afterwards, until Ctrl-C')
    .action(async (options: Options) => {
      process.exitCode = await lab(options)
    })
}

function within(range: Range): (text: string) => number {
  return (text) => {
    const value = parseInRange(text, range)
    if (typeof value === 'string') throw new InvalidArgumentError(value)
    return value
  }
}

async function lab({ seed, json, keep, ...numbers }: Options): Promise<number> {
  const startedAt = Date.now()
  const options: LabOptions = {
    ...numbers,
    seed: seed ?? randomInt(SEED.max + 1),
    keep: keep === true,
  }
  const progress = json ? process.stderr : process.stdout
  const say = (line: string): void => void progress.write(`${line}\n`)
  const onResult = (result: LabResult): void => {
    for (const line of brokenLines(result)) say(line)
    if (json) {
      process.stdout.write(
        `${JSON.stringify(jsonResult(result, options, Date.now() - startedAt))}\n`,
      )
    } else {
      for (const line of verdict(result)) say(line)
    }
  }

  const stop = new AbortController()
  let ending = 0
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      ending ||= 128 + number
      stop.abort()
    })
  }
  const hooks = { onProgress: say, onResult, onOpen: sayDoors(say), signal: stop.signal }
  const result = await runLab(options, hooks).catch((error: unknown) => {
    if (error instanceof LabFailure) for (const line of error.log) process.stderr.write(`${line}\n`)
    throw error
  })
  if (result !== undefined) return exitCodeOf(result)
  process.stderr.write('steadycast: the lab was stopped; nothing of it is left\n')
  return ending
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
