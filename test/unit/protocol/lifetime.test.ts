// How long a node knows a flow: what makes room in a full table, and when an entry expires.

import t from 'tap'
import { Bench, MS, SECOND } from '../../vectors/bench.js'
import { tcp } from '../../vectors/packets.js'
import { SERVICES, sampleFleet } from '../../vectors/samples.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, CONNECTION4 } from '../../vectors/vector.js'

const MINUTE = 60n * SECOND
const HOUR = 60n * MINUTE

/** One bucket: every flow competes with every other. */
const FOUR_ENTRIES = 4

const alone = (flowEntries = FOUR_ENTRIES) =>
  new Bench({ fleet: sampleFleet(), node: 'a1', flowEntries })

const packet = (flow: number, flags: string) => tcp({ ...CONNECTION4, sport: 40000 + flow, flags })

/** A flow in a state of its own, three seconds before the next. */
function make(bench: Bench, flow: number, state: 'half-open' | 'established' | 'closing'): void {
  const flags = { 'half-open': ['S'], established: ['S', 'A'], closing: ['S', 'A', 'FA'] }[state]
  for (const letters of flags) bench.send(packet(flow, letters))
  bench.pass(3n * SECOND)
}

/** A packet that makes no flow known: whether one is, and it reaches a backend. */
function knows(bench: Bench, flow: number): boolean {
  const before = bench.count('delivered_gue')
  bench.send(packet(flow, 'A'))
  return bench.count('delivered_gue') === before + 1n
}

const states = (bench: Bench) => {
  const { flowsHalfOpen, flowsEstablished, flowsClosing } = bench.look()
  return [flowsHalfOpen, flowsEstablished, flowsClosing]
}

t.test('a full table makes room for a SYN: the longest idle half-open flow first', async (t) => {
  const bench = alone()
  make(bench, 1, 'established')
  make(bench, 2, 'closing')
  make(bench, 3, 'half-open')
  make(bench, 4, 'half-open')
  make(bench, 5, 'half-open')
  t.same(states(bench), [2, 1, 1])
  t.equal(bench.count('flows_evicted_half_open'), 1n)
  t.notOk(knows(bench, 3), 'the oldest half-open flow is gone')
  for (const flow of [1, 2, 4, 5]) t.ok(knows(bench, flow), `flow ${flow} is there`)
})

t.test('then the longest idle closing flow', async (t) => {
  const bench = alone()
  make(bench, 1, 'closing')
  make(bench, 2, 'closing')
  make(bench, 3, 'established')
  make(bench, 4, 'established')
  bench.send(packet(1, 'A'))
  bench.pass(3n * SECOND)
  make(bench, 5, 'established')
  t.same(states(bench), [0, 3, 1])
  t.equal(bench.count('flows_evicted_closing'), 1n)
  t.notOk(knows(bench, 2), 'it was silent for longer than flow 1')
  t.ok(knows(bench, 1))
})

t.test('a SYN never evicts an established flow', async (t) => {
  const bench = alone()
  for (const flow of [1, 2, 3, 4]) make(bench, flow, 'established')
  for (let flow = 10; flow < 1000; flow++) bench.send(packet(flow, 'S'))
  t.same(states(bench), [0, 4, 0])
  t.equal(bench.count('table_full'), 990n)
  t.equal(bench.count('flows_evicted_idle'), 0n)
  for (const flow of [1, 2, 3, 4]) t.ok(knows(bench, flow))
})

t.test('a flood of SYNs leaves established flows of a large table alone', async (t) => {
  const bench = alone(1024)
  for (let flow = 0; flow < 500; flow++) bench.send(packet(flow, 'S'), packet(flow, 'A'))
  for (let flow = 1000; flow < 20_000; flow++) bench.send(packet(flow, 'S'))
  const [halfOpen = 0, established, closing] = states(bench)
  t.same([established, closing], [500, 0])
  t.ok(halfOpen > 450 && halfOpen <= 524, `${halfOpen} half-open flows`)
  t.equal(bench.count('flows_evicted_idle'), 0n)
  for (let flow = 0; flow < 500; flow++) t.ok(knows(bench, flow))
  t.equal(bench.accounted(), undefined)
})

