// The survival benchmark's runner, what "npm run bench:survival -- --seeds A..B [--json] [--svg FILE]" does: builds
// native/build/survival, runs it for every seed on all cores, and sums up. Progress and ETA go to stderr, a table (one
// JSON object with --json) to stdout. The exit status is 0 only if Steadycast broke nothing, 1 if it did, 2 if it could
// not be asked for so. docs/survival.md has the method.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { makeProgram, readSeeds, refuse, withProgress } from './seeds.mjs'
import { drawSurvival } from './survival-svg.mjs'

const RUNNER = 'survival'
const DEFAULT_SEEDS = '1..10'
const STRATEGIES = [
  { name: 'hash', title: ['hash', 'alone'], who: '' },
  { name: 'flow-table', title: ['hash and', 'flow table'], who: 'Maglev, Katran' },
  { name: 'second-chance', title: ['second', 'chance'], who: 'GLB' },
  { name: 'previous', title: ['current and', 'previous'], who: 'Unimog, Beamer' },
  { name: 'previous-far', title: ['the same', 'across PoPs'], who: 'hypothetical' },
  { name: 'steadycast', title: ['Steadycast', ''], who: 'this project' },
]

function readOptions() {
  const options = {
    seeds: { type: 'string', default: DEFAULT_SEEDS },
    connections: { type: 'string' },
    scenario: { type: 'string' },
    json: { type: 'boolean' },
    svg: { type: 'string' },
  }
  try {
    return parseArgs({ options, allowPositionals: false }).values
  } catch (error) {
    return refuse(
      RUNNER,
      `${error.message}\nusage: npm run bench:survival -- [--seeds A..B] [--connections N] \
[--scenario NAME] [--json] [--svg FILE]`,
    )
  }
}

const COUNTED = ['connections', 'events', 'broken', 'stuck', 'packets', 'packets_broken']

/** Scenarios in the order in which the program runs them, each with a sum for every strategy. */
const scenarios = new Map()
const mix = { connections: 0, one_packet: 0, over_1000: 0, packets: 0, packets_over_1000: 0 }
const broken = []
let lines = 0

function take(result) {
  const { seed, scenario, strategy } = result
  const results = scenarios.get(scenario) ?? new Map()
  const sum = results.get(strategy) ?? { longest_pause_s: 0 }
  for (const key of COUNTED) {
    sum[key] = (sum[key] ?? 0) + result[key]
  }
  sum.longest_pause_s = Math.max(sum.longest_pause_s, result.longest_pause_s)
  scenarios.set(scenario, results.set(strategy, sum))
  if (strategy === 'steadycast') {
    mix.connections += result.connections
    for (const key of Object.keys(result.mix)) {
      mix[key] += result.mix[key]
    }
    if (result.broken > 0) {
      broken.push({ seed, scenario, broken: result.broken })
    }
  }
  lines++
}

async function runSeed(program, seed, args) {
  const child = spawn(program, ['--seeds', String(seed), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(signal ?? code))
  })
  for await (const line of createInterface({ input: child.stdout })) {
    take(JSON.parse(line))
  }
  const how = await ended
  if (how !== 0) {
    refuse(RUNNER, `"${[program, '--seeds', seed, ...args].join(' ')}" ended with ${how}`)
  }
}

async function runAll(program, { from, to, total }, args, runsOfSeed) {
  let next = from
  let done = 0
  const worker = async () => {
    while (next <= to) {
      await runSeed(program, next++, args)
      done++
    }
  }
  const look = () => ({
    text: `${done}/${total} seeds, ${lines} runs`,
    share: lines / (total * runsOfSeed),
  })
  const jobs = Math.min(availableParallelism(), total)
  return withProgress(RUNNER, look, () => Promise.all(Array.from({ length: jobs }, worker)))
}

/** A share as a human reads it: nothing is "0", and what is not nothing never reads as nothing. */
function percent(part, whole) {
  const value = (part / whole) * 100
  if (part === 0) return '0'
  if (value < 0.001) return '<0.001%'
  return value < 0.1 || value >= 10
    ? `${Number(value.toPrecision(2))}%`
    : `${value.toPrecision(2)}%`
}

function cellOf(sum) {
  return {
    broken: sum.broken,
    connections: percent(sum.broken, sum.connections),
    packets: percent(sum.packets_broken, sum.packets),
    share: sum.broken / sum.connections,
  }
}

function rows() {
  return [...scenarios].map(([scenario, results]) => ({
    scenario,
    cells: STRATEGIES.map(({ name }) => cellOf(results.get(name))),
  }))
}

function table(seeds, connections) {
  const head = ['', ...STRATEGIES.map(({ title }) => title.join(' ').trim())]
  const body = rows().map(({ scenario, cells }) => [
    scenario,
    ...cells.map((c) => (c.broken === 0 ? '0' : `${c.connections} (${c.packets})`)),
  ])
  const widths = head.map((_, i) => Math.max(...[head, ...body].map((row) => row[i].length)))
  const line = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')
  return `Connections broken, and in brackets the share of all packets that those connections have.
${connections} connections in each cell, seeds ${seeds.from}..${seeds.to}.

${[head, ...body].map((row) => line(row).trimEnd()).join('\n')}
`
}

function summary(seeds, elapsedS) {
  return {
    seeds: `${seeds.from}..${seeds.to}`,
    scenarios: [...scenarios].map(([scenario, results]) => ({
      scenario,
      strategies: Object.fromEntries(results),
    })),
    steadycast_broken: broken,
    mix: {
      one_packet: mix.one_packet / mix.connections,
      over_1000: mix.over_1000 / mix.connections,
      packets_over_1000: mix.packets_over_1000 / mix.packets,
    },
    elapsed_s: Number(elapsedS.toFixed(1)),
  }
}

const values = readOptions()
const seeds = readSeeds(RUNNER, values.seeds)
const args = []
for (const name of ['connections', 'scenario']) {
  if (values[name] !== undefined) {
    args.push(`--${name}`, values[name])
  }
}
const program = makeProgram(RUNNER)
const runsOfSeed = (values.scenario === undefined ? 9 : 1) * STRATEGIES.length
const elapsedS = await runAll(program, seeds, args, runsOfSeed)
const connections = [...scenarios.values()][0].get('steadycast').connections
for (const one of broken) {
  process.stderr.write(`Steadycast broke ${one.broken}, replay: native/build/survival --seeds ${one.seed} \
--scenario "${one.scenario}" --strategy steadycast --trace\n`)
}
if (values.svg !== undefined) {
  writeFileSync(values.svg, drawSurvival({ titles: STRATEGIES, rows: rows(), connections }))
}
process.stdout.write(
  values.json ? `${JSON.stringify(summary(seeds, elapsedS))}\n` : table(seeds, connections),
)
process.exitCode = broken.length === 0 ? 0 : 1
