// Packet vectors of a node that receives RELAY: every branch of docs/wire-format.md, section 2.2. See vector.ts.

import type { Backend } from '../../src/fleet/model.js'
import { type Bytes, pattern } from './bytes.js'
import { answerTo, echoRequest, icmpError, quote, SYN_OPTIONS, tcp, udp } from './packets.js'
import { CLIENT4, CLIENT6, popNamed, sampleFleet, VIP4, VIP6, withoutBackends } from './samples.js'
import {
  type Cast,
  CONNECTION4,
  CONNECTION6,
  connectionWith,
  local,
  type Vector,
} from './vector.js'
import { ack, published, recordOf } from './vectors-fleet.js'

/** Node b1 among three PoPs of one node. */
const three = { fleet: sampleFleet({ pops: 3 }), node: 'b1', peers: ['a1', 'c1'] } as const
const three6 = { ...three, fleet: sampleFleet({ pops: 3, outer: 6 }) } as const
const FAMILIES = [
  ['IPv4 over IPv4', three, CONNECTION4],
  ['IPv6 over IPv4', three, CONNECTION6],
  ['IPv4 over IPv6', three6, CONNECTION4],
  ['IPv6 over IPv6', three6, CONNECTION6],
] as const

/** The peer is dead when this has passed since it fell silent. */
const FIVE_SECONDS = 5_000_000n
const SYN4 = tcp({ ...CONNECTION4, flags: 'S', tcpOptions: SYN_OPTIONS })
const ACK4 = ack(CONNECTION4)

/** A RELAY from a1, with a backend or without. */
const relay = (cast: Cast, packet: Bytes, backend = 0): Bytes =>
  cast.peer('a1').send(cast.flow(packet), { verb: 'RELAY', backend }, packet)

const choiceIn = (cast: Cast, pop: string, packet: Bytes): Backend =>
  cast.choice(packet, popNamed(cast.fleet, pop))

/** A backend of this PoP that is not the Maglev choice: whoever names it knows better. */
function other(cast: Cast, packet: Bytes): Backend {
  const backend = cast.pop.backends.find(({ id }) => id !== cast.choice(packet).id)
  if (backend === undefined) throw new Error('a PoP has two backends')
  return backend
}

const LEARNED = { consumed: 1, publish_flows_received: 1 } as const

const withOwn: readonly Vector[] = FAMILIES.map(([name, stage, connection]) => ({
  name: `a RELAY with a backend of this PoP is delivered to it and recorded, ${name}`,
  stage,
  steps: (cast) => {
    const packet = ack(connection)
    const backend = other(cast, packet)
    const later = tcp({ ...connection, flags: 'A', seq: 7301 })
    return [
      { packets: [relay(cast, packet, backend.id)], expect: [cast.plain(packet, backend)] },
      { packets: [relay(cast, later, backend.id)], expect: [cast.plain(later, backend)] },
      { packets: [later], expect: [cast.plain(later, backend)] },
    ]
  },
  counts: { relay_received: 2, delivered_gue: 3, flows_learned: 1 },
}))

const withOwnLocal: Vector = {
  name: 'a RELAY with a backend of deliver: local reaches the stack as the client sent it',
  stage: { ...three, fleet: sampleFleet({ pops: 3, deliver: 'local' }) },
  steps: (cast) => {
    const [backend] = cast.pop.backends
    return [{ packets: [relay(cast, ACK4, backend?.id)], expect: [local(ACK4)] }]
  },
  counts: { relay_received: 1, delivered_local: 1, flows_learned: 1 },
}

const withOwnSyn: Vector = {
  name: 'a SYN in a RELAY with a backend goes to that one, not to the Maglev choice',
  stage: three,
  steps: (cast) => {
    const backend = other(cast, SYN4)
    return [{ packets: [relay(cast, SYN4, backend.id)], expect: [cast.plain(SYN4, backend)] }]
  },
  counts: { relay_received: 1, delivered_gue: 1, flows_learned: 1 },
}

const withForeign: readonly Vector[] = FAMILIES.map(([name, stage, connection]) => ({
  name: `a RELAY with a backend of another PoP goes there with FORWARD, and is not recorded, ${name}`,
  stage,
  steps: (cast) => {
    const packet = ack(connection)
    const backend = choiceIn(cast, 'c', packet)
    return [
      {
        packets: [relay(cast, packet, backend.id)],
        expect: [cast.forward(packet, 'c1', backend)],
      },
      { packets: [packet], expect: [] },
    ]
  },
  counts: { relay_received: 1, forwarded: 1, first_refusal: 1 },
}))