t.test('what another PoP knows to live evicts the longest idle established flow', async (t) => {
  const fleet = sampleFleet({ pops: 2 })
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1'], flowEntries: FOUR_ENTRIES })
  stage.join()
  const { bench } = stage
  for (const flow of [1, 2, 3, 4]) {
    bench.send(packet(flow, 'S'), packet(flow, 'A'))
    stage.pass(3n * SECOND)
  }
  bench.send(packet(1, 'A'))
  const inner = packet(5, 'A')
  const cast = new Cast(stage)
  const data = { verb: 'FORWARD', backend: cast.choice(inner).id } as const
  t.equal(bench.send(stage.peer('a1').send(cast.flow(inner), data, inner)).length, 1)
  t.equal(bench.count('flows_learned'), 1n)
  t.equal(bench.count('flows_evicted_idle'), 1n)
  t.notOk(knows(bench, 2), 'the longest idle')
  for (const flow of [1, 3, 4, 5]) t.ok(knows(bench, flow), `flow ${flow}`)
})

/** Whether a flow in this state is known after so much silence. Nothing looks at it meanwhile. */
function knownAfter(
  state: 'half-open' | 'established' | 'closing',
  silence: bigint,
  services = SERVICES,
): boolean {
  const bench = new Bench({ fleet: sampleFleet({ services }), node: 'a1' })
  const flags = { 'half-open': ['S'], established: ['S', 'A'], closing: ['S', 'A', 'FA'] }[state]
  for (const letters of flags) bench.send(packet(1, letters))
  bench.pass(silence, SECOND)
  return knows(bench, 1)
}

t.test('a half-open flow is forgotten after 65 s', async (t) => {
  t.ok(knownAfter('half-open', 60n * SECOND))
  t.notOk(knownAfter('half-open', 70n * SECOND))
})

t.test('a closing flow is forgotten 60 s after its last packet', async (t) => {
  t.ok(knownAfter('closing', 55n * SECOND))
  t.notOk(knownAfter('closing', 65n * SECOND))
})

t.test('an established flow is forgotten after three silent hours', async (t) => {
  t.ok(knownAfter('established', 3n * HOUR - 10n * SECOND))
  t.notOk(knownAfter('established', 3n * HOUR + 10n * SECOND))
})

t.test("a service's own times are kept", async (t) => {
  const services = SERVICES.map((each) => ({ ...each, halfOpenS: 10, idleS: 600, closingS: 20 }))
  t.ok(knownAfter('half-open', 8n * SECOND, services))
  t.notOk(knownAfter('half-open', 14n * SECOND, services))
  t.ok(knownAfter('established', 590n * SECOND, services))
  t.notOk(knownAfter('established', 610n * SECOND, services))
  t.ok(knownAfter('closing', 16n * SECOND, services))
  t.notOk(knownAfter('closing', 26n * SECOND, services))
})

t.test('packets keep a flow, also one that one side has closed', async (t) => {
  for (const flags of ['A', 'FA']) {
    const bench = alone(1024)
    bench.send(packet(1, 'S'), packet(1, 'A'), packet(1, flags))
    for (let i = 0; i < 100; i++) {
      bench.pass(50n * SECOND, SECOND)
      t.ok(knows(bench, 1))
    }
    t.equal(bench.count('flows_expired'), 0n)
  }
})

t.test('an entry that expired is counted once and its place is free', async (t) => {
  const bench = alone()
  for (const flow of [1, 2, 3, 4]) make(bench, flow, 'half-open')
  bench.pass(130n * SECOND, 100n * MS)
  t.same(states(bench), [0, 0, 0])
  t.equal(bench.count('flows_expired'), 4n)
  for (const flow of [5, 6, 7, 8]) make(bench, flow, 'established')
  t.same(states(bench), [0, 4, 0])
  t.equal(bench.count('table_full'), 0n)
})
