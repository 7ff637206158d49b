// Packet vectors of a PoP without a backend: what it hands on with RELAY, and to whom (docs/wire-format.md, section 2.2).
// See vector.ts.

import { MS } from './bench.js'
import { PROTO, serviceId } from './names.js'
import { tcp } from './packets.js'
import { sampleFleet, withoutBackends } from './samples.js'
import { CONNECTION4, connectionWith, type Vector } from './vector.js'
import { ack, recordOf } from './vectors-fleet.js'
import {
  arrange,
  four,
  inVersion1,
  reachCounts,
  type Situation,
  stateless,
} from './vectors-reach.js'

const ACK4 = ack(CONNECTION4)
const SYN4 = tcp({ ...CONNECTION4, flags: 'S' })

/** PoP b has no backend: to whom it hands what begins a connection, or is of none. */
function spill(
  name: string,
  situation: Situation & { readonly without?: readonly string[] },
  to: string | undefined,
): Vector {
  const stage = situation.stage ?? four
  return {
    name: `a PoP without a backend hands on what is new: ${name}`,
    stage: { ...stage, fleet: withoutBackends(stage.fleet, 'b', ...(situation.without ?? [])) },
    steps: function* (cast) {
      yield arrange(cast, situation)
      const packets = stateless()
      const expect = to === undefined ? [] : packets.map((packet) => cast.relay(packet, to))
      yield { packets, expect }
    },
    counts: {
      ...reachCounts(situation),
      ...(to === undefined ? { no_backend: 3 } : { spilled: 3 }),
    },
  }
}

const spills: readonly Vector[] = [
  spill('to the nearest PoP', {}, 'd1'),
  spill('to the nearest PoP that has a backend', { without: ['d'] }, 'a1'),
  spill('to nobody when no PoP has one', { without: ['a', 'c', 'd'] }, undefined),
  spill('to the next when the nearest is dead', { silent: ['d1'] }, 'a1'),
  spill(
    'to the next when the nearest has not filled',
    { sayings: { d1: { filled: false } } },
    'a1',
  ),
  spill('to the next when the nearest speaks version 1', { stage: inVersion1('d1') }, 'a1'),
  spill('to nobody when all speak version 1', { stage: inVersion1('a1', 'c1', 'd1') }, undefined),
  spill('to the next when the nearest serves nothing', { unserved: [['d1', 'all']] }, 'a1'),
  spill(
    'to nobody when nobody serves anything',
    {
      unserved: [
        ['a1', 'all'],
        ['c1', 'all'],
        ['d1', 'all'],
      ],
    },
    undefined,
  ),
  spill(
    'what the nearest does not serve besides is no matter',
    { unserved: [['d1', [1, 2]]] },
    'd1',
  ),
  spill('whom the nearest does not hear is no matter', { reach: [['d1', 'a', 'b', 'c']] }, 'd1'),
]

const otherServices: Vector = {
  name: 'a PoP without a backend hands a SYN on past a PoP that does not serve its service, and other SYNs to that one',
  stage: { ...four, fleet: withoutBackends(four.fleet, 'b') },
  steps: function* (cast) {
    const { to, dport } = CONNECTION4
    const other = tcp({ ...CONNECTION4, dport: 443, flags: 'S' })
    const said = [1, serviceId(cast.fleet.hashSeed, to, dport, PROTO.tcp)]
    yield arrange(cast, { unserved: [['d1', said]] })
    yield { packets: [SYN4, other], expect: [cast.relay(SYN4, 'a1'), cast.relay(other, 'd1')] }
  },
  counts: { consumed: 1, reach_received: 1, spilled: 2 },
}

const spilledFlow: Vector = {
  name: 'a connection that was handed on is known by the OWNER that answers',
  stage: { ...four, fleet: withoutBackends(four.fleet, 'b') },
  steps: function* (cast) {
    const record = recordOf(cast, SYN4, 'd', 'half-open', 0)
    const backend = { id: record.backend }
    yield { packets: [SYN4], expect: [cast.relay(SYN4, 'd1')] }
    yield { packets: [cast.peer('d1').owner([record])], expect: [] }
    const packets = [SYN4, ACK4, tcp({ ...CONNECTION4, flags: 'FA' })]
    yield { packets, expect: packets.map((packet) => cast.forward(packet, 'd1', backend)) }
  },
  counts: { spilled: 1, consumed: 1, owner_received: 1, forwarded: 3, misrouted_home: 3 },
}

const deadFlow: Vector = {
  name: 'an unknown flow that does not begin is handed on when nobody knows it for certain, twice',
  stage: { ...four, fleet: withoutBackends(four.fleet, 'b') },
  steps: (cast) => [
    { packets: [ACK4, tcp({ ...CONNECTION4, sport: 50000, flags: 'SA' })], expect: [] },
    { afterUs: 400n * MS, packets: [ACK4], expect: [] },
    { afterUs: 200n * MS, packets: [ACK4], expect: [cast.relay(ACK4, 'd1')] },
  ],
  counts: { first_refusal: 3, certain_no: 1, spilled: 1 },
}

const spilledByHome: Vector = {
  name: 'a home that is asked hands on what is new as its own',
  stage: {
    fleet: withoutBackends(sampleFleet({ pops: 2, nodesPerPop: 2 }), 'b'),
    node: 'b1',
    peers: ['a1', 'a2', 'b2'],
  },
  steps: (cast) => {
    const syn = tcp({ ...connectionWith(cast.fleet, { a: 'a2', b: 'b1' }), flags: 'S' })
    const asked = cast.peer('b2').send(cast.flow(syn), { verb: 'ASK', backend: 0 }, syn)
    return [{ packets: [asked], expect: [cast.relay(syn, 'a2')] }]
  },
  counts: { ask_received: 1, spilled: 1 },
}

export const spillVectors: readonly Vector[] = [
  ...spills,
  otherServices,
  spilledFlow,
  deadFlow,
  spilledByHome,
]