const withForeignKnown: Vector = {
  name: 'a RELAY with the backend that this PoP knows as well goes there with FORWARD',
  stage: three,
  steps: (cast) => {
    const backend = choiceIn(cast, 'c', ACK4)
    return [
      published(cast, ACK4, 'c1', 'c'),
      { packets: [relay(cast, ACK4, backend.id)], expect: [cast.forward(ACK4, 'c1', backend)] },
    ]
  },
  counts: { ...LEARNED, relay_received: 1, forwarded: 1, misrouted_home: 1 },
}

const withBack: Vector = {
  name: 'a RELAY with a backend of the PoP that sent it goes back with FORWARD',
  stage: three,
  steps: (cast) => {
    const backend = choiceIn(cast, 'a', ACK4)
    return [
      { packets: [relay(cast, ACK4, backend.id)], expect: [cast.forward(ACK4, 'a1', backend)] },
    ]
  },
  counts: { relay_received: 1, forwarded: 1 },
}

const withNew: Vector = {
  name: 'a RELAY with a backend that is configured elsewhere only goes to the PoP that its id names',
  stage: three,
  steps: (cast) => {
    const backend = { id: 0x00300001 }
    return [
      { packets: [relay(cast, ACK4, backend.id)], expect: [cast.forward(ACK4, 'c1', backend)] },
    ]
  },
  counts: { relay_received: 1, forwarded: 1 },
}

const withGone: Vector = {
  name: 'a RELAY with a backend of no PoP, or of this one and not configured, is dropped',
  stage: three,
  steps: (cast) => [
    {
      packets: [1, 0x00900001, 0x00200001].map((id) => relay(cast, ACK4, id)),
      expect: [],
    },
  ],
  counts: { relay_received: 3, backend_gone: 3 },
}

const withDead: Vector = {
  name: 'a RELAY with a backend of a PoP that is not heard here either is dropped, never sent on',
  stage: {
    ...three,
    fleet: sampleFleet({ pops: 4 }),
    peers: ['a1', 'c1', 'd1'],
  },
  steps: (cast) => {
    const backend = choiceIn(cast, 'c', ACK4)
    cast.stage.silent.add(cast.peer('c1'))
    return [{ afterUs: FIVE_SECONDS, packets: [relay(cast, ACK4, backend.id)], expect: [] }]
  },
  counts: { relay_received: 1, peer_unreachable: 1 },
}

/** The node knows the flow with one backend, and the RELAY says another. */
function differs(name: string, known: 'b' | 'c', said: 'a' | 'b' | 'c' | 'none'): Vector {
  return {
    name: `a RELAY with another backend than this PoP knows is dropped and its origin told: ${name}`,
    stage: three,
    steps: (cast) => {
      const record = recordOf(cast, ACK4, known)
      const ids =
        said === 'none' ? [0x00900001] : popNamed(cast.fleet, said).backends.map(({ id }) => id)
      const id = ids.find((candidate) => candidate !== record.backend) ?? 0
      return [
        published(cast, ACK4, 'c1', known),
        { packets: [relay(cast, ACK4, id)], expect: [cast.owner('a1', record)] },
      ]
    },
    counts: { ...LEARNED, relay_received: 1, owner_differs: 1, owner_sent: 1 },
  }
}

const withOther: readonly Vector[] = [
  differs('both of this PoP', 'b', 'b'),
  differs('of another PoP than is known here', 'b', 'a'),
  differs('of this PoP, known in another', 'c', 'b'),
  differs('both of one other PoP', 'c', 'c'),
  differs('of no configured PoP', 'c', 'none'),
]

const knownForeign: readonly Vector[] = FAMILIES.map(([name, stage, connection]) => ({
  name: `a RELAY without a backend of a flow of another PoP goes there, and its origin is told, ${name}`,
  stage,
  steps: function* (cast) {
    const packets = [
      ack(connection),
      tcp({ ...connection, flags: 'S' }),
      tcp({ ...connection, flags: 'FA', seq: 7301 }),
      tcp({ ...connection, flags: 'R', seq: 7302 }),
    ]
    const backend = choiceIn(cast, 'c', ack(connection))
    const record = recordOf(cast, ack(connection), 'c')
    yield published(cast, ack(connection), 'c1', 'c')
    for (const packet of packets) {
      const expect = [cast.forward(packet, 'c1', backend), cast.owner('a1', record)]
      yield { packets: [relay(cast, packet)], expect }
    }
  },
  counts: { ...LEARNED, relay_received: 4, forwarded: 4, misrouted_home: 4, owner_sent: 4 },
}))

