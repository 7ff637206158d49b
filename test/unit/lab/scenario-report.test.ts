// What `lab --scenario` prints at its end, and when it fails.

import t from 'tap'
import {
  ACTIVITIES,
  type Activity,
  type PhaseResult,
  type ScenarioResult,
  type Tally,
} from '../../../src/lab/messages.js'
import {
  brokenInScenarios,
  exitCodeOfScenarios,
  jsonOfScenarios,
  tableLines,
  unprovenLines,
} from '../../../src/lab/scenario-report.js'

const switched = Object.fromEntries(ACTIVITIES.map((activity) => [activity, 0])) as Record<
  Activity,
  number
>
const phase = (numbers: Partial<Tally> = {}, rest: Partial<PhaseResult> = {}): PhaseResult => ({
  tally: {
    connections: 443,
    alive: 0,
    broken: 0,
    bytes: 426_000_000,
    switches: 70,
    switched,
    touched: 41,
    longestPauseMs: 440,
    backends: {},
    samples: [],
    ...numbers,
  },
  alternations: 0,
  happened: { catchment: { events: 5, connections: 60 }, client: { events: 50, connections: 49 } },
  unserved: [],
  ...rest,
})
const scenario = (changes: Partial<ScenarioResult> = {}): ScenarioResult => ({
  name: 'pop-switch',
  expected: ['catchment', 'client'],
  steadycast: phase(),
  hashAlone: phase({ connections: 404, broken: 92 }),
  durationMs: 23_440,
  ...changes,
})
const of = (...scenarios: readonly ScenarioResult[]) => ({ kind: 'scenarios' as const, scenarios })
const crash = scenario({
  name: 'node-crash',
  expected: ['crash'],
  steadycast: phase(
    { longestPauseMs: 2_960 },
    { happened: { crash: { events: 3, connections: 36 } } },
  ),
  hashAlone: undefined,
})

t.test('the table has a row for each scenario, and a dash where a hash has no part', async (t) => {
  t.same(tableLines(of(scenario(), crash)), [
    '   event       connections  in events  broken, Steadycast  broken, hash alone  longest pause',
    '1  pop-switch          443         41                   0           92 of 404          0.4 s',
    '7  node-crash          443         41                   0                   -          3.0 s',
  ])
})

t.test('exit code 0 only when nothing broke and every event met living connections', async (t) => {
  t.equal(exitCodeOfScenarios(of(scenario(), crash)), 0)
  t.equal(exitCodeOfScenarios(of()), 1)
  t.equal(exitCodeOfScenarios(of(scenario(), scenario({ steadycast: phase({ broken: 1 }) }))), 1)
  const failing: readonly (readonly [Partial<ScenarioResult>, string])[] = [
    [{ expected: ['catchment', 'drain'] }, '0 of drain, and no living connection saw any'],
    [
      {
        expected: ['client'],
        steadycast: phase({}, { happened: { client: { events: 9, connections: 0 } } }),
      },
      '9 of client, and no living connection saw any',
    ],
    [
      {
        expected: ['split'],
        steadycast: phase({}, { happened: { split: { events: 1, connections: 7 } } }),
      },
      'no packet alternated',
    ],
    [
      { steadycast: phase({}, { unserved: ['ams-web-4'] }) },
      'no connection reached the new backend ams-web-4',
    ],
    [{ hashAlone: phase({ connections: 0 }) }, 'no connection with a hash alone'],
  ]
  for (const [changes, why] of failing) {
    const result = of(scenario(), scenario(changes))
    t.equal(exitCodeOfScenarios(result), 1, why)
    t.same(unprovenLines(result), [`pop-switch: ${why}`])
  }
})

t.test('connections that broke are named with their scenario', async (t) => {
  const sample = {
    client: 4,
    activity: 'echoing' as const,
    family: 6 as const,
    backend: '',
    reason: 'reset',
  }
  const steadycast = phase({ broken: 1, samples: [sample] })
  t.same(brokenInScenarios(of(crash, scenario({ steadycast }))), [
    'pop-switch: broken: client 4, IPv6, echoing, no backend yet: reset',
  ])
})

t.test('the JSON object says all that the table says', async (t) => {
  const options = { scenarios: [], pops: 3, clients: 48, seconds: 24, seed: 5, keep: false }
  t.match(jsonOfScenarios(of(scenario(), crash), options, 46_880), {
    scenarios: [
      {
        scenario: 'pop-switch',
        rows: '1',
        connections: 443,
        in_events: 41,
        switches: 70,
        bytes: 426_000_000,
        broken: 0,
        longest_pause_ms: 440,
        events: { catchment: { events: 5, connections: 60 } },
        hash_only: { connections: 404, broken: 92 },
        unproven: [],
        duration_s: 23.4,
      },
      { scenario: 'node-crash', rows: '7', hash_only: null, longest_pause_ms: 2_960 },
    ],
    connections: 886,
    broken: 0,
    hash_only_broken: 92,
    duration_s: 46.9,
    seed: 5,
    pops: 3,
    clients: 48,
  })
})
