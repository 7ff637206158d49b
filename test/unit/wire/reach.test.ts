// REACH, and the limits of what a node hands on: a real node and peers that the test plays. To whom it hands a packet is
// in test/vectors/vectors-reach.ts.

import t from 'tap'
import { MS, SECOND } from '../../vectors/bench.js'
import { PROTO, serviceId } from '../../vectors/names.js'
import { tcp } from '../../vectors/packets.js'
import { popNamed, sampleFleet, withoutBackends } from '../../vectors/samples.js'
import type { ScriptedPeer } from '../../vectors/session.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, CONNECTION4 } from '../../vectors/vector.js'
import { recordOf } from '../../vectors/vectors-fleet.js'

const FLOOD_BURST = 64

/** Two nodes in every PoP; the node is b1. */
function wide(): Stage {
  const fleet = sampleFleet({ pops: 3, nodesPerPop: 2 })
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1', 'a2', 'b2', 'c1', 'c2'] })
  stage.join()
  return stage
}

const reachTo = (stage: Stage, name: string, sinceUs: bigint) =>
  stage.saidTo(stage.peer(name), 'REACH', sinceUs).map(({ pops }) => pops)

const silence = (stage: Stage, ...names: readonly string[]) => {
  for (const name of names) stage.silent.add(stage.peer(name))
}

t.test('REACH goes every second to every live peer of another PoP, in version 2', async (t) => {
  const stage = wide()
  stage.pass(2n * SECOND)
  const from = stage.bench.nowUs
  stage.pass(10n * SECOND)
  for (const name of ['a1', 'a2', 'c1', 'c2']) {
    const said = reachTo(stage, name, from)
    t.ok(said.length >= 9 && said.length <= 11, `${name}: ${said.length} in 10 s`)
    for (const pops of said) t.same(pops, [], 'everybody is heard')
  }
  t.same(reachTo(stage, 'b2', 0n), [], 'not to the own PoP')
})

t.test('REACH names every service that a PoP without a backend does not serve', async (t) => {
  const fleet = withoutBackends(sampleFleet({ pops: 2 }), 'b')
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1'] })
  stage.join()
  const from = stage.bench.nowUs
  stage.pass(2n * SECOND)
  const ids = fleet.services.flatMap(({ vip, ports, protocol }) =>
    ports.map((port) => serviceId(fleet.hashSeed, vip, port, PROTO[protocol])),
  )
  const said = stage.saidTo(stage.peer('a1'), 'REACH', from)
  t.ok(said.length > 0)
  for (const { services } of said) t.same(services, ids)
})

t.test('REACH names a PoP when no node of it is heard any more, at once', async (t) => {
  const stage = wide()
  const { id } = popNamed(stage.bench.fleet, 'c')
  silence(stage, 'c1')
  stage.pass(5n * SECOND)
  let from = stage.bench.nowUs
  stage.pass(2n * SECOND)
  for (const pops of reachTo(stage, 'a1', from)) t.same(pops, [], 'one of two is heard')
  silence(stage, 'c2')
  while (
    stage.bench.look().peers.some(({ nodeId, up }) => nodeId === stage.peer('c2').self.id && up)
  ) {
    stage.pass(2n * MS)
  }
  from = stage.bench.nowUs
  stage.pass(4n * MS)
  t.same(reachTo(stage, 'a1', from - 2n * MS).at(-1), [id], 'when it is dead')
  from = stage.bench.nowUs
  stage.pass(5n * SECOND)
  const said = reachTo(stage, 'a1', from)
  t.ok(said.length >= 4)
  for (const pops of said) t.same(pops, [id])
  t.same(reachTo(stage, 'c1', from), [], 'the dead are told nothing')
  from = stage.bench.nowUs
  stage.silent.delete(stage.peer('c1'))
  stage.pass(200n * MS)
  t.same(reachTo(stage, 'a1', from).at(-1), [], 'and when it is back')
})

/** Node b1 among three PoPs, of which c is not heard; a1 is left. */
function narrow(pops = sampleFleet({ pops: 3 }), flowEntries = 1024): Stage {
  const stage = new Stage({ fleet: pops, node: 'b1', peers: ['a1', 'c1'], flowEntries })
  stage.join()
  silence(stage, 'c1')
  stage.pass(5n * SECOND)
  return stage
}

t.test('what a peer said in an earlier session of whom it hears is forgotten', async (t) => {
  const stage = narrow()
  const cast = new Cast(stage)
  const packet = tcp({ ...CONNECTION4, flags: 'A' })
  const { id } = popNamed(stage.bench.fleet, 'c')
  const handed = () => stage.send(packet).length
  const restart = (): ScriptedPeer => {
    const peer = stage.restart('a1')
    stage.pass(SECOND)
    return peer
  }
  t.equal(handed(), 1)
  stage.send(cast.peer('a1').reach([]), cast.peer('a1').reach([]), cast.peer('a1').reach([id]))
  t.equal(handed(), 0, 'it does not hear PoP c')
  restart()
  t.equal(handed(), 1, 'it has not said so in this session')
  stage.send(cast.peer('a1').reach([id]))
  t.equal(handed(), 0, 'though its sequence numbers are small again, it is believed')
})

/** Sends bursts of packets from so many client ports; how many left. */
function flood(stage: Stage, flags: string, count: number): number {
  let left = 0
  for (let sent = 0; sent < count; sent += FLOOD_BURST) {
    const packets = Array.from({ length: Math.min(FLOOD_BURST, count - sent) }, (_, i) =>
      tcp({ ...CONNECTION4, sport: 1 + sent + i, flags }),
    )
    left += stage.send(...packets).length
  }
  return left
}

t.test('at most 8192 packets of unknown flows are handed on in a second', async (t) => {
  const stage = narrow()
  const { bench } = stage
  t.equal(flood(stage, 'A', 10_000), 8192)
  t.equal(bench.count('relayed'), 8192n)
  t.equal(bench.count('uncertain'), 10_000n - 8192n)
  bench.skip(999n * MS)
  t.equal(flood(stage, 'A', 64), 0, 'the second is not over')
  bench.skip(MS)
  t.equal(flood(stage, 'A', 64), 64, 'the next second')
  t.equal(bench.accounted(), undefined)
})

t.test('packets of known flows are handed on however many unknown ones there are', async (t) => {
  const stage = new Stage({ fleet: sampleFleet({ pops: 3 }), node: 'b1', peers: ['a1', 'c1'] })
  stage.join()
  const cast = new Cast(stage)
  const packet = tcp({ ...CONNECTION4, sport: 60_000, flags: 'A' })
  const record = recordOf(cast, packet, 'c')
  stage.send(cast.peer('c1').publish([record]))
  silence(stage, 'c1')
  stage.pass(5n * SECOND)
  t.equal(flood(stage, 'A', 8200), 8192)
  t.same(stage.send(packet), [cast.relay(packet, 'a1', record.backend)])
})

t.test('at most 16384 new connections are handed on in a second', async (t) => {
  const stage = narrow(withoutBackends(sampleFleet({ pops: 3 }), 'b'))
  const { bench } = stage
  t.equal(flood(stage, 'S', 20_000), 16_384)
  t.equal(bench.count('spilled'), 16_384n)
  t.equal(bench.count('no_backend'), 20_000n - 16_384n)
  t.equal(flood(stage, 'A', 64), 64, 'unknown flows have a limit of their own')
  bench.skip(SECOND)
  t.equal(flood(stage, 'S', 64), 64, 'the next second')
  t.equal(bench.accounted(), undefined)
})
