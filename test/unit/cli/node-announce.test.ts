// What announcements are decided from: the words of other PoPs' nodes, this node's own path, its checks.

import t from 'tap'
import { FRESH, look } from '../../../src/announce/rules.js'
import { inputsOf } from '../../../src/cli/node-announce.js'
import type { NodePlan } from '../../../src/cli/node-plan.js'
import type { PeerView, WorkerHandle } from '../../../src/dataplane/addon.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import type { HealthReport } from '../../../src/health/report.js'
import { fleetOf } from '../status/fixture.js'

const NOW_MS = 1_000_000
const TIMING = { dePreferredMs: 30_000, holdDownMs: 10_000, maxHoldDownMs: 600_000 }
const PREFIX = { prefix: '198.51.100.0/24', family: 4, upWhen: 'any', services: ['web'] } as const

const fleet = fleetOf()
const [pop] = fleet.pops
const [self] = pop?.nodes ?? []
if (pop === undefined || self === undefined) throw new Error('the fleet has a node')
const side = { kind: 'node', nodeId: self.id, keys: [{ id: 1, key: new Uint8Array(16) }] } as const
const plan = { fleet, pop, self, generation: packGeneration(fleet, side, 1500) } as NodePlan

function peer(name: string, more: Partial<PeerView> = {}): PeerView {
  const node = fleet.pops.flatMap(({ nodes }) => nodes).find((one) => one.name === name)
  if (node === undefined) throw new Error(`no node ${name}`)
  return {
    nodeId: node.id,
    popId: node.popId,
    up: true,
    filled: true,
    peerFilled: true,
    draining: false,
    silent: false,
    fleetDigest: 0,
    version: 2,
    rttUs: 1,
    unacked: 0,
    unserved: [],
    ...more,
  }
}

function grounds(peers: readonly PeerView[], health: Partial<HealthReport>, announced = true) {
  const view = { filled: true, recalling: false, peers }
  const worker = { status: () => ({ error: null, busyUs: 0, loops: 1, view }) }
  const report: HealthReport = {
    backends: [],
    services: [
      { service: 'web', ready: 2, configured: 2 },
      { service: 'dns', ready: 1, configured: 1 },
    ],
    probes: [],
    unprobed: [],
    ...health,
  }
  return inputsOf({
    plan,
    worker: worker as unknown as WorkerHandle,
    health: report,
    word: 'ready',
    announced,
    nowMs: NOW_MS,
  })
}

const failing = (forMs: number): Partial<HealthReport> => ({
  probes: [{ service: 'web', ok: false, why: 'no answer', sinceMs: NOW_MS - forMs }],
})
const stateOf = (inputs: ReturnType<typeof inputsOf>, heldUntilMs = 0) => {
  const before = { ...FRESH, heldUntilMs }
  return look(PREFIX, TIMING, inputs, before, NOW_MS).report
}

t.test('a path that has just begun to fail is told of before it is acted upon', async (t) => {
  const others = [peer('ams-2'), peer('nyc-1')]
  t.equal(grounds(others, failing(3900)).served.get('web'), true)
  t.equal(grounds(others, failing(4000)).served.get('web'), false)
  t.equal(stateOf(grounds(others, failing(4000))).state, 'withdrawn')
  t.equal(
    grounds(others, failing(0), false).served.get('web'),
    false,
    'by one that is not announced',
  )
})

t.test('a path that fails everywhere leaves all PoPs announced', async (t) => {
  const inputs = grounds([peer('nyc-1', { unserved: [0, 1, 2], draining: true })], failing(60_000))
  t.match(stateOf(inputs), { state: 'announced', lastAnnouncer: true })
})

t.test('a failing path gives way to a node of its own PoP that may be well', async (t) => {
  const nobody = peer('nyc-1', { unserved: [0, 1, 2] })
  const inputs = grounds([peer('ams-2'), nobody], failing(60_000))
  t.match(stateOf(inputs), { state: 'de-preferred', lastAnnouncer: true })
  const drained = grounds([peer('ams-2', { draining: true }), nobody], failing(60_000))
  t.match(stateOf(drained), { state: 'announced', lastAnnouncer: true })
})

t.test('PoPs that have not told what they serve may serve, or not', async (t) => {
  const inputs = grounds([peer('nyc-1', { unserved: null, version: 1 })], failing(60_000))
  t.match(stateOf(inputs), { state: 'de-preferred', lastAnnouncer: true })
})

t.test('PoPs that all hold down announce, for none of them is announced', async (t) => {
  const held = NOW_MS + 100_000
  t.equal(stateOf(grounds([peer('nyc-1')], {}), held).state, 'withdrawn')
  t.equal(stateOf(grounds([peer('nyc-1', { silent: true })], {}), held).state, 'announced')
})

t.test('what another PoP serves is served by spill, also while it announces nothing', async (t) => {
  const services = [{ service: 'web', ready: 0, configured: 2 }]
  for (const silent of [false, true]) {
    t.equal(grounds([peer('nyc-1', { silent })], { services }).served.get('web'), true)
  }
  t.equal(grounds([peer('nyc-1', { unserved: [0] })], { services }).served.get('web'), false)
})
