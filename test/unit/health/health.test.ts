// A PoP's health in virtual time: who takes new connections when checks fail, when the operator speaks, when files change.

import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { inputsOf } from '../../../src/cli/node-announce.js'
import type { NodePlan } from '../../../src/cli/node-plan.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import { JITTER } from '../../../src/health/checker.js'

import { type HealthNews, REPLAN_MS } from '../../../src/health/health.js'

import { failed } from '../../../src/health/outcome.js'
import { FIRST_RESULT_LIMIT_MS, pathAble } from '../../../src/health/probe.js'
import { API, BACKENDS, fleetOf, HEALTH, popOf, WEB, World } from './world.js'

const PLAIN = '{ name: plain, vip: 198.51.100.2, ports: [80], protocol: tcp }'
/** Longer than three failures of a check every second, jitter and replanning included. */
const FALL_MS = 3 * 1000 * (1 + JITTER) + 1000
const RISE_MS = 2 * 1000 * (1 + JITTER) + 1000

function world(t: Test, services: readonly string[], backends?: string): World {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const made = new World(fleetOf(services, backends), seed).start()
  t.teardown(() => made.health.stop())
  return made
}

t.test('without health every backend takes its weight, and nothing is checked', async (t) => {
  const w = world(t, [PLAIN], `${BACKENDS}, { name: a4, address: 10.0.0.4, weight: 0 }`)
  await w.time.pass(60_000)
  t.same(w.packed.get('plain'), [10, 10, 10, 0])
  t.same(w.states, ['ready', 'ready', 'ready', 'draining'])
  t.equal(w.checks.length, 0)
  t.equal(w.replans, 0)
})

t.test(
  'a backend that no check has reached counts as long as none is known to be up',
  async (t) => {
    const w = world(t, [WEB])
    t.same(w.packed.get('web'), [10, 10, 10], 'a node that starts takes new connections at once')
    w.sick.add('10.0.0.2')
    await w.time.pass(2000)
    t.same(
      w.packed.get('web'),
      [10, 0, 10],
      'the first check decides, with neither rise nor fall, nor a slow start',
    )
  },
)

t.test(
  'a backend goes after fall failures and comes back after rise successes, slowly',
  async (t) => {
    const w = world(t, [WEB])
    await w.time.pass(5000)
    w.sick.add('10.0.0.1')
    await w.time.pass(1500)
    t.same(w.packed.get('web'), [10, 10, 10])
    await w.time.pass(FALL_MS - 1500)
    t.same(w.packed.get('web'), [0, 10, 10])
    t.same(w.states, ['down', 'ready', 'ready'], 'every check on it fails')
    const flips = w.news.flatMap((news) => {
      if (news.kind !== 'check' || news.before.state === 'unknown') return []
      const { backend, service, status } = news.checked
      return [[backend.name, service.name, status.state, status.why]]
    })
    t.same(flips, [['a1', 'web', 'down', 'nothing listens']])
    w.sick.clear()
    await w.time.pass(RISE_MS)
    t.match(w.packed.get('web'), [1, 10, 10])
    t.same(w.states, ['ready', 'ready', 'ready'])
    const seen = new Set<number>()
    for (let second = 0; second < 35; second++) {
      await w.time.pass(1000)
      seen.add(w.packed.get('web')?.[0] ?? -1)
    }
    t.same([...seen], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].slice(seen.has(1) ? 0 : 1))
    t.equal(
      w.health.report().backends.find(({ share }) => share < 1),
      undefined,
    )
  },
)

t.test('health is per service: a backend may be down for one and up for another', async (t) => {
  const w = world(t, [WEB, API.replace('tcp: true', 'tcp: true, port: 8081'), PLAIN])
  await w.time.pass(3000)
  w.sick.add('10.0.0.1:8081')
  await w.time.pass(FALL_MS)
  t.same(w.packed.get('web'), [10, 10, 10])
  t.same(w.packed.get('api'), [0, 10, 10])
  t.same(w.states, ['ready', 'ready', 'ready'])
  w.sick.add('10.0.0.1')
  await w.time.pass(FALL_MS)
  t.same(w.packed.get('web'), [0, 10, 10])
  t.same(w.packed.get('plain'), [10, 10, 10])
  t.same(w.states, ['ready', 'ready', 'ready'], 'for the service without health it is up')
})

