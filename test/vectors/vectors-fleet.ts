// Packet vectors of a node among others: ASK, FORWARD, OWNER, what a publication makes a node know. See vector.ts.

import { type Bytes, pattern } from './bytes.js'
import { answerTo, icmpError, quote, SYN_OPTIONS, tcp, udp } from './packets.js'
import { CLIENT4, popNamed, sampleFleet, VIP4 } from './samples.js'
import {
  type Cast,
  CONNECTION4,
  CONNECTION6,
  type Connection,
  connectionWith,
  local,
  type Step,
  type Vector,
} from './vector.js'
import type { FlowRecord, FlowState } from './wire.js'

/** Node b1 of PoP b, alone there; PoP a has one node too. */
const twoPops = { fleet: sampleFleet({ pops: 2 }), node: 'b1', peers: ['a1'] } as const
const twoPops6 = { ...twoPops, fleet: sampleFleet({ pops: 2, outer: 6 }) } as const
/** Two nodes in each PoP; the node is b1. */
const fourNodes = {
  fleet: sampleFleet({ pops: 2, nodesPerPop: 2 }),
  node: 'b1',
  peers: ['a1', 'a2', 'b2'],
} as const

/** A record of the connection's flow at the Maglev choice of a PoP. */
export function recordOf(
  cast: Cast,
  packet: Bytes,
  pop: string,
  state: FlowState = 'established',
  age = 5,
): FlowRecord {
  const { id } = cast.choice(packet, popNamed(cast.fleet, pop))
  return { flow: cast.flow(packet), backend: id, state, age, idle: 0 }
}

const popA = (cast: Cast) => popNamed(cast.fleet, 'a')

export const ack = (connection: Connection) =>
  tcp({ ...connection, flags: 'PA', seq: 7001, ack: 9001, payload: pattern(300) })

/** A1 publishes the connection, and the node has acknowledged it. */
export function published(cast: Cast, packet: Bytes, from = 'a1', pop = 'a'): Step {
  const record = recordOf(cast, packet, pop)
  return { packets: [cast.peer(from).publish([record])], expect: [] }
}

const misrouted: readonly Vector[] = (
  [
    ['IPv4 over IPv4', twoPops, CONNECTION4],
    ['IPv6 over IPv4', twoPops, CONNECTION6],
    ['IPv4 over IPv6', twoPops6, CONNECTION4],
    ['IPv6 over IPv6', twoPops6, CONNECTION6],
  ] as const
).map(([name, stage, connection]) => ({
  name: `what another PoP has published is sent there with FORWARD, ${name}`,
  stage,
  steps: (cast) => {
    const packets = [
      ack(connection),
      tcp({ ...connection, flags: 'A', seq: 7301 }),
      tcp({ ...connection, flags: 'FA', seq: 7301 }),
      tcp({ ...connection, flags: 'R', seq: 7302 }),
    ]
    const backend = cast.choice(ack(connection), popA(cast))
    return [
      published(cast, ack(connection)),
      { packets, expect: packets.map((packet) => cast.forward(packet, 'a1', backend)) },
    ]
  },
  counts: { consumed: 1, publish_flows_received: 1, forwarded: 4, misrouted_home: 4 },
}))

const repeatedSyn: Vector = {
  name: 'a SYN follows a living entry of another PoP',
  stage: twoPops,
  steps: (cast) => {
    const syn = tcp({ ...CONNECTION4, flags: 'S', tcpOptions: SYN_OPTIONS })
    return [
      published(cast, syn),
      { packets: [syn], expect: [cast.forward(syn, 'a1', cast.choice(syn, popA(cast)))] },
    ]
  },
  counts: { consumed: 1, publish_flows_received: 1, forwarded: 1, misrouted_home: 1 },
}

const misroutedError: Vector = {
  name: 'an ICMP error about a flow of another PoP is sent there with FORWARD',
  stage: twoPops,
  steps: (cast) => {
    const about = ack(CONNECTION4)
    const answer = answerTo({ ...CONNECTION4, flags: 'A' }, 'PA', pattern(1000))
    const error = icmpError({
      from: '192.0.2.254',
      to: CONNECTION4.to,
      kind: 'too-big',
      quote: quote(answer, 8),
    })
    return [
      published(cast, about),
      { packets: [error], expect: [cast.forward(error, 'a1', cast.choice(about, popA(cast)))] },
    ]
  },
  counts: {
    consumed: 1,
    publish_flows_received: 1,
    forwarded: 1,
    misrouted_home: 1,
  },
}