const knownOwn: Vector = {
  name: 'a RELAY without a backend of a flow of this PoP is delivered, and its origin is told',
  stage: three,
  steps: (cast) => {
    const backend = cast.choice(SYN4)
    const record = recordOf(cast, SYN4, 'b', 'half-open', 0)
    return [
      { packets: [SYN4], expect: [cast.plain(SYN4, backend)] },
      {
        packets: [relay(cast, SYN4)],
        expect: [cast.plain(SYN4, backend), cast.owner('a1', record)],
      },
    ]
  },
  counts: { flows_new: 1, relay_received: 1, delivered_gue: 2, owner_sent: 1 },
}

const knownDead: Vector = {
  name: 'a RELAY without a backend of a flow whose PoP is not heard is dropped, and its origin told',
  stage: {
    ...three,
    fleet: sampleFleet({ pops: 4 }),
    peers: ['a1', 'c1', 'd1'],
  },
  steps: function* (cast) {
    const record = recordOf(cast, ACK4, 'c')
    cast.stage.silent.add(cast.peer('c1'))
    yield published(cast, ACK4, 'c1', 'c')
    yield { afterUs: FIVE_SECONDS, packets: [], expect: [] }
    const told = { ...record, age: record.age + 3, idle: 3 }
    yield { packets: [relay(cast, ACK4)], expect: [cast.owner('a1', told)] }
  },
  counts: { ...LEARNED, relay_received: 1, peer_unreachable: 1, owner_sent: 1 },
}

const begins: readonly Vector[] = FAMILIES.map(([name, stage, connection]) => ({
  name: `a SYN in a RELAY begins a connection here, and its origin is told, ${name}`,
  stage,
  steps: (cast) => {
    const syn = tcp({ ...connection, flags: 'S', tcpOptions: SYN_OPTIONS })
    const packet = ack(connection)
    const backend = cast.choice(syn)
    const record = recordOf(cast, syn, 'b', 'half-open', 0)
    return [
      {
        packets: [relay(cast, syn)],
        expect: [cast.plain(syn, backend), cast.owner('a1', record)],
      },
      { packets: [packet], expect: [cast.plain(packet, backend)] },
    ]
  },
  counts: { relay_received: 1, flows_new: 1, delivered_gue: 2, owner_sent: 1 },
}))

const asHome: Vector = {
  name: 'a node that gets a RELAY acts as the home though it is not, asks nobody and is certain of nothing',
  stage: {
    fleet: sampleFleet({ pops: 2, nodesPerPop: 2 }),
    node: 'b1',
    peers: ['a1', 'a2', 'b2'],
  },
  steps: (cast) => {
    const connection = connectionWith(cast.fleet, { a: 'a1', b: 'b2' })
    const syn = tcp({ ...connection, flags: 'S' })
    const unknown = ack(connectionWith(cast.fleet, { b: 'b2' }, { ...connection, sport: 50000 }))
    const record = recordOf(cast, syn, 'b', 'half-open', 0)
    return [
      { packets: [relay(cast, unknown)], expect: [] },
      {
        packets: [relay(cast, syn)],
        expect: [cast.plain(syn, cast.choice(syn)), cast.owner('a1', record)],
      },
    ]
  },
  counts: { relay_received: 2, relay_unknown: 1, flows_new: 1, delivered_gue: 1, owner_sent: 1 },
}

const datagrams = (): readonly Bytes[] => [
  udp({ from: CLIENT4, to: VIP4, sport: 5000, dport: 443, payload: pattern(64) }),
  udp({ from: CLIENT6, to: VIP6, sport: 5000, dport: 443, payload: pattern(64) }),
  echoRequest({ from: CLIENT4, to: VIP4, payload: pattern(56) }),
  echoRequest({ from: CLIENT6, to: VIP6, payload: pattern(56) }),
]

const stateless: Vector = {
  name: 'a datagram or a ping in a RELAY goes to the Maglev choice, and nobody is told',
  stage: three,
  steps: (cast) =>
    datagrams().map((packet) => ({
      packets: [relay(cast, packet)],
      expect: [cast.plain(packet, cast.choice(packet))],
    })),
  counts: { relay_received: 4, delivered_gue: 4 },
}