t.test('the operator takes a backend out and lets it come back, whatever its health', async (t) => {
  const w = world(t, [WEB, PLAIN])
  await w.time.pass(3000)
  for (const [word, state] of [
    ['draining', 'draining'],
    ['maintenance', 'down'],
  ] as const) {
    w.say('a3', word)
    await w.time.pass(500)
    t.same(
      [w.packed.get('web'), w.packed.get('plain')],
      [
        [10, 10, 0],
        [10, 10, 0],
      ],
      word,
    )
    t.same(w.states, ['ready', 'ready', state])
    t.match(w.health.report().services, [{ service: 'web', ready: 2, configured: 3 }, { ready: 2 }])
    w.say('a3', 'ready')
    await w.time.pass(500)
    t.same(w.packed.get('plain'), [10, 10, 10])
    t.same(w.packed.get('web'), [10, 10, 1], 'a slow start')
    await w.time.pass(31_000)
    t.same(w.packed.get('web'), [10, 10, 10])
  }
})

t.test(
  'of a node that drains or is in maintenance other PoPs are not to count on any service',
  async (t) => {
    const w = world(t, [WEB, PLAIN])
    await w.time.pass(3000)
    t.same(w.withheld, [])
    for (const word of ['draining', 'maintenance'] as const) {
      w.words = { ...w.words, node: word }
      w.health.look()
      await w.time.pass(500)
      t.same(w.withheld, ['web', 'plain'])
      t.same(w.packed.get('web'), [10, 10, 10], 'what still reaches it is served')
      w.words = { ...w.words, node: 'ready' }
      await w.time.pass(2000)
      t.same(w.withheld, [])
    }
  },
)

t.test(
  'without a backend that is up new connections go elsewhere; where nobody else is up either, to all',
  async (t) => {
    const w = world(t, [WEB])
    await w.time.pass(3000)
    for (const backend of popOf(w.fleet).backends) w.sick.add(backend.address)
    w.say('a2', 'draining')
    await w.time.pass(FALL_MS)
    t.same(w.packed.get('web'), [0, 0, 0])
    t.same(w.states, ['down', 'down', 'down'])
    t.match(w.health.report().services, [{ ready: 0, configured: 3 }])
    t.match(
      w.news.findLast(({ kind }) => kind === 'mode'),
      { kind: 'mode', mode: 'spill', before: 'checked' },
    )
    w.elsewhere = false
    await w.time.pass(2000)
    t.same(w.packed.get('web'), [10, 0, 10], 'but not to what the operator took out')
    t.match(
      w.health.report().services,
      [{ ready: 0, configured: 3 }],
      'and it does not count as serving',
    )
    t.same(w.withheld, ['web'])
    t.match(
      w.news.findLast(({ kind }) => kind === 'mode'),
      { kind: 'mode', mode: 'panic', before: 'spill' },
    )
    w.sick.delete('10.0.0.3')
    await w.time.pass(RISE_MS)
    t.match(w.packed.get('web'), [0, 0, 1])
    t.same(w.withheld, [])
    t.match(
      w.news.findLast(({ kind }) => kind === 'mode'),
      { kind: 'mode', mode: 'checked', before: 'panic' },
    )
  },
)

t.test(
  'changes that come together make one generation, and no more than a few in a second',
  async (t) => {
    const backends = Array.from({ length: 200 }, (_, i) => `{ name: b${i}, address: 10.0.2.${i} }`)
    const w = world(t, [WEB, API], backends.join(', '))
    await w.time.pass(5000)
    const before = w.replans
    for (const { address } of popOf(w.fleet).backends) w.sick.add(address)
    await w.time.pass(FALL_MS)
    t.same(
      w.packed.get('web')?.every((weight) => weight === 0),
      true,
    )
    t.ok(w.replans - before >= 1)
    t.ok(w.replans - before <= 4 * 5, `${w.replans - before} generations for 400 changes`)
    const settled = w.replans
    await w.time.pass(60_000)
    t.equal(w.replans, settled, 'none when nothing changes')
  },
)

