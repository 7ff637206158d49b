// The survival benchmark's models (bench/survival, docs/survival.md): each strategy has a strength that must hold and a
// failure that must show, all under the same judge; Steadycast, the real data path, breaks nothing in a short run.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface Line {
  readonly strategy: string
  readonly connections: number
  readonly events: number
  readonly broken: number
  readonly stuck: number
  readonly packets: number
  readonly packets_broken: number
  readonly mix: {
    readonly one_packet: number
    readonly over_1000: number
    readonly packets: number
    readonly packets_over_1000: number
  }
}

/** What the program says of one seed, one scenario and one strategy. */
function run(strategy: string, scenario: string, connections = 20_000, seed = 1): Line {
  const { stdout, stderr } = spawnSync(
    `${root}native/build/survival`,
    `--seeds ${seed} --connections ${connections} --strategy ${strategy} --scenario`
      .split(' ')
      .concat(scenario),
    { encoding: 'utf8' },
  )
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Line
}

t.before(() => {
  const { stderr } = spawnSync('make', ['-s', '-C', `${root}native`, 'survival'], {
    encoding: 'utf8',
  })
  process.stderr.write(stderr)
})

t.test('the flows drawn are the published mix', async (t) => {
  const { connections, mix } = run('hash', 'nothing', 200_000)
  t.ok(Math.abs(mix.one_packet / connections - 0.478) < 0.004, `${mix.one_packet}`)
  t.ok(Math.abs(mix.over_1000 / connections - 0.0055) < 0.0005, `${mix.over_1000}`)
  // A few flows of a million packets decide this one.
  t.ok(Math.abs(mix.packets_over_1000 / mix.packets - 0.857) < 0.06)
})

t.test('where nothing happens nobody breaks anything', async (t) => {
  for (const strategy of ['hash', 'flow-table', 'second-chance', 'previous', 'previous-far']) {
    const line = run(strategy, 'nothing')
    t.same([line.events, line.broken, line.stuck], [0, 0, 0], strategy)
  }
})

t.test('a hash alone survives new routes and restarts, not one change of backends', async (t) => {
  t.equal(run('hash', 'reshuffles').broken, 0)
  t.equal(run('hash', 'restarts').broken, 0)
  t.ok(run('hash', 'one backend change').broken > 0)
})

t.test(
  'a flow table survives all changes of backends, none with a new route or a restart',
  async (t) => {
    t.equal(run('flow-table', 'backend changes').broken, 0)
    t.equal(run('flow-table', 'hasty backend changes').broken, 0)
    t.ok(run('flow-table', 'one backend change + reshuffles').broken > 0)
    t.ok(run('flow-table', 'one backend change + restarts').broken > 0)
  },
)

t.test(
  'a second chance survives one change, whatever the nodes do, not one change upon another',
  async (t) => {
    t.equal(run('second-chance', 'one backend change + reshuffles').broken, 0)
    t.equal(run('second-chance', 'one backend change + restarts').broken, 0)
    t.ok(run('second-chance', 'backend changes').broken > 0)
  },
)

t.test('current and previous survives one change, not two of the same slot', async (t) => {
  t.equal(run('previous', 'one backend change + reshuffles').broken, 0)
  t.equal(run('previous', 'one backend change + restarts').broken, 0)
  t.ok(run('previous', 'hasty backend changes').broken > 0)
})

t.test('none of them survives another PoP; knowing the one before helps with some', async (t) => {
  for (const scenario of ['split 3%', 'bulk moves']) {
    const hash = run('hash', scenario)
    t.ok(hash.broken > 0)
    for (const strategy of ['flow-table', 'second-chance', 'previous']) {
      t.equal(run(strategy, scenario).broken, hash.broken, `${strategy}, ${scenario}`)
    }
    const far = run('previous-far', scenario)
    t.ok(far.broken > 0 && far.broken < hash.broken, scenario)
  }
})

t.test('who breaks few connections may break many packets', async (t) => {
  const { broken, connections, packets, packets_broken } = run('hash', 'bulk moves')
  t.ok(packets_broken / packets > 5 * (broken / connections))
})

t.test(
  'Steadycast breaks nothing, and the runner says so in its status, JSON and picture',
  async (t) => {
    const folder = mkdtempSync(`${tmpdir()}/survival-`)
    t.teardown(() => rmSync(folder, { recursive: true }))
    for (const scenario of ['split 3% + churn', 'bulk moves + churn']) {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        `scripts/survival.mjs --seeds 1 --connections 2000 --json --svg ${folder}/svg --scenario`
          .split(' ')
          .concat(scenario),
        { encoding: 'utf8', cwd: root },
      )
      t.equal(status, 0, stderr)
      const sum = JSON.parse(stdout) as {
        readonly steadycast_broken: readonly unknown[]
        readonly scenarios: readonly { readonly strategies: Record<string, Line> }[]
      }
      t.same(sum.steadycast_broken, [])
      const strategies = sum.scenarios[0]?.strategies ?? {}
      t.equal(strategies.steadycast?.broken, 0)
      t.ok((strategies.hash?.broken ?? 0) > 0)
      const svg = readFileSync(`${folder}/svg`, 'utf8')
      t.equal(svg.match(/<rect class="(?!page)/g)?.length, 6)
      t.match(svg, />Steadycast</)
      t.match(svg, /prefers-color-scheme: dark/)
    }
  },
)

t.test('the same seed gives the same run, another seed another', async (t) => {
  const once = run('steadycast', 'churn', 1000)
  t.equal(once.broken, 0)
  t.same(run('steadycast', 'churn', 1000), once)
  t.not(run('hash', 'churn', 20_000, 2).packets, run('hash', 'churn').packets)
})
