// Backends that have left the fleet file while flows name them, and the file that remembers them.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readPopMemory, writePopMemory } from '../../../src/config/departed-file.js'
import { parseFleet } from '../../../src/config/fleet-file.js'
import {
  DEPARTED_MIN_S,
  type Departed,
  departedAfter,
  FLOWS_COUNTED_S,
  isDone,
  withDeparted,
} from '../../../src/fleet/departed.js'
import { MAX_BACKENDS, MAX_POOLS } from '../../../src/fleet/limits.js'
import type { Backend, Fleet } from '../../../src/fleet/model.js'

function fleetOf(backends: readonly string[], nodes = '{ name: ams-1, address: 10.0.0.1 }'): Fleet {
  const result = parseFleet(
    `
fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [${nodes}]
      backends: [${backends.join(', ')}]
    - { name: nyc, nodes: [{ name: nyc-1, address: 10.1.0.1 }], backends: [{ name: z, address: 10.1.1.1 }] }
services:
  - { name: web, vip: 198.51.100.10, ports: [80], protocol: tcp }
`,
    'fleet.yaml',
  )
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.fleet
}

const backend = (n: number) => `{ name: web-${n}, address: 10.0.1.${n} }`
const local = '{ name: here, deliver: local, node: ams-1 }'
const both = fleetOf([backend(1), backend(2), local])
const popId = both.pops[0]?.id ?? 0
const of = (fleet: Fleet): readonly Backend[] => fleet.pops[0]?.backends ?? []
const names = (departed: readonly Departed[]) => departed.map(({ backend: { name } }) => name)

t.test(
  'a backend that is removed departs, once, and the file wins when it comes back',
  async (t) => {
    const one = fleetOf([backend(1), local])
    const first = departedAfter([], of(both), one, popId, 1000)
    t.same(
      first.map(({ backend: { name }, sinceMs }) => [name, sinceMs]),
      [['web-2', 1000]],
    )
    t.same(departedAfter(first, of(one), one, popId, 2000), first, 'its time stays')
    t.same(departedAfter(first, of(one), both, popId, 3000), [])

    const moved = fleetOf([backend(1), '{ name: web-2, address: 10.0.1.9 }', local])
    t.same(
      names(departedAfter([], of(both), moved, popId, 1)),
      ['web-2'],
      'another machine, another id',
    )
    t.same(departedAfter([], of(both), both, popId, 1), [], 'other weights are no departure')
  },
)

t.test(
  'in the whole fleet it takes no new connections, and stands before those of the file',
  async (t) => {
    const one = fleetOf([backend(1), local])
    const departed = departedAfter([], of(both), one, popId, 0)
    const whole = withDeparted(one, popId, departed)
    t.same(
      of(whole).map(({ name, weight }) => [name, weight]),
      [
        ['web-2', 0],
        ['web-1', 1],
        ['here', 1],
      ],
    )
    t.equal(whole.pops[1], one.pops[1])
    t.equal(withDeparted(one, popId, []), one)
  },
)

t.test('a local backend departs only as long as its node is what it was', async (t) => {
  t.same(names(departedAfter([], of(both), fleetOf([backend(1)]), popId, 0)), ['web-2', 'here'])
  const elsewhere = fleetOf([backend(1)], '{ name: ams-1, address: 10.0.0.2 }')
  t.same(names(departedAfter([], of(both), elsewhere, popId, 0)), ['web-2'])
  t.same(departedAfter([], of(both), elsewhere, popId + 1, 0), [], 'of another PoP')
})

t.test('the limits of a fleet hold with the departed; the latest stay', async (t) => {
  const [model] = of(both)
  if (model === undefined) throw new Error('there is a backend')
  const many = Array.from({ length: MAX_BACKENDS }, (_, i): Departed => {
    return { backend: { ...model, id: 1_000_000 + i, name: `old-${i}` }, sinceMs: i }
  })
  const kept = departedAfter(many, [], both, popId, MAX_BACKENDS)
  t.equal(kept.length, MAX_BACKENDS - 4)
  t.equal(kept[0]?.backend.name, `old-${MAX_BACKENDS - 1}`)
  const pools = many.slice(0, MAX_POOLS).map((one, i) => {
    return { ...one, backend: { ...one.backend, pool: `pool-${i}` } }
  })
  t.equal(departedAfter(pools, [], both, popId, MAX_POOLS).length, MAX_POOLS - 1, 'and one in use')
})

t.test(
  'it is let go when no flow names it, and not before its time nor before flows were counted',
  async (t) => {
    const [departed] = departedAfter([], of(both), fleetOf([backend(1), local]), popId, 5000)
    if (departed === undefined) throw new Error('it has departed')
    const over = 5000 + DEPARTED_MIN_S * 1000
    t.equal(isDone(departed, 0, 0, over - 1), false)
    t.equal(isDone(departed, 0, 0, over), true)
    t.equal(isDone(departed, 1, 0, over * 2), false)
    const late = over - FLOWS_COUNTED_S * 1000
    t.equal(isDone(departed, 0, late + 1, over), false)
    t.equal(isDone(departed, 0, late, over), true)
  },
)

t.test(
  'the file gives back what was written, and nothing for what cannot be trusted',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'steadycast-departed-'))
    t.teardown(() => rmSync(dir, { recursive: true }))
    const path = join(dir, 'ams-1.departed.json')
    t.same(readPopMemory(path, 0), { memory: { known: [], departed: [] } }, 'no file yet')
    const departed = departedAfter([], of(both), fleetOf([backend(1)]), popId, 7000)
    const memory = { known: of(both), departed }
    writePopMemory(path, memory)
    t.same(readPopMemory(path, 9000), { memory })
    t.same(readdirSync(dir), ['ams-1.departed.json'])
    t.equal(readPopMemory(path, 6000).memory.departed[0]?.sinceMs, 6000, 'a clock was set back')

    const good = { layout: 1, known: of(both), departed }
    for (const [text, doubt] of [
      ['', /^it is not JSON$/],
      [JSON.stringify(good).slice(0, -3), /^it is not JSON$/],
      ['null', /expected object/],
      [JSON.stringify({ ...good, layout: 2 }), /^layout: /],
      [JSON.stringify({ ...good, more: 1 }), /more/],
      [
        JSON.stringify({ ...good, known: [{ ...of(both)[0], address: '10.0.1' }] }),
        /^known\.0\.address: /,
      ],
      [JSON.stringify({ ...good, known: [{ ...of(both)[0], id: 2 ** 32 }] }), /^known\.0\.id: /],
      [
        JSON.stringify({ ...good, departed: [{ backend: of(both)[0] }] }),
        /^departed\.0\.sinceMs: /,
      ],
    ] as const) {
      writeFileSync(path, text)
      const read = readPopMemory(path, 0)
      t.same(read.memory, { known: [], departed: [] })
      t.match(read.doubt, doubt)
    }
    t.match(readPopMemory(dir, 0).doubt, /^it cannot be read \(EISDIR\)$/)
  },
)
