// Bad input: each packet is refused by the real node and by the decoder of test/vectors for the same reason, counted
// once, and nothing leaves and nothing else is disturbed.

import t, { type Test } from 'tap'
import { Bench, moved } from '../../vectors/bench.js'
import type { Bytes } from '../../vectors/bytes.js'
import { type Receiver, receiveAtNode } from '../../vectors/receive.js'
import { backendsOf, nodeNamed, popNamed, sampleFleet } from '../../vectors/samples.js'
import { type ScriptedPeer, Session } from '../../vectors/session.js'
import { Stage } from '../../vectors/stage.js'
import { badPackets } from '../../vectors/vectors-bad.js'
import {
  bothFaults,
  controlFaults,
  controlPacket,
  type Fault,
  privateFaults,
  privatePacket,
} from '../../vectors/vectors-bad-gue.js'

/** Refusals that need the flow table, which the decoder does not have. */
const STATEFUL = new Set(['unknown_icmp'])
/** FORWARDs taken in, also those that are dropped then. */
const BESIDES = ['forward_received', 'ingress_packets']

function refusedAs(t: Test, bench: Bench, packet: Bytes, reason: string, name: string): void {
  const before = bench.counts
  const out = bench.send(packet)
  const counts = new Map(moved(before, bench.counts))
  for (const counter of BESIDES) counts.delete(counter)
  t.same(
    { counts: Object.fromEntries(counts), out },
    { counts: { [reason]: 1n }, out: [] },
    `${name}: ${reason}`,
  )
}

t.test('what clients and routers may not send', async (t) => {
  const bench = new Bench({ fleet: sampleFleet(), node: 'a1' })
  for (const { name, packet, reason } of badPackets) {
    refusedAs(t, bench, packet, reason, name)
    if (STATEFUL.has(reason)) continue
    const received = receiveAtNode(packet, bench.receiver)
    t.same(received, { kind: 'refused', reason }, `${name}: ${reason}, says the decoder`)
  }
  t.equal(bench.accounted(), undefined)
})

const fleet = sampleFleet({ pops: 2, nodesPerPop: 2 })
const OTHER = nodeNamed(fleet, 'a2').id
const OWN_BACKEND = popNamed(fleet, 'b').backends[0]?.id ?? 0
const FOREIGN_BACKEND = popNamed(fleet, 'a').backends[0]?.id ?? 0

/** Every fault alone, then every two together: the page's order decides. */
function faultByFault<Parts extends object>(
  t: Test,
  stage: Stage,
  receiver: Receiver,
  faults: readonly Fault<Parts>[],
  build: (parts: Parts) => Bytes,
): void {
  const { bench } = stage
  for (const [i, first] of faults.entries()) {
    refusedAs(t, bench, build(first.parts), first.reason, first.name)
    for (const second of faults.slice(i + 1)) {
      const packet = build(bothFaults(first.parts, second.parts))
      const received = receiveAtNode(packet, receiver)
      if (received.kind !== 'refused') throw new Error(`${first.name} passes`)
      refusedAs(t, bench, packet, received.reason, `${first.name}, ${second.name}`)
      if (sameThing(first.parts, second.parts)) continue
      t.equal(received.reason, first.reason, `${first.name} comes before ${second.name}`)
    }
  }
}

/** Two faults of one field are not two faults: the first hides the second, or both lie in the inner packet. */
function sameThing(a: object, b: object): boolean {
  const keys = (parts: object): readonly string[] =>
    Object.entries(parts).flatMap(([key, value]) =>
      key === 'gue' || key === 'fields' ? Object.keys(value as object) : [key],
    )
  return keys(a).some((key) => keys(b).includes(key))
}

/** Node b1, and a1 speaks this version with it. */
function joined(version: number): { readonly stage: Stage; readonly peer: ScriptedPeer } {
  const special = { a1: { highest: version } }
  const stage = new Stage({ fleet, node: 'b1', peers: ['a1', 'a2', 'b2'], special })
  stage.join()
  return { stage, peer: stage.peer('a1') }
}

async function privateData(t: Test, version: number): Promise<void> {
  const { stage, peer } = joined(version)
  const faults = privateFaults(peer, OTHER, FOREIGN_BACKEND)
  faultByFault(t, stage, stage.bench.receiver, faults, (parts) =>
    privatePacket(peer, OWN_BACKEND, parts),
  )
  t.equal(stage.bench.accounted(), undefined)
}

async function controlMessages(t: Test, version: number): Promise<void> {
  const { stage, peer } = joined(version)
  const before = stage.bench.look()
  const own = new Session(stage.bench.bootId)
  const head = { ...peer.envelope(), verb: 'HELLO', echo: 1n } as const
  own.judge(head, 1n)
  stage.bench.send(controlPacket(peer, head, {}))
  const session = (said: Parameters<Session['judge']>[0]): string | undefined => {
    const verdict = said.senderBoot === 0n ? 'no_session' : own.judge(said, 1n)
    return verdict === 'taken' ? undefined : verdict
  }
  const faults = controlFaults(peer, OTHER)
  faultByFault(t, stage, { ...stage.bench.receiver, session }, faults, (parts) =>
    controlPacket(peer, peer.envelope(version), parts),
  )
  t.same(stage.bench.look().peers, before.peers, 'all peers are as they were')
  t.equal(stage.bench.accounted(), undefined)
}

for (const version of [1, 2]) {
  t.test(`private data that nobody may send, version ${version}`, (t) => privateData(t, version))
  t.test(`control messages that nobody may send, version ${version}`, (t) =>
    controlMessages(t, version),
  )
}

t.test('the fleet has the backends that the faults speak of', async (t) => {
  const ids = backendsOf(fleet).map(({ id }) => id)
  t.ok(ids.includes(OWN_BACKEND))
  t.ok(ids.includes(FOREIGN_BACKEND))
})
