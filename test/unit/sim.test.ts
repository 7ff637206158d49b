// A short run of the fleet simulator (test/sim, docs/simulator.md): some fresh seeds, every seed that ever failed, and
// that a data path whose homes forget is caught. The long runs are "npm run sim" and CI.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface Sum {
  readonly seeds: number
  readonly connections: number
  readonly events: number
  readonly broken: number
  readonly failed_seeds: readonly number[]
  readonly fired: Readonly<Record<string, number>>
  readonly seen: Readonly<Record<string, number>>
}

interface Run {
  readonly status: number | null
  readonly sum: Sum
  readonly stderr: string
}

function runSim(args: readonly string[]) {
  return spawnSync(process.execPath, [`${root}scripts/sim.mjs`, '--json', ...args], {
    encoding: 'utf8',
  })
}

function simulate(args: readonly string[]): Run {
  const { status, stdout, stderr } = runSim(args)
  return { status, sum: JSON.parse(stdout) as Sum, stderr }
}

t.test('nothing breaks a connection in 24 small fleets under 12 events each', async (t) => {
  const { status, sum, stderr } = simulate('--seeds 1..24 --connections 300 --events 12'.split(' '))
  t.same(sum.failed_seeds, [], stderr)
  t.equal(sum.broken, 0)
  t.equal(sum.seeds, 24)
  t.equal(sum.events, 24 * 12)
  t.equal(sum.connections, 24 * 300)
  t.equal(status, 0)
})

t.test('nor in fleets of one PoP, where the second copy is all there is', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 1..8 --pops 1 --nodes 3 --connections 300 --events 8'.split(' '),
  )
  t.same(sum.failed_seeds, [], stderr)
  t.equal(status, 0)
})

t.test('nor in a fleet of one node, which has its own memory alone', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 1..8 --pops 1 --nodes 1 --connections 300 --events 8'.split(' '),
  )
  t.same(sum.failed_seeds, [], stderr)
  t.ok((sum.seen.flows_recalled ?? 0) > 0)
  t.equal(status, 0)
})

t.test('every kind of event happens, and so does what they are to bring about', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 1001..1024 --connections 100 --events 60'.split(' '),
  )
  t.same(sum.failed_seeds, [], stderr)
  t.equal(status, 0)
  const { bridged, ...seen } = sum.seen
  for (const [name, count] of Object.entries({ ...sum.fired, ...seen })) {
    t.ok(count > 0, `${name} never happened`)
  }
})

t.test('connections go on while a third PoP bridges a cut', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 2001..2040 --pops 4 --nodes 1 --connections 200 --events 5'.split(' '),
  )
  t.same(sum.failed_seeds, [], stderr)
  t.ok((sum.seen.bridged ?? 0) > 0)
  t.equal(status, 0)
})

t.test('no seed that ever failed fails again', async (t) => {
  const lines = readFileSync(`${root}test/sim/failed-seeds.txt`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('--seeds '))
  t.ok(lines.length > 0)
  for (const line of lines) {
    const { status, stderr } = simulate(line.split(' '))
    t.equal(status, 0, `sim ${line}\n${stderr}`)
  }
})

t.test('homes that forget are caught, with the seed that replays it', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 1..2 --connections 300 --events 4 --sabotage'.split(' '),
  )
  t.ok(sum.broken > 0)
  t.same(sum.failed_seeds, [1, 2])
  t.match(stderr, /seed 1: .* connection \d+ is broken/)
  t.match(stderr, /replay: native\/build\/sim --seeds 1 /)
  t.equal(status, 1)
})

t.test('the same seed gives the same run', async (t) => {
  const once = simulate('--seeds 3 --connections 200 --events 8'.split(' '))
  const twice = simulate('--seeds 3 --connections 200 --events 8'.split(' '))
  t.same({ ...once.sum, elapsed_s: 0 }, { ...twice.sum, elapsed_s: 0 })
})

t.test('what cannot be simulated is refused in one line that names the option', async (t) => {
  const most =
    '--pops, --nodes: expected at most 96 nodes in all, one to spare in each PoP included'
  const refused: readonly (readonly [string, string])[] = [
    ['--seeds 4..1', '--seeds: expected A..B with 1 <= A <= B <= 4294967295, got 4..1'],
    ['--seeds 1..9 --pops 17', "--pops: expected a number from 1 to 16, got '17'"],
    ['--seeds 1..9 --nodes x', "--nodes: expected a number from 1 to 32, got 'x'"],
    ['--seeds 1..9 --nodes 24', `${most}, got up to 100`],
    ['--seeds 1..9 --pops 16 --nodes 6', `${most}, got up to 112`],
  ]
  for (const [args, why] of refused) {
    const { status, stdout, stderr } = runSim(args.split(' '))
    t.equal(stderr, `steadycast: sim: ${why}\n`)
    t.equal(stdout, '')
    t.equal(status, 2)
  }
})

t.test('the largest PoP there can be is simulated, without a node to spare', async (t) => {
  const { status, sum, stderr } = simulate(
    '--seeds 5 --pops 1 --nodes 32 --connections 20 --events 0'.split(' '),
  )
  t.same(sum.failed_seeds, [], stderr)
  t.equal(status, 0)
})
