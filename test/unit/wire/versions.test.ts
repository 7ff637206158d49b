// Which version a real node speaks with a peer that the test plays, as the peer restarts and speaks another.

import t, { type Test } from 'tap'
import { MS, SECOND } from '../../vectors/bench.js'
import { tcp } from '../../vectors/packets.js'
import { sampleFleet } from '../../vectors/samples.js'
import { QUIET, type ScriptedPeer } from '../../vectors/session.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, CONNECTION4 } from '../../vectors/vector.js'
import { recordOf } from '../../vectors/vectors-fleet.js'
import { type Envelope, encodeControl, type Hello } from '../../vectors/wire.js'

const fleet = sampleFleet({ pops: 2 })
const ack = (sport: number) => tcp({ ...CONNECTION4, sport, flags: 'A' })

function staged(highest: number): Stage {
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1'], special: { a1: { highest } } })
  stage.join()
  return stage
}

/** All that the node says to the peer of its own accord and about flows, in the version that they share. */
function speaks(t: Test, stage: Stage, version: number, sport: number, why: string): void {
  const peer = stage.peer('a1')
  const cast = new Cast(stage)
  const from = stage.bench.nowUs
  t.equal(peer.version, version, `the peer expects version ${version}, ${why}`)
  t.match(stage.bench.look().peers, [{ up: true, version }], why)
  // What it knows to be of the peer's PoP, and what begins here.
  const record = recordOf(cast, ack(sport), 'a')
  stage.send(peer.publish([record]))
  const forwarded = cast.forward(ack(sport), 'a1', { id: record.backend })
  t.same(stage.send(ack(sport)), [forwarded], `FORWARD, ${why}`)
  stage.send(tcp({ ...CONNECTION4, sport: sport + 1, flags: 'S' }))
  // It asks what it may not: RELAY in version 1 is dropped.
  const relayed = peer.send(
    cast.flow(ack(sport + 1)),
    { verb: 'RELAY', backend: 0 },
    ack(sport + 1),
  )
  stage.send(relayed)
  stage.pass(3n * SECOND)
  const said = stage.heard.filter(({ atUs }) => atUs >= from).map(({ message }) => message)
  const versions = (verb: string) => [
    ...new Set(said.filter((message) => message.verb === verb).map((message) => message.version)),
  ]
  t.same(versions('HELLO'), [1], `HELLO is always in version 1, ${why}`)
  t.same(versions('PUBLISH'), [version], `PUBLISH, ${why}`)
  t.same(versions('REACH'), version === 1 ? [] : [2], `REACH, ${why}`)
  t.same(versions('OWNER'), version === 1 ? [] : [2], `OWNER, ${why}`)
}

/** The peer restarts, and a session begins. */
function restarted(stage: Stage, highest: number): ScriptedPeer {
  const peer = stage.restart('a1', { highest })
  stage.pass(SECOND)
  return peer
}

t.test('a peer gets the highest version that both speak, also after a restart', async (t) => {
  const stage = staged(1)
  speaks(t, stage, 1, 41000, 'the peer speaks 1')
  restarted(stage, 2)
  speaks(t, stage, 2, 42000, 'up to 2')
  restarted(stage, 1)
  speaks(t, stage, 1, 43000, 'down to 1')
  restarted(stage, 9)
  speaks(t, stage, 2, 44000, 'the peer speaks 9')
  restarted(stage, 9)
  speaks(t, stage, 2, 45000, 'the peer speaks 9 still')
  t.equal(stage.bench.accounted(), undefined)
})

t.test('a node says that it speaks versions 1 and 2, whatever its peer speaks', async (t) => {
  for (const highest of [1, 2, 9]) {
    const stage = staged(highest)
    const said = stage.saidTo(stage.peer('a1'), 'HELLO')
    t.ok(said.length > 1)
    for (const hello of said) t.match(hello, { version: 1, lowest: 1, highest: 2 })
  }
})

/** A HELLO of the peer's session that says otherwise, as bytes. */
function hello(peer: ScriptedPeer, said: Partial<Hello & Envelope>): Uint8Array {
  const message = { ...QUIET, ...peer.envelope(), ...said, verb: 'HELLO' } as const
  return encodeControl(peer.path, peer.key, message)
}

t.test('a node takes in either version in one session, whatever it speaks itself', async (t) => {
  for (const highest of [1, 2]) {
    const stage = staged(highest)
    const { bench } = stage
    const peer = stage.peer('a1')
    const record = recordOf(new Cast(stage), ack(41000), 'a')
    for (const [i, version] of [1, 2].entries()) {
      const body = { verb: 'PUBLISH', batch: BigInt(i + 1), records: [record] } as const
      bench.send(encodeControl(peer.path, peer.key, { ...peer.envelope(version), ...body }))
      bench.send(hello(peer, { version, highest }))
    }
    t.equal(bench.count('publish_flows_received'), 2n)
    t.equal(bench.count('unknown_version'), 0n)
    const pops = { verb: 'REACH', pops: [1], services: [] } as const
    bench.send(encodeControl(peer.path, peer.key, { ...peer.envelope(2), ...pops }))
    t.equal(bench.count('reach_received'), 1n)
  }
})

t.test('a peer without a common version is dead after three of its HELLOs', async (t) => {
  const stage = staged(2)
  const { bench } = stage
  const peer = stage.peer('a1')
  stage.silent.add(peer)
  for (let i = 0; i < 40; i++) {
    stage.pass(100n * MS)
    const before = bench.count('unknown_version')
    bench.send(hello(peer, { lowest: 3, highest: 4, echo: stage.nextSequence(peer) - 1n }))
    t.equal(bench.count('unknown_version') - before, 1n)
  }
  t.match(bench.look().peers, [{ up: false }])
  stage.silent.clear()
  stage.pass(SECOND)
  t.match(bench.look().peers, [{ up: true, version: 2 }], 'and lives when it speaks one')
})
