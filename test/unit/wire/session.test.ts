// Sessions between a real node and a peer that the test plays: how they begin, what they refuse, what HELLO says.

import t, { type Test } from 'tap'
import { fleetDigest } from '../../../src/fleet/digest.js'
import { Bench, MS, moved, SECOND } from '../../vectors/bench.js'
import { VirtualFleet } from '../../vectors/fleet.js'
import { seedCheck } from '../../vectors/names.js'
import { tcp } from '../../vectors/packets.js'
import { type Receiver, receiveAtNode } from '../../vectors/receive.js'
import { sampleFleet } from '../../vectors/samples.js'
import { QUIET, type ScriptedPeer } from '../../vectors/session.js'
import { Stage } from '../../vectors/stage.js'
import { CONNECTION4 } from '../../vectors/vector.js'
import { type Envelope, encodeControl, type Message } from '../../vectors/wire.js'

const fleet = sampleFleet({ pops: 2 })
const near = sampleFleet({ nodesPerPop: 2 })

type HelloMessage = Extract<Message, { readonly verb: 'HELLO' }>

/** The HELLOs among packets for this receiver. */
function hellos(
  packets: readonly { readonly data: Uint8Array }[],
  receiver: Receiver,
): readonly HelloMessage[] {
  return packets.flatMap(({ data }) => {
    const received = receiveAtNode(data, receiver)
    if (received.kind !== 'control' || received.message.verb !== 'HELLO') return []
    return [received.message]
  })
}

function joined(): { readonly stage: Stage; readonly peer: ScriptedPeer } {
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1'] })
  stage.join()
  return { stage, peer: stage.peer('a1') }
}

/** Counters that the packets moved. */
function after(bench: Bench, ...packets: readonly Uint8Array[]): Readonly<Record<string, bigint>> {
  const before = bench.counts
  bench.send(...packets)
  return Object.fromEntries(moved(before, bench.counts))
}

/** A message of the peer under any envelope. */
function say(peer: ScriptedPeer, said: Partial<HelloMessage> & Envelope): Uint8Array {
  return encodeControl(peer.path, peer.key, { ...QUIET, ...said, verb: 'HELLO' })
}

t.test('the first thing a node says is a HELLO to nobody in particular', async (t) => {
  const bench = new Bench({ fleet, node: 'b1' })
  const peer = bench.peer('a1')
  const said = hellos(bench.timers(), peer.receiver)
  t.same(said, [
    {
      ...QUIET,
      seedCheck: seedCheck(fleet.hashSeed),
      fleetDigest: fleetDigest(fleet),
      version: 1,
      verb: 'HELLO',
      origin: 201,
      senderBoot: bench.bootId,
      receiverBoot: 0n,
      sequence: 1n,
      filled: false,
      walked: false,
    },
  ])
})

t.test('a HELLO of an unknown boot is answered at once, and names what it answers', async (t) => {
  const bench = new Bench({ fleet, node: 'b1' })
  const peer = bench.peer('a1')
  bench.timers()
  const said = { ...peer.envelope(), sequence: 41n, receiverBoot: 0n }
  const [answer, ...rest] = hellos(bench.send(say(peer, said)), peer.receiver)
  t.same(rest, [])
  t.match(answer, { receiverBoot: peer.boot, sequence: 2n, echo: 41n, echoDelayUs: 0 })
  t.equal(bench.count('no_session'), 1n)
  t.equal(bench.look().peers[0]?.up, false, 'an answer is no session')
})

t.test('an answer claims nothing of a session that its receiver is not in', async (t) => {
  const { stage, peer } = joined()
  const { bench } = stage
  stage.send(tcp({ ...CONNECTION4, flags: 'S' }), peer.publish([record()]))
  stage.pass(200n * MS)
  const last = stage.saidTo(peer, 'HELLO').at(-1)
  t.match(last, { walked: true, batchesSent: 1n, batchesTaken: 1n }, 'so it says to its peer')
  const stranger = bench.peer('a1', 0x1234n)
  const said = { ...stranger.envelope(), receiverBoot: 0n }
  const [answer] = hellos(bench.send(say(stranger, said)), stranger.receiver)
  t.match(answer, { receiverBoot: 0x1234n, echo: said.sequence, walked: false })
  t.match(answer, { batchesSent: 0n, batchesTaken: 0n, batchesMask: 0n, walkEnd: 0n })
})

