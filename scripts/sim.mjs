// Runs the fleet simulator over many seeds on all cores: what "npm run sim -- --seeds A..B --pops P --nodes N --json"
// does. Progress and ETA go to stderr, the sum (one JSON object with --json) to stdout. The exit status is 0 only if
// nothing broke, 1 if something did, 2 if it could not be asked for so. docs/simulator.md has the options.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const MAX_SEEDS_AT_ONCE = 16
const REPORT_MS = process.stderr.isTTY ? 200 : 10_000
const MESSAGES_SHOWN = 20

const root = fileURLToPath(new URL('../', import.meta.url))
const build = process.env.STEADYCAST_SIM_BUILD ?? `${root}native/build`
const program = `${build}/sim`

function refuse(message) {
  process.stderr.write(`steadycast: sim: ${message}\n`)
  process.exit(2)
}

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
    return refuse(`${error.message}\nusage: npm run sim -- --seeds A..B [--pops P] [--nodes N] \
[--connections N] [--events N] [--json]`)
  }
}

function readSeeds(text) {
  const [, first, last] = /^(\d+)(?:\.\.(\d+))?$/.exec(text ?? '') ?? []
  if (first === undefined) {
    refuse(`--seeds: expected A..B (two numbers), got ${text ?? 'nothing'}`)
  }
  const from = Number(first)
  const to = Number(last ?? first)
  if (from < 1 || to < from || to > 0xffffffff) {
    refuse(`--seeds ${text}: expected 1 <= A <= B <= ${0xffffffff}`)
  }
  return { from, to }
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

function makeProgram() {
  const made = spawnSync('make', ['-s', '-C', `${root}native`, `BUILD=${build}`, 'sim'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (made.status !== 0 || !existsSync(program)) {
    refuse(`the simulator could not be built: "make -C native sim" says why`)
  }
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

/** One program over a run of seeds; a seed in which it dies has failed, and the rest is run by another. */
async function runSeeds(from, to, args) {
  let next = from
  while (next <= to) {
    const child = spawn(program, ['--seeds', `${next}..${to}`, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
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

function progress(total, beganMs) {
  const elapsedS = (Date.now() - beganMs) / 1000
  const leftS = sum.seeds > 0 ? (elapsedS / sum.seeds) * (total - sum.seeds) : 0
  const text = `sim: ${sum.seeds}/${total} seeds, ${sum.connections} connections, ${sum.broken} broken, \
${sum.failed_seeds.length} seeds failed, ETA ${Math.ceil(leftS)} s`
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`)
}

async function runAll({ from, to }, args) {
  const total = to - from + 1
  const jobs = availableParallelism()
  const share = Math.max(1, Math.min(MAX_SEEDS_AT_ONCE, Math.floor(total / (jobs * 4))))
  const beganMs = Date.now()
  const ticker = setInterval(() => progress(total, beganMs), REPORT_MS)
  let next = from
  const worker = async () => {
    while (next <= to) {
      const first = next
      next += share
      await runSeeds(first, Math.min(first + share - 1, to), args)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  clearInterval(ticker)
  progress(total, beganMs)
  if (process.stderr.isTTY) {
    process.stderr.write('\n')
  }
  return (Date.now() - beganMs) / 1000
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
const seeds = readSeeds(values.seeds)
const args = passedOn(values)
makeProgram()
const elapsedS = await runAll(seeds, args)
report(values, args, elapsedS)
process.exitCode = sum.failed_seeds.length === 0 ? 0 : 1
