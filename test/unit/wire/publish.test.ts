// Publications: a real node and a peer that the test plays, which loses, repeats and reorders batches.

import t from 'tap'
import { MS, SECOND } from '../../vectors/bench.js'
import { join, patched } from '../../vectors/bytes.js'
import { tcp } from '../../vectors/packets.js'
import { sampleFleet } from '../../vectors/samples.js'
import type { ScriptedPeer } from '../../vectors/session.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, CONNECTION4, connectionWith } from '../../vectors/vector.js'
import {
  controlWithTag,
  encodeBody,
  encodeOuter,
  type FlowRecord,
  gueHeader,
  type Message,
} from '../../vectors/wire.js'

const fleet = sampleFleet({ pops: 2 })
const wide = sampleFleet({ pops: 2, nodesPerPop: 2 })

type Publish = Extract<Message, { readonly verb: 'PUBLISH' }>

function joined(flowEntries = 1024): {
  readonly stage: Stage
  readonly peer: ScriptedPeer
  readonly cast: Cast
} {
  const stage = new Stage({ fleet, node: 'a1', peers: ['b1'], flowEntries })
  stage.join()
  return { stage, peer: stage.peer('b1'), cast: new Cast(stage) }
}

const syn = (sport: number) => tcp({ ...CONNECTION4, sport, flags: 'S' })

const batchesOf = (messages: readonly Publish[]) => messages.map(({ batch }) => batch)

t.test('a new flow is published within 10 ms, again when it is established', async (t) => {
  const { stage, peer, cast } = joined()
  const flow = cast.flow(syn(40001))
  const backend = cast.choice(syn(40001)).id
  const record = { flow, backend, age: 0, idle: 0 } as const
  stage.send(syn(40001))
  stage.pass(10n * MS)
  t.match(stage.saidTo(peer, 'PUBLISH'), [
    { batch: 1n, records: [{ ...record, state: 'half-open' }] },
  ])
  stage.send(tcp({ ...CONNECTION4, flags: 'A' }))
  stage.pass(10n * MS)
  t.match(stage.saidTo(peer, 'PUBLISH').slice(1), [
    { batch: 2n, records: [{ ...record, state: 'established' }] },
  ])
  stage.send(tcp({ ...CONNECTION4, flags: 'A' }))
  stage.pass(SECOND)
  t.equal(stage.saidTo(peer, 'PUBLISH').length, 2, 'what has not changed is not said again')
  t.equal(stage.bench.count('publish_flows_sent'), 2n)
  t.equal(stage.bench.count('publish_batches_acked'), 2n)
  t.equal(stage.bench.look().peers[0]?.unacked, 0)
})

t.test('ages are in units of two seconds', async (t) => {
  const { stage, peer } = joined()
  stage.send(syn(40001))
  stage.pass(7n * SECOND)
  stage.send(tcp({ ...CONNECTION4, flags: 'A' }))
  stage.pass(10n * MS)
  const [, second] = stage.saidTo(peer, 'PUBLISH')
  const [record] = second?.records ?? []
  t.equal(record?.state, 'established')
  t.ok(record?.age === 3 || record?.age === 4, `age ${record?.age} after 7 s`)
  t.equal(record?.idle, 0)
})

t.test('many flows share batches of 64 at most', async (t) => {
  const { stage, peer, cast } = joined(4096)
  const ports = Array.from({ length: 500 }, (_, i) => 40000 + i)
  for (const port of ports) stage.send(syn(port))
  stage.pass(SECOND)
  const batches = stage.saidTo(peer, 'PUBLISH')
  t.ok(batches.every(({ records }) => records.length <= 64))
  t.same(
    batchesOf(batches),
    batches.map((_, i) => BigInt(i + 1)),
    'numbered without holes',
  )
  const said = new Set(batches.flatMap(({ records }) => records.map(({ flow }) => flow)))
  t.same(said, new Set(ports.map((port) => cast.flow(syn(port)))))
})

t.test('each PoP hears of a flow at its home, and the own PoP at the second node', async (t) => {
  const stage = new Stage({ fleet: wide, node: 'a1', peers: ['a2', 'b1', 'b2'] })
  stage.join()
  const connection = connectionWith(wide, { a: 'a1', b: 'b2' })
  stage.send(tcp({ ...connection, flags: 'S' }))
  stage.pass(10n * MS)
  const heard = (name: string) => stage.saidTo(stage.peer(name), 'PUBLISH').length
  t.same({ a2: heard('a2'), b1: heard('b1'), b2: heard('b2') }, { a2: 1, b1: 0, b2: 1 })
})