const forwarded: readonly Vector[] = (
  [
    ['IPv4 over IPv4', twoPops, CONNECTION4],
    ['IPv6 over IPv4', twoPops, CONNECTION6],
    ['IPv4 over IPv6', twoPops6, CONNECTION4],
    ['IPv6 over IPv6', twoPops6, CONNECTION6],
  ] as const
).map(([name, stage, connection]) => ({
  name: `a FORWARD is delivered to the backend that it names and recorded, ${name}`,
  stage,
  steps: (cast) => {
    const packet = ack(connection)
    const flow = cast.flow(packet)
    // Not the Maglev choice: the origin knows better.
    const backend = cast.pop.backends.find(({ id }) => id !== cast.choice(packet).id)
    if (backend === undefined) throw new Error('a PoP has two backends')
    const data = { verb: 'FORWARD', backend: backend.id } as const
    const raw = tcp({ ...connection, flags: 'A', seq: 7301 })
    return [
      {
        packets: [cast.peer('a1').send(flow, data, packet)],
        expect: [cast.plain(packet, backend)],
      },
      { packets: [raw], expect: [cast.plain(raw, backend)] },
    ]
  },
  counts: { delivered_gue: 2, forward_received: 1, flows_learned: 1 },
}))

const forwardedLocal: Vector = {
  name: 'a FORWARD for a backend of deliver: local reaches the stack as the client sent it',
  stage: { ...twoPops, fleet: sampleFleet({ pops: 2, deliver: 'local' }) },
  steps: (cast) => {
    const packet = ack(CONNECTION6)
    const [backend] = cast.pop.backends
    const data = { verb: 'FORWARD', backend: backend?.id ?? 0 } as const
    const sent = cast.peer('a1').send(cast.flow(packet), data, packet)
    return [{ packets: [sent], expect: [local(packet)] }]
  },
  counts: { delivered_local: 1, forward_received: 1, flows_learned: 1 },
}

const otherOwner: Vector = {
  name: 'a FORWARD for another backend than this PoP knows is dropped and its origin told',
  stage: twoPops,
  steps: (cast) => {
    const syn = tcp({ ...CONNECTION4, flags: 'S' })
    const backend = cast.choice(syn)
    const other = cast.pop.backends.find(({ id }) => id !== backend.id)
    const packet = ack(CONNECTION4)
    const flow = cast.flow(packet)
    const data = { verb: 'FORWARD', backend: other?.id ?? 0 } as const
    const record = { flow, backend: backend.id, state: 'half-open', age: 0, idle: 0 } as const
    return [
      { packets: [syn], expect: [cast.plain(syn, backend)] },
      {
        packets: [cast.peer('a1').send(flow, data, packet)],
        expect: [cast.owner('a1', record)],
      },
    ]
  },
  counts: {
    flows_new: 1,
    delivered_gue: 1,
    forward_received: 1,
    owner_differs: 1,
    owner_sent: 1,
  },
}

/** A connection whose home in PoP b is this node. */
const toB1 = (home: string) => connectionWith(fourNodes.fleet, { a: 'a1', b: home })

const asks: Vector = {
  name: 'a packet that the node does not know goes to its home in the PoP with ASK, the SYN too',
  stage: fourNodes,
  steps: (cast) => {
    const connection = toB1('b2')
    const packets = [
      tcp({ ...connection, flags: 'S', tcpOptions: SYN_OPTIONS }),
      tcp({ ...connection, flags: 'A' }),
      tcp({ ...connectionWith(fourNodes.fleet, { b: 'b2' }, CONNECTION6), flags: 'S' }),
    ]
    return [{ packets, expect: packets.map((packet) => cast.ask(packet, 'b2')) }]
  },
  counts: { asked: 3 },
}

const told: Vector = {
  name: 'what OWNER tells is used for 30 s, but FIN and RST pass through the home',
  stage: fourNodes,
  steps: (cast) => {
    const connection = toB1('b2')
    const packet = ack(connection)
    const fin = tcp({ ...connection, flags: 'FA' })
    const rst = tcp({ ...connection, flags: 'RA' })
    const backend = cast.choice(packet, popA(cast))
    const to = cast.fleet.pops[0]?.nodes.find(({ name }) => name === 'a1')?.name ?? ''
    const record = recordOf(cast, packet, 'a')
    return [
      { packets: [packet], expect: [cast.ask(packet, 'b2')] },
      { packets: [cast.peer('b2').owner([record])], expect: [] },
      {
        packets: [packet, fin, rst],
        expect: [cast.forward(packet, to, backend), cast.ask(fin, 'b2'), cast.ask(rst, 'b2')],
      },
      { afterUs: 25_000_000n, packets: [packet], expect: [cast.forward(packet, to, backend)] },
      { afterUs: 8_000_000n, packets: [packet], expect: [cast.ask(packet, 'b2')] },
    ]
  },
  counts: {
    asked: 4,
    forwarded: 2,
    misrouted_cached: 2,
    consumed: 1,
    owner_received: 1,
    flows_expired: 1,
  },
}