t.test('strangers are answered at most once in 10 ms', async (t) => {
  const bench = new Bench({ fleet, node: 'b1' })
  const peer = bench.peer('a1')
  bench.timers()
  let answers = 0
  for (let ms = 0; ms < 100; ms++) {
    const sent = bench.send(say(peer, { ...peer.envelope(), receiverBoot: 0n }))
    answers += hellos(sent, peer.receiver).length
    bench.skip(MS)
  }
  t.equal(answers, 10)
  t.equal(bench.count('no_session'), 100n)
})

const BEGUN = { consumed: 1n, hello_received: 1n, walks_started: 1n } as const

t.test('a HELLO that echoes one of this boot begins a session', async (t) => {
  const bench = new Bench({ fleet, node: 'b1' })
  const peer = bench.peer('a1')
  bench.timers()
  const said = { ...peer.envelope(), receiverBoot: bench.bootId, echo: 1n }
  t.same(after(bench, say(peer, said)), BEGUN)
  t.equal(bench.look().peers[0]?.up, true)
})

t.test('a HELLO that echoes nothing, or was made for another boot, begins none', async (t) => {
  for (const wrong of [{ echo: 0n }, { receiverBoot: 0n }, { receiverBoot: 5n }]) {
    const bench = new Bench({ fleet, node: 'b1' })
    const peer = bench.peer('a1')
    bench.timers()
    const said = { ...peer.envelope(), receiverBoot: bench.bootId, echo: 1n, ...wrong }
    t.same(after(bench, say(peer, said)), { no_session: 1n, hello_sent: 1n })
    t.equal(bench.look().peers[0]?.up, false)
  }
})

t.test('two nodes that know nothing of each other get into a session', async (t) => {
  const both = new VirtualFleet({ fleet })
  both.run(30n * MS)
  for (const name of ['a1', 'b1']) {
    const [peer] = both.look(name).peers
    t.match(peer, { up: true, version: 2, rttUs: 10_000 }, name)
  }
  t.same(both.unaccounted(), [])
})

t.test('the round trip is measured without the time that a HELLO lay at the peer', async (t) => {
  for (const latencyUs of [50n, 700n, 40_000n]) {
    const both = new VirtualFleet({ fleet, latencyUs: () => latencyUs })
    both.run(5n * SECOND)
    t.equal(both.look('a1').peers[0]?.rttUs, Number(2n * latencyUs))
    t.equal(both.look('b1').peers[0]?.rttUs, Number(2n * latencyUs))
  }
})

t.test('a message is taken once, in any order, up to 63 below the highest', async (t) => {
  const { stage, peer } = joined()
  const { bench } = stage
  const at = (sequence: bigint) => peer.hello(bench.nowUs, { sequence })
  const high = peer.sequence + 1000n
  const taken = { consumed: 1n, hello_received: 1n }
  t.same(after(bench, at(high)), taken)
  t.same(after(bench, at(high)), { replayed: 1n }, 'twice')
  t.same(after(bench, at(high - 1n)), taken, 'late')
  t.same(after(bench, at(high - 63n)), taken, '63 below the highest')
  t.same(after(bench, at(high - 63n)), { replayed: 1n }, '63 below the highest, twice')
  t.same(after(bench, at(high - 64n)), { replayed: 1n }, '64 below the highest')
  t.same(after(bench, at(high - 65n)), { replayed: 1n }, '65 below the highest')
  t.same(after(bench, at(high + 1n)), taken, 'a new highest')
  t.same(after(bench, at(high - 62n)), taken, '63 below the new highest')
  t.same(after(bench, at(high - 63n)), { replayed: 1n }, '64 below the new highest')
  t.same(after(bench, at(high + 500n)), taken, 'far beyond')
  t.same(after(bench, at(high + 1n)), { replayed: 1n }, 'far below the new highest')
})