t.test('a batch that stays unacknowledged goes again after 400 ms, newly numbered', async (t) => {
  const { stage, peer } = joined()
  stage.lose = ({ verb }) => verb === 'PUBLISH'
  stage.send(syn(40001))
  stage.pass(10n * MS)
  const [first] = stage.saidTo(peer, 'PUBLISH')
  stage.pass(380n * MS)
  t.equal(stage.saidTo(peer, 'PUBLISH').length, 1, 'not before')
  stage.pass(30n * MS)
  const [, second] = stage.saidTo(peer, 'PUBLISH')
  t.equal(second?.batch, first?.batch)
  t.same(second?.records, first?.records)
  t.ok((second?.sequence ?? 0n) > (first?.sequence ?? 0n))
  t.equal(stage.bench.look().peers[0]?.unacked, 1)
  stage.lose = () => false
  stage.pass(SECOND)
  t.equal(stage.saidTo(peer, 'PUBLISH').length, 3)
  t.equal(stage.bench.count('publish_batches_resent'), 2n)
  t.equal(stage.bench.count('publish_batches_acked'), 1n)
  t.equal(stage.bench.look().peers[0]?.unacked, 0)
})

t.test('only the batches that the mask does not name go again', async (t) => {
  const { stage, peer } = joined()
  stage.lose = (message) => message.verb === 'PUBLISH' && message.batch === 2n
  for (const port of [40001, 40002, 40003, 40004]) {
    stage.send(syn(port))
    stage.pass(10n * MS)
  }
  t.same(batchesOf(stage.saidTo(peer, 'PUBLISH')), [1n, 2n, 3n, 4n])
  stage.pass(300n * MS)
  t.ok((stage.bench.look().peers[0]?.unacked ?? 0) > 0)
  stage.lose = () => false
  stage.pass(SECOND)
  t.same(batchesOf(stage.saidTo(peer, 'PUBLISH')), [1n, 2n, 3n, 4n, 2n])
  t.equal(stage.bench.look().peers[0]?.unacked, 0)
})

function recordOf(cast: Cast, sport: number, said: Partial<FlowRecord> = {}): FlowRecord {
  const packet = syn(sport)
  const pop = cast.fleet.pops[1] ?? cast.pop
  return {
    flow: cast.flow(packet),
    backend: cast.choice(packet, pop).id,
    state: 'established',
    age: 3,
    idle: 0,
    ...said,
  }
}

t.test('batches are acknowledged within 20 ms, those behind a gap in the mask', async (t) => {
  const { stage, peer, cast } = joined()
  const acknowledged = () => {
    const last = stage.saidTo(peer, 'HELLO').at(-1)
    return [last?.batchesTaken, last?.batchesMask]
  }
  stage.silent.add(peer)
  const take = (batch: bigint) => {
    stage.send(peer.publish([recordOf(cast, 50000 + Number(batch))], batch))
    stage.pass(20n * MS)
  }
  t.same(acknowledged(), [0n, 0n])
  take(1n)
  t.same(acknowledged(), [1n, 0n])
  take(3n)
  t.same(acknowledged(), [1n, 0b1n])
  take(6n)
  t.same(acknowledged(), [1n, 0b1001n])
  take(2n)
  t.same(acknowledged(), [3n, 0b10n])
  take(4n)
  take(5n)
  t.same(acknowledged(), [6n, 0n])
  take(1n)
  t.same(acknowledged(), [6n, 0n], 'acknowledged again')
  t.equal(stage.bench.count('publish_flows_received'), 6n, 'each taken in once')
})

t.test('a batch beyond the reach of the mask is not taken in, and not acknowledged', async (t) => {
  const { stage, peer, cast } = joined()
  stage.send(peer.publish([recordOf(cast, 50001)], 65n))
  stage.send(peer.publish([recordOf(cast, 50002)], 66n))
  stage.pass(20n * MS)
  const last = stage.saidTo(peer, 'HELLO').at(-1)
  t.match(last, { batchesTaken: 0n, batchesMask: 1n << 63n })
  t.equal(stage.bench.count('publish_flows_received'), 1n)
})

t.test('a record of an unknown state is skipped, the others of its batch are not', async (t) => {
  const { stage, peer, cast } = joined()
  const sound = recordOf(cast, 50001)
  const body = encodeBody({ verb: 'PUBLISH', batch: 1n, records: [sound, sound] })
  const raw = { ...peer.envelope(), verb: 5, keyId: peer.key.id }
  // The second record's flow is another, and its state 7.
  const strange = patched(patched(body, 32, 1), 44, 7 << 5)
  const message = controlWithTag(peer.path, peer.key.key, raw, strange)
  const gue = join(gueHeader({ control: true, protoOrCtype: 128 }), message)
  stage.send(encodeOuter(peer.path, 6080, 0, gue))
  t.equal(stage.bench.count('publish_flows_received'), 2n)
  t.equal(stage.bench.look().flowsEstablished, 1)
})

t.test('a connection that was closed is published as closing, then as ended', async (t) => {
  const { stage, peer } = joined()
  for (const flags of ['S', 'A', 'FA']) {
    stage.send(tcp({ ...CONNECTION4, flags }))
    stage.pass(10n * MS)
  }
  // 60 s after its last packet, and the sweep that finds it comes round once a minute.
  stage.pass(125n * SECOND)
  const states = stage
    .saidTo(peer, 'PUBLISH')
    .flatMap(({ records }) => records.map(({ state }) => state))
  const changes = states.filter((state, i) => state !== states[i - 1])
  t.same(changes, ['half-open', 'established', 'closing', 'ended'])
  t.equal(stage.bench.look().flowsClosing, 0)
})