t.test('a generation that could not be taken over is tried again', async (t) => {
  const w = world(t, [WEB])
  await w.time.pass(3000)
  const before = w.replans
  w.health.notPacked()
  await w.time.pass(2000)
  t.equal(w.replans, before + 1)
})

t.test('a reload that puts nothing in force swallows no change of health', async (t) => {
  const w = world(t, [WEB])
  await w.time.pass(3000)
  const before = w.replans
  w.sick.add('10.0.0.1')
  const isDown = (news: HealthNews) => news.kind === 'check' && news.checked.status.state === 'down'
  while (!w.news.some(isDown)) await w.time.pass(10)
  t.equal(w.replans, before, 'it waits for more to change')
  w.health.readiness(w.fleet, popOf(w.fleet))
  w.health.notPacked()
  await w.time.pass(2000)
  t.equal(w.replans, before + 1)
  t.equal(w.packed.get('web')?.[0], 0)
})

t.test(
  'a reload keeps the states of what stays, also when its check changes; what is new has to prove itself',
  async (t) => {
    const w = world(t, [WEB])
    w.sick.add('10.0.0.1')
    await w.time.pass(5000)
    t.same(w.packed.get('web'), [0, 10, 10])
    const more = `${BACKENDS}, { name: a4, address: 10.0.0.4 }`
    w.reload(fleetOf([WEB.replace('interval: 1s', 'interval: 2s'), PLAIN], more))
    t.same(w.packed.get('web'), [0, 10, 10, 0])
    await w.time.pass(1500)
    t.same(w.packed.get('web'), [0, 10, 10, 1], 'the new one comes with a slow start')
    w.reload(fleetOf([PLAIN]))
    const asked = w.checks.length
    await w.time.pass(10_000)
    t.equal(w.checks.length, asked, 'what is not in the file is not checked')
    t.same(w.health.report().backends, [])
  },
)

t.test(
  'checks begin within a second, keep their interval but for the jitter, and do not beat in step',
  async (t) => {
    const w = world(t, [WEB])
    await w.time.pass(120_000)
    const firsts = new Set<number>()
    for (const { address } of popOf(w.fleet).backends) {
      const times = w.checks.filter(({ at }) => at === address).map(({ atMs }) => atMs)
      const pauses = times.slice(1).map((atMs, i) => atMs - (times[i] ?? 0))
      firsts.add(times[0] ?? 0)
      t.ok((times[0] ?? 0) <= 1_001_000)
      t.ok(Math.min(...pauses) >= 1000 * (1 - JITTER) - 1)
      t.ok(Math.max(...pauses) <= 1000 * (1 + JITTER) + 1)
      t.ok(new Set(pauses.map(Math.round)).size > 50)
    }
    t.equal(firsts.size, 3)
  },
)

t.test('one seed gives one row of checks', async (t) => {
  const rows: unknown[] = []
  for (let i = 0; i < 2; i++) {
    const w = new World(fleetOf([WEB, API]), 7).start()
    await w.time.pass(30_000)
    w.health.stop()
    rows.push(w.checks)
    t.equal(w.time.waiting, 0, 'nothing waits after stop()')
  }
  t.same(rows[0], rows[1])
})

t.test('memory of the last life counts, and rise and fall with it', async (t) => {
  const w = new World(fleetOf([WEB.replace('rise: 2, fall: 3', 'rise: 9, fall: 9')]), 3)
  t.teardown(() => w.health.stop())
  w.sick.add('10.0.0.1')
  w.health.follow(w.fleet, popOf(w.fleet), (_, { name }) => ({
    state: name === 'a2' ? 'down' : 'up',
    sinceMs: 5,
    against: 0,
    recoveredMs: name === 'a3' ? w.time.nowMs() - 6000 : undefined,
    why: undefined,
    lastMs: undefined,
    durationMs: undefined,
  }))
  w.pack()
  t.same(w.packed.get('web'), [10, 0, 3], 'a slow start goes on')
  await w.time.pass(5000)
  t.same(w.packed.get('web')?.slice(0, 2), [10, 0], 'a few outcomes do not undo it')
  t.match(w.health.memory(), [{ state: 'up' }, { state: 'down', sinceMs: 5 }, { state: 'up' }])
})

