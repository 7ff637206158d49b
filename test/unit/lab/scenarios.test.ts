// The scenarios: their names, and what their schedules bring about, for every one of them and for random seeds.

import t, { type Test } from 'tap'
import { BACKEND_CHANGES, happeningOf, isOfNodes, type LabEvent } from '../../../src/lab/events.js'
import { scenarioPhaseMs } from '../../../src/lab/options.js'
import {
  happeningsOf,
  SCENARIOS,
  type Scenario,
  scenarioLines,
  scenariosNamed,
} from '../../../src/lab/scenarios.js'
import { SCENARIO_LAYOUT, topologyOf } from '../../../src/lab/topology.js'
import { trafficOf } from '../../../src/lab/traffic.js'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))

function tracksOf(scenario: Scenario, seed: number, seconds = 24) {
  const options = { scenarios: [], pops: 3, clients: 48, seconds, seed, keep: false }
  const topology = topologyOf(options.pops, options.clients, SCENARIO_LAYOUT)
  const traffic = trafficOf(topology, scenario.splitsHandshakes)
  const durationMs = scenarioPhaseMs(options)
  return { tracks: scenario.tracks({ topology, traffic, seed, durationMs }), topology, durationMs }
}

t.test('every event of the list has a scenario, and so have the combinations', async (t) => {
  t.same(
    SCENARIOS.map(({ rows }) => rows),
    ['1', '2', '3', '4', '5', '6', '7', '8', '1+5', '4+5', '1+7', '8+5'],
  )
  t.equal(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length)
  t.same(scenariosNamed('all'), SCENARIOS)
  t.same(scenariosNamed('node-crash'), [SCENARIOS.find(({ rows }) => rows === '7')])
  const refusal = scenariosNamed('pop-crash')
  t.type(refusal, 'string')
  for (const { name, rows } of SCENARIOS) {
    t.same(scenariosNamed(name), scenariosNamed(rows))
    t.ok(String(refusal).includes(`${name} (${rows})`), name)
    t.ok(
      scenarioLines().some((line) => line.includes(` ${name} `)),
      name,
    )
  }
})

for (const scenario of SCENARIOS) {
  t.test(`${scenario.name}: in order, and time is left after it (SEED=${SEED})`, async (t) => {
    for (const seconds of [8, 24, 60]) {
      const { tracks, durationMs, topology } = tracksOf(scenario, SEED, seconds)
      t.ok(tracks.flat().length > 0)
      for (const track of tracks) {
        t.ok(track.length > 0)
        let last = 0
        for (const { atMs } of track) {
          if (atMs < last || atMs > durationMs) t.fail(`at ${atMs} after ${last} of ${durationMs}`)
          last = atMs
        }
      }
      for (const event of tracks.flat()) checkPlaces(t, event, topology)
    }
    t.same(tracksOf(scenario, SEED), tracksOf(scenario, SEED), 'the same again')
  })

  t.test(`${scenario.name}: a hash alone takes part if anything of it happens there`, async (t) => {
    const { tracks } = tracksOf(scenario, SEED)
    t.equal(
      scenario.hashAlone,
      tracks.flat().some((event) => !isOfNodes(event)),
    )
  })
}

function checkPlaces(t: Test, event: LabEvent, topology: ReturnType<typeof topologyOf>): void {
  if ('pop' in event) t.ok(topology.pops.some(({ number }) => number === event.pop))
  if (!('nodes' in event)) return
  t.ok(event.nodes.length > 0)
  for (const { pop, node } of event.nodes) {
    t.ok(topology.pops.find(({ number }) => number === pop)?.nodes[node], `node ${node} of ${pop}`)
  }
}

t.test('backends change in all four ways, and the combinations are what they say', async (t) => {
  const kinds = (rows: string) => {
    const scenario = SCENARIOS.find((one) => one.rows === rows)
    if (scenario === undefined) throw new Error(`no scenario ${rows}`)
    return happeningsOf(tracksOf(scenario, SEED).tracks)
  }
  t.same(kinds('5'), BACKEND_CHANGES)
  t.same(kinds('1').sort(), ['catchment', 'client'])
  t.same(kinds('1+5').sort(), [...kinds('1'), ...kinds('5')].sort())
  t.same(kinds('4+5').sort(), [...kinds('4'), ...kinds('5')].sort())
  t.same(kinds('1+7').sort(), [...kinds('1'), ...kinds('7')].sort())
  t.same(kinds('8+5').sort(), [...kinds('8'), ...kinds('5')].sort())
})

t.test(`crashes: one node, one in each PoP, then all of one PoP (SEED=${SEED})`, async (t) => {
  const scenario = SCENARIOS.find(({ rows }) => rows === '7')
  if (scenario === undefined) throw new Error('no such scenario')
  const { tracks, topology } = tracksOf(scenario, SEED)
  const [alone, spread, whole] = tracks.flat().map((event) => ('nodes' in event ? event.nodes : []))
  t.equal(alone?.length, 1)
  t.same(
    spread?.map(({ pop }) => pop),
    topology.pops.map(({ number }) => number),
  )
  t.equal(new Set(whole?.map(({ pop }) => pop)).size, 1)
  t.same(
    whole?.map(({ node }) => node),
    [0, 1],
  )
})

t.test('what is counted for itself is the change, not that backends change', async (t) => {
  t.equal(happeningOf({ kind: 'backends', atMs: 0, change: 'drain', hup: true }), 'drain')
  t.equal(happeningOf({ kind: 'reshuffle', atMs: 0, pop: 1 }), 'reshuffle')
})