const toldOwn: Vector = {
  name: 'what OWNER tells of a backend of this PoP is delivered at once',
  stage: fourNodes,
  steps: (cast) => {
    const packet = ack(toB1('b2'))
    const record = recordOf(cast, packet, 'b')
    return [
      { packets: [cast.peer('b2').owner([record])], expect: [] },
      { packets: [packet], expect: [cast.plain(packet, cast.choice(packet))] },
    ]
  },
  counts: { consumed: 1, owner_received: 1, delivered_gue: 1 },
}

const asked: Vector = {
  name: 'a home that is asked for a flow of another PoP sends it there and tells the origin',
  stage: fourNodes,
  steps: (cast) => {
    const packet = ack(toB1('b1'))
    const question = cast.peer('b2').send(cast.flow(packet), { verb: 'ASK', backend: 0 }, packet)
    return [
      published(cast, packet),
      {
        packets: [question],
        expect: [
          cast.forward(packet, 'a1', cast.choice(packet, popA(cast))),
          cast.owner('b2', recordOf(cast, packet, 'a')),
        ],
      },
    ]
  },
  counts: {
    consumed: 1,
    publish_flows_received: 1,
    ask_received: 1,
    owner_sent: 1,
    forwarded: 1,
    misrouted_home: 1,
  },
}

const askedSyn: Vector = {
  name: 'a home that is asked with a SYN chooses by Maglev, records, delivers and tells the origin',
  stage: fourNodes,
  steps: (cast) => {
    const connection = toB1('b1')
    const syn = tcp({ ...connection, flags: 'S', tcpOptions: SYN_OPTIONS })
    const packet = tcp({ ...connection, flags: 'A' })
    const backend = cast.choice(syn)
    const question = cast.peer('b2').send(cast.flow(syn), { verb: 'ASK', backend: 0 }, syn)
    return [
      {
        packets: [question],
        expect: [
          cast.plain(syn, backend),
          cast.owner('b2', recordOf(cast, syn, 'b', 'half-open', 0)),
        ],
      },
      { packets: [packet], expect: [cast.plain(packet, backend)] },
    ]
  },
  counts: { ask_received: 1, owner_sent: 1, flows_new: 1, delivered_gue: 2 },
}

const askedInVain: Vector = {
  name: 'a home that is asked for a flow that nobody has refuses it once, then gives it to Maglev',
  stage: fourNodes,
  steps: (cast) => {
    const packet = ack(toB1('b1'))
    const question = cast.peer('b2').send(cast.flow(packet), { verb: 'ASK', backend: 0 }, packet)
    return [
      { packets: [question], expect: [] },
      {
        afterUs: 600_000n,
        packets: [question],
        expect: [cast.plain(packet, cast.choice(packet))],
      },
    ]
  },
  counts: { ask_received: 2, first_refusal: 1, certain_no: 1, delivered_gue: 1 },
}

const askedElsewhere: Vector = {
  name: 'a node that is asked acts as the home though it is not, and never asks itself',
  stage: fourNodes,
  steps: (cast) => {
    const packet = ack(toB1('b2'))
    const question = cast.peer('b2').send(cast.flow(packet), { verb: 'ASK', backend: 0 }, packet)
    return [
      published(cast, packet),
      {
        packets: [question],
        expect: [
          cast.forward(packet, 'a1', cast.choice(packet, popA(cast))),
          cast.owner('b2', recordOf(cast, packet, 'a')),
        ],
      },
    ]
  },
  counts: {
    consumed: 1,
    publish_flows_received: 1,
    ask_received: 1,
    owner_sent: 1,
    forwarded: 1,
    misrouted_home: 1,
  },
}

const asksNobody: Vector = {
  name: 'a UDP service and a ping ask nobody',
  stage: fourNodes,
  steps: (cast) => {
    const packets = [5000, 5001, 5002, 5003].map((sport) =>
      udp({ from: CLIENT4, to: VIP4, sport, dport: 443, payload: pattern(64) }),
    )
    return [{ packets, expect: packets.map((packet) => cast.plain(packet, cast.choice(packet))) }]
  },
  counts: { delivered_gue: 4 },
}