t.test(
  'a probe fails after five losses in a row, and one success in between begins anew',
  async (t) => {
    const w = world(t, [WEB])
    await w.time.pass(10_000)
    t.match(w.health.report().probes, [{ service: 'web', ok: true, why: undefined }])
    w.reach = failed('timeout', 'no answer within 1000 ms')
    await w.time.pass(7000)
    w.reach = { ok: true }
    await w.time.pass(2500)
    w.reach = failed('timeout', 'no answer within 1000 ms')
    await w.time.pass(7000)
    t.same(w.said, [])
    await w.time.pass(5000)
    t.same(
      [...w.said.slice(0, 2), w.said[2]].map((text) => text?.replace(/a\d/, 'one')),
      ['web one down', 'web one down', 'web down'],
      'one after the other, and with the last one the service',
    )
    t.match(w.health.report().probes, [{ ok: false, why: 'no answer within 1000 ms' }])
    w.reach = { ok: true }
    await w.time.pass(5000)
    t.same(
      w.said.slice(3).map((text) => text.replace(/a\d/, 'one')),
      ['web up', 'web one up', 'web one up'],
    )
  },
)

t.test('a probe that has nothing to tell is no failure, and is told of once', async (t) => {
  const w = world(t, [WEB])
  w.reach = failed('timeout', 'no answer within 1000 ms')
  await w.time.pass(20_000)
  t.equal(w.said[0], 'web down', 'the first result of all decides')
  const before = w.said.length
  w.source = { kind: 'idle' }
  await w.time.pass(5000)
  t.same(w.health.report().probes, [], 'no backend here takes new connections')
  w.source = { kind: 'cannot', why: 'no address' }
  await w.time.pass(20_000)
  t.same(w.said.slice(before), ['web cannot: no address'])
  w.source = undefined
  await w.time.pass(5000)
  t.same(w.health.report().probes, [], 'a node that is filling')
  t.same(
    w.health.probeCounts.map(({ counts }) => [...counts.keys()]),
    [['timeout']],
  )
})

t.test('a backend that no probe reaches gets nothing while others are reached', async (t) => {
  const w = world(t, [WEB])
  await w.time.pass(10_000)
  t.same(w.packed.get('web'), [10, 10, 10])
  w.unreached.add('a2')
  await w.time.pass(13_000)
  t.same(w.said, ['web a2 down'])
  t.same(w.packed.get('web'), [10, 0, 10])
  t.match(w.health.report(), {
    probes: [{ ok: true }],
    backends: [{ path: 'up' }, { state: 'up', path: 'down', pathWhy: 'lost' }, { path: 'up' }],
    services: [{ ready: 2, configured: 3 }],
  })
  w.unreached.delete('a2')
  await w.time.pass(5000)
  t.same(w.said, ['web a2 down', 'web a2 up'])
  t.ok((w.packed.get('web')?.[1] ?? 0) > 0)
  t.ok((w.packed.get('web')?.[1] ?? 10) < 10, 'with slow start')
  await w.time.pass(60_000)
  t.same(w.packed.get('web'), [10, 10, 10])
})

t.test(
  'where no probe reaches any backend it is the path, and all keep what they had',
  async (t) => {
    const w = world(t, [WEB])
    await w.time.pass(10_000)
    for (const name of ['a1', 'a2', 'a3']) w.unreached.add(name)
    await w.time.pass(20_000)
    t.same(w.packed.get('web'), [10, 10, 10])
    t.match(w.health.report().probes, [{ ok: false }])
    t.same(w.withheld, ['web'])
  },
)