t.test('a peer that has restarted replaces its session, and its old boot is refused', async (t) => {
  const { stage, peer } = joined()
  const { bench } = stage
  const newer = bench.peer('a1', 0x1234n)
  const echo = stage.nextSequence(peer) - 1n
  const begun = say(newer, { ...newer.envelope(), receiverBoot: bench.bootId, echo })
  t.same(after(bench, begun), BEGUN)
  t.match(after(bench, peer.hello(bench.nowUs)), { no_session: 1n })
  t.same(after(bench, peer.publish([record()])), { no_session: 1n })
  t.same(after(bench, begun), { replayed: 1n })
})

t.test('recordings of earlier boots begin no session', async (t) => {
  const { stage, peer } = joined()
  const { bench } = stage
  const recorded = [peer.hello(bench.nowUs), peer.hello(bench.nowUs), peer.hello(bench.nowUs)]
  const newer = bench.peer('a1', 0x1234n)
  const echo = stage.nextSequence(peer) - 1n
  bench.send(say(newer, { ...newer.envelope(), receiverBoot: bench.bootId, echo }))
  for (const packet of recorded) {
    t.match(after(bench, packet), { no_session: 1n })
    bench.skip(20n * MS)
  }
  const living = { ...newer.envelope(), receiverBoot: bench.bootId, echo }
  t.same(after(bench, say(newer, living)), { consumed: 1n, hello_received: 1n })
})

t.test('a PUBLISH before a session is refused', async (t) => {
  const bench = new Bench({ fleet, node: 'b1' })
  const peer = bench.peer('a1')
  bench.timers()
  t.same(after(bench, peer.publish([record()])), { no_session: 1n })
  t.same(after(bench, peer.owner([record()])), { no_session: 1n })
})

function record() {
  const [backend] = fleet.pops[0]?.backends ?? []
  return { flow: 5n, backend: backend?.id ?? 0, state: 'established', age: 1, idle: 0 } as const
}

/** How many HELLOs one node sends another in ten seconds of peace. */
function helloCount(t: Test, whole: VirtualFleet, from: string): number {
  whole.run(5n * SECOND)
  whole.transits.length = 0
  whole.run(10n * SECOND)
  const verbs = whole.heard(from).map(({ received }) => {
    return received.kind === 'control' ? received.message.verb : received.kind
  })
  t.ok(verbs.every((verb) => verb === 'HELLO' || verb === 'REACH'))
  return verbs.filter((verb) => verb === 'HELLO').length
}

t.test('HELLOs go every 100 ms inside a PoP and every second across', async (t) => {
  const inside = helloCount(t, new VirtualFleet({ fleet: near }), 'a1')
  t.ok(inside >= 98 && inside <= 102, `${inside} inside`)
  const across = helloCount(t, new VirtualFleet({ fleet }), 'a1')
  t.ok(across >= 9 && across <= 11, `${across} across`)
})

t.test('a peer is dead after three intervals without a HELLO', async (t) => {
  for (const [sample, interval] of [
    [near, 100n * MS],
    [fleet, SECOND],
  ] as const) {
    const whole = new VirtualFleet({ fleet: sample })
    whole.run(5n * SECOND)
    const other = sample === near ? 'a2' : 'b1'
    whole.kill(other)
    whole.run(2n * interval - 10n * MS)
    t.equal(whole.look('a1').peers[0]?.up, true, 'after two')
    whole.run(interval + 30n * MS)
    t.equal(whole.look('a1').peers[0]?.up, false, 'after three')
  }
})

t.test(
  'HELLO says whether its sender has filled, how full its table is, and which files it has',
  async (t) => {
    const { stage, peer } = joined()
    const flows = Array.from({ length: 64 }, (_, i) => ({
      ...record(),
      flow: BigInt.asUintN(64, BigInt(i) * 0x9e3779b97f4a7c15n),
    }))
    stage.bench.send(peer.publish(flows))
    stage.pass(SECOND)
    const last = stage.saidTo(peer, 'HELLO').at(-1)
    const capacity = stage.bench.look().flowCapacity
    t.match(last, { filled: true, draining: false, walked: true, lowest: 1, highest: 2 })
    t.match(last, { seedCheck: seedCheck(fleet.hashSeed), fleetDigest: fleetDigest(fleet) })
    t.equal(last?.fillPermille, Math.floor((64 * 1000) / capacity))
  },
)