const noBackend: Vector = {
  name: 'a SYN, a datagram or a ping in a RELAY to a PoP without a backend is dropped, not sent on',
  stage: { ...three, fleet: withoutBackends(three.fleet, 'b') },
  steps: (cast) => [
    { packets: [SYN4, ...datagrams()].map((packet) => relay(cast, packet)), expect: [] },
  ],
  counts: { relay_received: 5, no_backend: 5 },
}

/** Segments of a flow that nobody knows, none of which begins a connection, and an ICMP error about it. */
const strays = (): readonly Bytes[] => [
  ACK4,
  tcp({ ...CONNECTION4, flags: 'SA' }),
  tcp({ ...CONNECTION4, flags: 'FA' }),
  tcp({ ...CONNECTION4, flags: 'R' }),
  tcp({ ...CONNECTION4, flags: 'SR' }),
]

function tooBig(): Bytes {
  const answer = answerTo({ ...CONNECTION4, flags: 'A' }, 'PA', pattern(600))
  return icmpError({ from: '192.0.2.254', to: VIP4, kind: 'too-big', quote: quote(answer, 8) })
}

const unknownUncertain: Vector = {
  name: 'a RELAY of a flow that is not known here either is dropped, however often, when that is not certain',
  stage: { ...three, fleet: sampleFleet({ pops: 4 }), peers: ['a1', 'c1', 'd1'] },
  steps: (cast) => {
    cast.stage.silent.add(cast.peer('c1'))
    const packets = [...strays(), tooBig()].map((packet) => relay(cast, packet))
    return [
      { afterUs: FIVE_SECONDS, packets, expect: [] },
      { afterUs: 600_000n, packets, expect: [] },
    ]
  },
  counts: { relay_received: 12, relay_unknown: 12 },
}

const unknownCertain: Vector = {
  name: 'a RELAY of a flow that nobody knows goes to the Maglev choice when that is certain twice, but no ICMP error does',
  stage: three,
  steps: (cast) => {
    const packets = [...strays(), tooBig()].map((packet) => relay(cast, packet))
    return [
      { packets, expect: [] },
      { afterUs: 400_000n, packets, expect: [] },
      {
        afterUs: 200_000n,
        packets,
        expect: strays().map((packet) => cast.plain(packet, cast.choice(packet))),
      },
    ]
  },
  counts: {
    relay_received: 18,
    first_refusal: 10,
    unknown_icmp: 3,
    certain_no: 5,
    delivered_gue: 5,
  },
}

const unknownNoBackend: Vector = {
  name: 'a RELAY of a flow that nobody knows, to a PoP without a backend, is dropped, not sent on',
  stage: { ...three, fleet: withoutBackends(three.fleet, 'b') },
  steps: (cast) => [
    { packets: [relay(cast, ACK4)], expect: [] },
    { afterUs: 600_000n, packets: [relay(cast, ACK4)], expect: [] },
  ],
  counts: { relay_received: 2, first_refusal: 1, certain_no: 1, no_backend: 1 },
}

const inVersion1: Vector = {
  name: 'RELAY in version 1 is dropped',
  stage: { ...three, special: { a1: { highest: 1 } } },
  steps: (cast) => [
    {
      packets: [relay(cast, SYN4), relay(cast, ACK4, cast.choice(ACK4).id)],
      expect: [],
    },
  ],
  counts: { relay_unsupported: 2 },
}

const ofOwnPop: Vector = {
  name: 'RELAY from a node of the same PoP is dropped',
  stage: {
    fleet: sampleFleet({ pops: 2, nodesPerPop: 2 }),
    node: 'b1',
    peers: ['a1', 'a2', 'b2'],
  },
  steps: (cast) => {
    const sent = [0, cast.choice(SYN4).id].map((backend) =>
      cast.peer('b2').send(cast.flow(SYN4), { verb: 'RELAY', backend }, SYN4),
    )
    return [{ packets: sent, expect: [] }]
  },
  counts: { unknown_origin: 2 },
}

export const relayVectors: readonly Vector[] = [
  ...withOwn,
  withOwnLocal,
  withOwnSyn,
  ...withForeign,
  withForeignKnown,
  withBack,
  withNew,
  withGone,
  withDead,
  ...withOther,
  ...knownForeign,
  knownOwn,
  knownDead,
  ...begins,
  asHome,
  stateless,
  noBackend,
  unknownUncertain,
  unknownCertain,
  unknownNoBackend,
  inVersion1,
  ofOwnPop,
]