t.test(
  'a service that no probe reaches goes to other PoPs where another one is reached',
  async (t) => {
    const w = world(t, [WEB, API])
    await w.time.pass(10_000)
    w.lost.add('web')
    await w.time.pass(20_000)
    t.same(w.packed.get('web'), [0, 0, 0])
    t.same(w.packed.get('api'), [10, 10, 10])
    t.same(w.withheld, [], 'the path works')
    w.elsewhere = false
    await w.time.pass(2000)
    t.same(w.packed.get('web'), [10, 10, 10], 'nobody else would have them')
    w.lost.add('api')
    w.elsewhere = true
    await w.time.pass(20_000)
    t.same(w.packed.get('web'), [10, 10, 10], 'the path fails')
    t.same(w.withheld, ['web', 'api'])
  },
)

t.test('a backend that its check finds down, or that drains, is not probed', async (t) => {
  const w = world(t, [WEB])
  await w.time.pass(10_000)
  w.unreached.add('a1').add('a2')
  w.sick.add('10.0.0.1')
  w.say('a2', 'draining')
  await w.time.pass(30_000)
  t.same(w.said, [])
  t.match(w.health.report().backends, [{ path: 'unknown' }, { path: 'unknown' }, { path: 'up' }])
})

t.test('a node that drains probes nothing, and goes on when it is back', async (t) => {
  const w = world(t, [WEB])
  await w.time.pass(10_000)
  w.words = { ...w.words, node: 'draining' }
  w.health.look()
  await w.time.pass(3000)
  const [{ counts } = { counts: new Map() }] = w.health.probeCounts
  const before = counts.get('success')
  await w.time.pass(30_000)
  t.equal(counts.get('success'), before)
  t.same(w.health.report().probes, [])
  w.words = { ...w.words, node: 'ready' }
  await w.time.pass(5000)
  t.match(w.health.report().probes, [{ ok: true }])
})

t.test(
  'many backends share the probes of a second, and one that fails is looked at often',
  async (t) => {
    const many = Array.from({ length: 100 }, (_, i) => `{ name: b${i}, address: 10.0.1.${i + 1} }`)
    const w = new World(fleetOf([WEB], many.join(', ')), 7).start()
    await w.time.pass(20_000)
    const [{ counts } = { counts: new Map() }] = w.health.probeCounts
    const before = counts.get('success') ?? 0
    await w.time.pass(60_000)
    const inMinute = (counts.get('success') ?? 0) - before
    t.ok(inMinute > 500 && inMinute < 700, `${inMinute} in a minute`)
    w.unreached.add('b7')
    await w.time.pass(12_000 + 12_000)
    t.same(w.said, ['web b7 down'])
    w.health.stop()
  },
)

t.test('backends that are dead everywhere do not count against the path', async (t) => {
  const w = world(t, [WEB])
  w.elsewhere = false
  await w.time.pass(10_000)
  for (const { address } of popOf(w.fleet).backends) w.sick.add(address)
  w.reach = failed('timeout', 'no answer within 1000 ms')
  await w.time.pass(60_000)
  t.match(
    w.news.findLast(({ kind }) => kind === 'mode'),
    { mode: 'panic' },
  )
  t.same(w.said, [])
  t.same(w.health.report().probes, [])
})

t.test('a check that is slow to fail is over before the probe fails', async (t) => {
  const slow = WEB.replace('interval: 1s, timeout: 500ms', 'interval: 5s, timeout: 5s')
  for (let i = 0; i < 20; i++) {
    const w = world(t, [slow])
    await w.time.pass(30_000)
    for (const { address } of popOf(w.fleet).backends) w.sick.add(address)
    w.reach = failed('refused', 'nothing listens')
    await w.time.pass(60_000)
    t.match(
      w.news.findLast(({ kind }) => kind === 'mode'),
      { mode: 'spill', before: 'checked' },
    )
    t.same(w.said, [])
  }
  const w = world(t, [slow])
  await w.time.pass(30_000)
  w.reach = failed('timeout', 'no answer within 1000 ms')
  await w.time.pass(60_000)
  t.equal(w.said.at(-1), 'web down', 'a path that swallows packets is noticed all the same')
})

