// Runs the fleet simulator over many seeds on all cores: what "npm run sim -- --seeds A..B --pops P --nodes N --json"
// does. Progress and ETA go to stderr, the sum (one JSON object with --json) to stdout. The exit status is 0 only if
// nothing broke, 1 if something did, 2 if it could not be asked for so. docs/simulator.md has the options.

import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { makeProgram, readSeeds, refuse, withProgress } from './seeds.mjs'

const RUNNER = 'sim'
const MAX_SEEDS_AT_ONCE = 16
const MESSAGES_SHOWN = 20

function readOptions() {
  const options = {
    seeds: { type: 'string' },
    pops: { type: 'string' },
    nodes: { type: 'string' },
    connections: { type: 'string' },
    events: { type: 'string' },
    sabotage: { type: 'boolean' },
    json: { type: 'boolean' },
  }
  try {
    return parseArgs({ options, allowPositionals: false }).values
  } catch (error) {
    return refuse(
      RUNNER,
      `${error.message}\nusage: npm run sim -- --seeds A..B [--pops P] [--nodes N] \
[--connections N] [--events N] [--sabotage] [--json]`,
    )
  }
}

/** The options that the program itself understands. */
function passedOn(values) {
  const args = []
  for (const name of ['pops', 'nodes', 'connections', 'events']) {
    if (values[name] !== undefined) {
      args.push(`--${name}`, values[name])
    }
  }
  if (values.sabotage) {
    args.push('--sabotage')
  }
  return args
}

const sum = {
  seeds: 0,
  connections: 0,
  events: 0,
  broken: 0,
  violations: 0,
  outside: 0,
  contested: 0,
  resets: 0,
  packets: 0,
  simulated_s: 0,
  failed_seeds: [],
  fired: {},
  seen: {},
  excused: {},
}
const messages = []

function fail(seed, text) {
  if (!sum.failed_seeds.includes(seed)) {
    sum.failed_seeds.push(seed)
  }
  messages.push(`seed ${seed}: ${text}`)
}

/** What happened, by name: events that did something, and what a run is to meet. */
function addUp(into, counts) {
  for (const [name, count] of Object.entries(counts)) {
    into[name] = (into[name] ?? 0) + count
  }
}

function take(result) {
  sum.seeds++
  addUp(sum.fired, result.fired)
  addUp(sum.seen, result.seen)
  addUp(sum.excused, result.excused)
  for (const key of Object.keys(sum)) {
    if (key !== 'seeds' && typeof sum[key] === 'number') {
      sum[key] += result[key]
    }
  }
  for (const text of result.messages) {
    fail(result.seed, text)
  }
  if (result.broken + result.violations > 0 && result.messages.length === 0) {
    fail(result.seed, `${result.broken} broken, ${result.violations} violations`)
  }
}

/** One program over a run of seeds; a seed in which it dies has failed, and the rest is run by another. All of them
 * refuse the same options: only the first is heard. */
async function runSeeds(program, from, to, args) {
  let next = from
  while (next <= to) {
    const child = spawn(program, ['--seeds', `${next}..${to}`, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said += text
    })
    const ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve(signal ?? code))
    })
    for await (const line of createInterface({ input: child.stdout })) {
      take(JSON.parse(line))
      next++
    }
    const how = await ended
    process.stderr.write(said)
    if (how === 2) {
      process.exit(2)
    }
    if (next <= to) {
      sum.seeds++
      sum.violations++
      fail(next, `the simulator died of ${how}`)
      next++
    }
  }
}

async function runAll(program, { from, to, total }, args) {
  const jobs = availableParallelism()
  const share = Math.max(1, Math.min(MAX_SEEDS_AT_ONCE, Math.floor(total / (jobs * 4))))
  let next = from
  const worker = async () => {
    while (next <= to) {
      const first = next
      next += share
      await runSeeds(program, first, Math.min(first + share - 1, to), args)
    }
  }
  const look = () => ({
    text: `${sum.seeds}/${total} seeds, ${sum.connections} connections, ${sum.broken} broken, \
${sum.failed_seeds.length} seeds failed`,
    share: sum.seeds / total,
  })
  return withProgress(RUNNER, look, () => Promise.all(Array.from({ length: jobs }, worker)))
}

function report(values, args, elapsedS) {
  sum.failed_seeds.sort((a, b) => a - b)
  for (const text of messages.slice(0, MESSAGES_SHOWN)) {
    process.stderr.write(`${text}\n`)
  }
  const first = sum.failed_seeds[0]
  if (first !== undefined) {
    const replay = ['native/build/sim', '--seeds', String(first), ...args].join(' ')
    process.stderr.write(
      `replay: ${replay} --trace    (--shrink: the smallest schedule that still fails)\n`,
    )
  }
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ...sum, elapsed_s: Number(elapsedS.toFixed(1)) })}\n`)
  } else {
    process.stdout.write(`${sum.connections} connections under ${sum.events} events in ${sum.seeds} seeds: \
${sum.broken} broken, ${sum.violations} violations, ${sum.outside} outside the promise, ${sum.contested} contested\n`)
  }
}

const values = readOptions()
const seeds = readSeeds(RUNNER, values.seeds)
const args = passedOn(values)
const elapsedS = await runAll(makeProgram(RUNNER), seeds, args)
report(values, args, elapsedS)
process.exitCode = sum.failed_seeds.length === 0 ? 0 : 1