t.test('a living flow is published again every five minutes', async (t) => {
  const { stage, peer } = joined()
  const ack = tcp({ ...CONNECTION4, flags: 'A' })
  stage.send(syn(40001), ack)
  const began = stage.bench.nowUs
  for (let minute = 0; minute < 16; minute++) {
    stage.pass(60n * SECOND)
    stage.send(ack)
  }
  const at = stage.heard
    .filter(({ message }) => message.verb === 'PUBLISH')
    .map(({ atUs }) => Number((atUs - began) / SECOND))
  const gaps = at.map((second, i) => second - (at[i - 1] ?? 0))
  t.ok(
    gaps.every((gap) => gap <= 302),
    `said after ${at} s`,
  )
  t.ok(at.length >= 4 && at.length <= 6, `${at.length} times in 16 minutes`)
  const last = stage.saidTo(peer, 'PUBLISH').at(-1)
  const age = Math.floor((at.at(-1) ?? 0) / 2)
  const said = last?.records[0]?.age ?? -1
  t.ok(said === age || said === age + 1, `age ${said} units of 2 s, begun and said within one`)
})

t.test('a window that overflows withdraws the walk, which then says all again', async (t) => {
  const { stage, peer, cast } = joined(4096)
  const ports = Array.from({ length: 400 }, (_, i) => 40000 + i)
  stage.lose = ({ verb }) => verb === 'PUBLISH'
  for (const port of ports) {
    stage.send(syn(port))
    stage.pass(4n * MS)
  }
  t.ok(stage.bench.count('publish_overflow') > 0n)
  stage.pass(SECOND)
  t.equal(stage.saidTo(peer, 'HELLO').at(-1)?.walked, false)
  stage.lose = () => false
  const from = stage.bench.nowUs
  stage.pass(10n * SECOND)
  const last = stage.saidTo(peer, 'HELLO').at(-1)
  t.equal(last?.walked, true)
  t.equal(stage.bench.look().peers[0]?.unacked, 0)
  const said = new Set(
    stage.saidTo(peer, 'PUBLISH', from).flatMap(({ records }) => records.map(({ flow }) => flow)),
  )
  for (const port of ports) t.ok(said.has(cast.flow(syn(port))), `port ${port}`)
})

t.test('of a flood of new flows 16384 a second are published, and H says so', async (t) => {
  const { stage, peer, cast } = joined(1 << 20)
  const saysH = () => stage.saidTo(peer, 'HELLO').at(-1)?.withholds
  const published = () => {
    const batches = stage.saidTo(peer, 'PUBLISH')
    return new Set(batches.flatMap(({ records }) => records.map(({ flow }) => flow)))
  }
  // 32000 a second; the peer acknowledges every 100 ms.
  const begin = (from: number, count: number) => {
    for (let sent = 0; sent < count; sent += 640) {
      for (let i = 0; i < 640; i += 64) {
        stage.send(...Array.from({ length: 64 }, (_, k) => syn(from + sent + i + k)))
      }
      stage.pass(20n * MS)
    }
  }
  begin(1, 12_800)
  stage.pass(200n * MS)
  t.equal(saysH(), false)
  t.equal(published().size, 12_800)
  begin(20_001, 9600)
  stage.pass(200n * MS)
  const { size } = published()
  t.ok(size > 16_000 && size <= 16_384, `${size} flows published`)
  t.equal(stage.bench.count('publish_withheld') >= 12_800n + 9600n - 16_384n, true)
  t.equal(stage.bench.count('publish_overflow'), 0n)
  const held = cast.flow(syn(29_600))
  t.notOk(published().has(held))
  stage.pass(SECOND)
  t.equal(saysH(), true)
  stage.send(tcp({ ...CONNECTION4, sport: 29_600, flags: 'A' }))
  stage.pass(100n * MS)
  t.ok(published().has(held), 'what is established is published')
  stage.pass(60n * SECOND)
  t.equal(saysH(), true, 'the others may be half-open still')
  stage.pass(8n * SECOND)
  t.equal(saysH(), false, 'half-open flows live 65 s')
})

t.test('a walk tells of flows whose backend is configured elsewhere only, too', async (t) => {
  const { stage, peer, cast } = joined()
  const strange = recordOf(cast, 50001, { backend: 0x00200001 })
  stage.send(peer.publish([strange]))
  const restarted = stage.restart('b1')
  stage.pass(2n * SECOND)
  t.equal(stage.saidTo(restarted, 'HELLO').at(-1)?.walked, true)
  const said = stage.saidTo(restarted, 'PUBLISH').flatMap(({ records }) => records)
  t.match(said, [{ flow: strange.flow, backend: strange.backend, state: 'established' }])
})