t.test('other PoPs hear at once that the path fails', async (t) => {
  for (let i = 0; i < 20; i++) {
    const w = world(t, [WEB])
    await w.time.pass(10_000)
    w.reach = failed('timeout', 'no answer within 1000 ms')
    for (let ms = 0; ms < 20_000 && !w.said.includes('web down'); ms++) await w.time.pass(1)
    t.equal(w.said.at(-1), 'web down')
    await w.time.pass(REPLAN_MS)
    t.same(w.withheld, ['web'])
  }
})

t.test(
  'a starting node is not known to serve before its first connection through the VIP',
  async (t) => {
    const start = () => {
      const w = world(t, [WEB])
      w.source = undefined
      return w
    }
    const served = (w: World) => {
      const pop = popOf(w.fleet)
      const { fleet } = w
      const role = { kind: 'node', nodeId: pop.nodes[0]?.id ?? 0, keys: [] } as const
      const generation = packGeneration(fleet, role, 1500, w.health.readiness(fleet, pop))
      const plan = { fleet, pop, generation } as NodePlan
      const inputs = inputsOf({
        plan,
        worker: undefined,
        health: w.health.report(),
        word: 'ready',
        announced: false,
        nowMs: 0,
      })
      return inputs.served.get('web')
    }
    const from = { kind: 'from', address: '192.0.2.1', port: 40_000 } as const
    const well = start()
    await well.time.pass(20_000)
    t.equal(served(well), undefined, 'it fills')
    well.source = from
    await well.time.pass(1000)
    t.equal(served(well), true)
    t.same(well.said, [])
    well.source = { kind: 'idle' }
    await well.time.pass(10_000)
    t.equal(served(well), true, 'what is known once is not waited for again')

    const broken = start()
    await broken.time.pass(3000)
    broken.source = from
    broken.reach = failed('timeout', 'no answer within 1000 ms')
    await broken.time.pass(1000)
    t.equal(served(broken), false, 'the first one decides')
    t.equal(broken.said[0], 'web down')

    const busy = start()
    await busy.time.pass(3000)
    busy.source = from
    busy.reach = undefined
    await busy.time.pass(FIRST_RESULT_LIMIT_MS - 1000)
    t.equal(served(busy), undefined, 'no port is free')
    await busy.time.pass(2000)
    t.equal(served(busy), true, 'and it does not wait for ever')

    const unable = start()
    unable.source = { kind: 'cannot', why: 'no address' }
    await unable.time.pass(3000)
    t.equal(served(unable), true, 'nor for what cannot be had')
  },
)

t.test('a port that is taken counts for nothing', async (t) => {
  const w = world(t, [WEB])
  w.reach = undefined
  await w.time.pass(20_000)
  t.same(w.health.report().probes, [])
})

t.test('only what can be probed is: TCP services with health, unless told not to', async (t) => {
  const udp = `{ name: dns, vip: 198.51.100.3, ports: [53], protocol: udp, ${HEALTH} }`
  const quiet = API.replace('tcp: true', 'tcp: true, probe: false')
  const w = world(t, [WEB, quiet, udp, PLAIN])
  await w.time.pass(10_000)
  t.same(
    w.health.report().probes.map(({ service }) => service),
    ['web'],
  )
})

t.test('a path is unable when no probe gets through', async (t) => {
  const probe = (service: string, ok: boolean) => ({
    service,
    ok,
    why: ok ? undefined : 'lost',
    sinceMs: 0,
  })
  t.same(pathAble([]), { ok: true })
  t.same(pathAble([probe('a', false), probe('b', true)]), { ok: true })
  t.same(pathAble([probe('a', false)]), {
    ok: false,
    why: 'no connection through the VIP reaches service a: lost',
  })
  t.match(pathAble([probe('a', false), probe('b', false)]), { ok: false, why: /\(nor to 1 more\)/ })
})
