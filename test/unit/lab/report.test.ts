// What the lab prints, and what its exit code means.

import t from 'tap'
import { ACTIVITIES, type Activity, type Tally } from '../../../src/lab/messages.js'
import { CLIENTS, MIN_PHASE_MS, POPS, parseInRange, phaseMs } from '../../../src/lab/options.js'
import {
  brokenLines,
  exitCodeOf,
  formatBytes,
  jsonResult,
  tallyText,
  verdict,
} from '../../../src/lab/report.js'

const switched = Object.fromEntries(ACTIVITIES.map((activity) => [activity, 0])) as Record<
  Activity,
  number
>
const tally = (numbers: Partial<Tally>): Tally => ({
  connections: 412,
  alive: 0,
  broken: 0,
  bytes: 1_310_000_000,
  switches: 96,
  switched,
  touched: 0,
  longestPauseMs: 0,
  backends: {},
  samples: [],
  ...numbers,
})
const phase = (numbers: Partial<Tally>, alternations: number) => ({
  tally: tally(numbers),
  alternations,
  happened: {},
  unserved: [],
})
const result = (steadycast: Partial<Tally>, plainHashing: Partial<Tally>) => ({
  kind: 'plain' as const,
  steadycast: phase(steadycast, 12),
  plainHashing: phase(plainHashing, 3),
})
const options = { scenarios: [], pops: 3, clients: 24, seconds: 30, seed: 5, keep: false }

t.test('the verdict is two lines', async (t) => {
  t.same(verdict(result({}, { connections: 398, switches: 91, broken: 173 })), [
    'Steadycast: 412 connections, 96 PoP switches, 1.3 GB checked, 0 broken.',
    'Plain hashing: 398 connections, 91 PoP switches, 173 broken.',
  ])
  t.equal(
    tallyText(tally({ connections: 1, switches: 1, alive: 1, bytes: 0 })),
    '1 connection, 1 alive, 1 PoP switch, 0 B checked, 0 broken',
  )
})

t.test('the JSON object has the promised keys', async (t) => {
  const object = jsonResult(result({}, { broken: 9 }), options, 29_960)
  t.match(object, {
    connections: 412,
    switches: 96,
    bytes: 1_310_000_000,
    broken: 0,
    hash_only: { connections: 412, switches: 96, broken: 9 },
    duration_s: 30,
    seed: 5,
  })
})

t.test('exit code 0 only when nothing broke and there was something to break', async (t) => {
  t.equal(exitCodeOf(result({}, { broken: 9 })), 0)
  t.equal(exitCodeOf(result({ broken: 1 }, {})), 1)
  t.equal(exitCodeOf(result({ connections: 0 }, {})), 1)
  t.equal(exitCodeOf(result({ switches: 0 }, {})), 1)
  t.equal(exitCodeOf(result({}, { connections: 0 })), 1)
})

t.test('connections that broke with Steadycast are named with their reason', async (t) => {
  const sample = {
    client: 4,
    activity: 'echoing',
    family: 6,
    backend: 'ams-web-1',
    reason: 'reset',
  }
  const lines = brokenLines(phase({ broken: 3, samples: [sample as Tally['samples'][0]] }, 0))
  t.same(lines, ['broken: client 4, IPv6, echoing, backend ams-web-1: reset', 'broken: 2 more'])
})

t.test('bytes are told in the unit that fits', async (t) => {
  t.same([0, 999, 1000, 99_949, 999_499, 999_500, 1_300_000_000].map(formatBytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '99.9 kB',
    '999 kB',
    '1.0 MB',
    '1.3 GB',
  ])
})

t.test('numbers out of range are refused with what was expected', async (t) => {
  t.equal(parseInRange('3', POPS), 3)
  for (const text of ['1', '9', '', '-3', '3.5', '0x3', 'three', '1e1']) {
    t.match(parseInRange(text, POPS), /^expected a whole number from 2 to 8, got "/)
  }
  t.equal(parseInRange(String(CLIENTS.max), CLIENTS), CLIENTS.max)
})

t.test('both phases together fit into the time that was asked for', async (t) => {
  t.ok(2 * phaseMs(options, 4_000) + 4_000 < 30_000)
  t.equal(phaseMs({ ...options, seconds: 8 }, 7_900), MIN_PHASE_MS)
})