const ended: Vector = {
  name: 'a flow that its PoP has published as ended is unknown again',
  stage: twoPops,
  steps: (cast) => {
    const packet = ack(CONNECTION4)
    const gone = recordOf(cast, packet, 'a', 'ended')
    return [
      published(cast, packet),
      { packets: [cast.peer('a1').publish([gone])], expect: [] },
      { packets: [packet], expect: [] },
    ]
  },
  counts: { consumed: 2, publish_flows_received: 2, first_refusal: 1 },
}

const endedByOther: Vector = {
  name: 'a flow that another node than its owner calls ended stays known',
  stage: { ...twoPops, fleet: sampleFleet({ pops: 3 }), peers: ['a1', 'c1'] },
  steps: (cast) => {
    const packet = ack(CONNECTION4)
    const gone = recordOf(cast, packet, 'a', 'ended')
    return [
      published(cast, packet),
      { packets: [cast.peer('c1').publish([gone])], expect: [] },
      {
        packets: [packet],
        expect: [cast.forward(packet, 'a1', cast.choice(packet, popA(cast)))],
      },
    ]
  },
  counts: { consumed: 2, publish_flows_received: 2, forwarded: 1, misrouted_home: 1 },
}

const toldByOther: Vector = {
  name: 'a living flow that a node of another PoP tells of is known',
  stage: { ...twoPops, fleet: sampleFleet({ pops: 3 }), peers: ['a1', 'c1'] },
  steps: (cast) => {
    const packet = ack(CONNECTION4)
    return [
      published(cast, packet, 'c1'),
      {
        packets: [packet],
        expect: [cast.forward(packet, 'a1', cast.choice(packet, popA(cast)))],
      },
    ]
  },
  counts: { consumed: 1, publish_flows_received: 1, forwarded: 1, misrouted_home: 1 },
}

const duplicated: Vector = {
  name: 'a batch that was taken in before changes nothing, also under a new sequence number',
  stage: twoPops,
  steps: (cast) => {
    const packet = ack(CONNECTION4)
    const living = recordOf(cast, packet, 'a')
    const gone = recordOf(cast, packet, 'a', 'ended')
    const peer = cast.peer('a1')
    return [
      { packets: [peer.publish([living], 1n), peer.publish([gone], 1n)], expect: [] },
      {
        packets: [packet],
        expect: [cast.forward(packet, 'a1', cast.choice(packet, popA(cast)))],
      },
    ]
  },
  counts: { consumed: 2, publish_flows_received: 1, forwarded: 1, misrouted_home: 1 },
}

/** What the node holds, what a record says, and whose backend a packet then gets. */
function claim(
  name: string,
  own: { readonly state: FlowState; readonly age: number },
  winner: 'own' | 'other',
  age: number,
): Vector {
  return {
    name,
    stage: { ...twoPops, fleet: sampleFleet({ pops: 3 }), peers: ['a1', 'c1'] },
    steps: (cast) => {
      const packet = ack(CONNECTION4)
      const flow = cast.flow(packet)
      const [a, , c] = cast.fleet.pops
      if (a === undefined || c === undefined) throw new Error('three PoPs')
      const first = cast.choice(packet, c)
      const second = cast.choice(packet, a)
      const held = { ...own, flow, backend: first.id, idle: 0 }
      const other = { ...held, backend: second.id, age }
      return [
        { packets: [cast.peer('c1').publish([held])], expect: [] },
        { packets: [cast.peer('a1').publish([other])], expect: [] },
        {
          packets: [packet],
          expect: [
            winner === 'own'
              ? cast.forward(packet, 'c1', first)
              : cast.forward(packet, 'a1', second),
          ],
        },
      ]
    },
    counts: {
      consumed: 2,
      publish_flows_received: 2,
      forwarded: 1,
      misrouted_home: 1,
      ...(winner === 'own' ? { claims_won: 1 } : { claims_lost: 1 }),
    },
  }
}

const claims: readonly Vector[] = [
  claim('the younger claim wins: the new one', { state: 'established', age: 50 }, 'other', 10),
  claim('the younger claim wins: the one held', { state: 'established', age: 10 }, 'own', 50),
  // PoP a's backend ids are below PoP c's.
  claim(
    'claims of one age: the smaller backend id',
    { state: 'established', age: 20 },
    'other',
    20,
  ),
]

export const fleetVectors: readonly Vector[] = [
  ...misrouted,
  repeatedSyn,
  misroutedError,
  ...forwarded,
  forwardedLocal,
  otherOwner,
  asks,
  told,
  toldOwn,
  asked,
  askedSyn,
  askedInVain,
  askedElsewhere,
  asksNobody,
  ended,
  endedByOther,
  toldByOther,
  duplicated,
  ...claims,
]
