// Packet vectors of a node that hands packets on with RELAY: which, and to whom (docs/wire-format.md, sections 2.2 and
// 3.3). What a RELAY's receiver does is in vectors-relay.ts. See vector.ts.

import { MS } from './bench.js'
import { type Bytes, pattern } from './bytes.js'
import { answerTo, echoRequest, icmpError, quote, tcp, udp } from './packets.js'
import { CLIENT4, popNamed, sampleFleet, VIP4 } from './samples.js'
import type { StageOptions } from './stage.js'
import {
  type Cast,
  CONNECTION4,
  CONNECTION6,
  connectionWith,
  type Step,
  type Vector,
} from './vector.js'
import { ack, published, recordOf } from './vectors-fleet.js'
import type { Hello } from './wire.js'

/** The peer is dead when this has passed since it fell silent. */
const FIVE_SECONDS = 5_000_000n
const ACK4 = ack(CONNECTION4)
const SYN4 = tcp({ ...CONNECTION4, flags: 'S' })

/** Node b1 among four PoPs of one node: d is nearest, then a, then c. */
export const four = {
  fleet: sampleFleet({ pops: 4 }),
  node: 'b1',
  peers: ['a1', 'c1', 'd1'],
  special: {
    a1: { rttUs: 30n * MS },
    c1: { rttUs: 40n * MS },
    d1: { rttUs: 10n * MS },
  },
} as const
const four6 = { ...four, fleet: sampleFleet({ pops: 4, outer: 6 }) } as const

/** These peers speak version 1 only. */
export const inVersion1 = (...names: readonly (keyof typeof four.special)[]): StageOptions => ({
  ...four,
  special: {
    ...four.special,
    ...Object.fromEntries(names.map((name) => [name, { ...four.special[name], highest: 1 }])),
  },
})

export interface Situation {
  readonly stage?: StageOptions
  /** Peers that are dead. */
  readonly silent?: readonly string[]
  /** What peers say in their HELLOs. */
  readonly sayings?: Readonly<Record<string, Partial<Hello>>>
  /** Services that a peer does not serve, as it says once. */
  readonly unserved?: readonly (readonly [peer: string, services: readonly number[] | 'all'])[]
  /** PoPs that a peer does not hear, in the order in which it says so. */
  readonly reach?: readonly (readonly [peer: string, ...pops: readonly (string | number)[]])[]
}

const popIds = (cast: Cast, pops: readonly (string | number)[]): readonly number[] =>
  pops.map((pop) => (typeof pop === 'number' ? pop : popNamed(cast.fleet, pop).id))

/** Makes the situation, once what comes before has been played. */
export function arrange(
  cast: Cast,
  { silent = [], sayings = {}, reach = [], unserved = [] }: Situation,
): Step {
  for (const name of silent) cast.stage.silent.add(cast.peer(name))
  for (const [name, said] of Object.entries(sayings)) cast.stage.sayings.set(cast.peer(name), said)
  const packets = [
    ...reach.map(([name, ...pops]) => cast.peer(name).reach(popIds(cast, pops))),
    ...unserved.map(([name, services]) => cast.peer(name).reach([], services)),
  ]
  return { afterUs: FIVE_SECONDS, packets, expect: [] }
}

export function reachCounts({ reach = [], unserved = [] }: Situation): Record<string, number> {
  const told = reach.length + unserved.length
  return told === 0 ? {} : { consumed: told, reach_received: told }
}

/** A flow of PoP c, of which no node is alive: to whom its packets go. */
function known(name: string, situation: Situation, to: string | undefined): Vector {
  const all = { silent: ['c1'], ...situation }
  const counts = reachCounts(all)
  return {
    name: `a known flow whose PoP is not heard: ${name}`,
    stage: situation.stage ?? four,
    steps: function* (cast) {
      yield published(cast, ACK4, 'c1', 'c')
      yield arrange(cast, all)
      const { id } = cast.choice(ACK4, popNamed(cast.fleet, 'c'))
      const packets = [ACK4, tcp({ ...CONNECTION4, flags: 'FA' })]
      const expect = to === undefined ? [] : packets.map((packet) => cast.relay(packet, to, id))
      yield { packets, expect }
    },
    counts: {
      ...counts,
      consumed: 1 + (counts.consumed ?? 0),
      publish_flows_received: 1,
      ...(to === undefined ? { peer_unreachable: 2 } : { relayed: 2 }),
    },
  }
}

const knownFlows: readonly Vector[] = [
  known('to the nearest PoP', {}, 'd1'),
  known(
    'to the nearest PoP, which is another',
    { stage: { ...four, special: { ...four.special, d1: { rttUs: 50n * MS } } } },
    'a1',
  ),
  known('to the next when the nearest is dead', { silent: ['c1', 'd1'] }, 'a1'),
  known(
    'to the next when the nearest has not filled',
    { sayings: { d1: { filled: false } } },
    'a1',
  ),
  known('to the next when the nearest speaks version 1', { stage: inVersion1('d1') }, 'a1'),
  known('to nobody when all speak version 1', { stage: inVersion1('a1', 'c1', 'd1') }, undefined),
  known('its own version does not matter', { stage: inVersion1('c1') }, 'd1'),
  known('to the nearest that says nothing is out of reach', { reach: [['d1'], ['a1']] }, 'd1'),
  known('to the next when the nearest does not hear it either', { reach: [['d1', 'c']] }, 'a1'),
  known('what else the nearest does not hear is no matter', { reach: [['d1', 'a', 'b']] }, 'd1'),
  known(
    'to nobody when nobody hears it',
    {
      reach: [
        ['d1', 'a', 'c'],
        ['a1', 'c', 'd'],
      ],
    },
    undefined,
  ),
  known('PoPs that are not configured are skipped', { reach: [['d1', 9, 0, 0xfff, 0xffff]] }, 'd1'),
  known('behind one that is not configured', { reach: [['d1', 9, 'c']] }, 'a1'),
  known('the last word of the nearest counts', { reach: [['d1', 'c'], ['d1']] }, 'd1'),
  known('the last word of the nearest counts, again', { reach: [['d1'], ['d1', 'c']] }, 'a1'),
]

const families: readonly Vector[] = (
  [
    ['IPv6 over IPv4', four, CONNECTION6],
    ['IPv4 over IPv6', four6, CONNECTION4],
    ['IPv6 over IPv6', four6, CONNECTION6],
  ] as const
).map(([name, stage, connection]) => ({
  name: `RELAY with a backend and without, ${name}`,
  stage,
  steps: function* (cast) {
    const packet = ack(connection)
    const stranger = ack({ ...connection, sport: 50000 })
    yield published(cast, packet, 'c1', 'c')
    yield arrange(cast, { silent: ['c1'] })
    const { id } = cast.choice(packet, popNamed(cast.fleet, 'c'))
    yield { packets: [packet], expect: [cast.relay(packet, 'd1', id)] }
    yield { packets: [stranger], expect: [cast.relay(stranger, 'd1')] }
  },
  counts: { consumed: 1, publish_flows_received: 1, relayed: 2 },
}))

/** REACH in another order than it was sent in. */
const reordered: Vector = {
  name: 'an older REACH that comes after a newer one changes nothing',
  stage: four,
  steps: function* (cast) {
    yield published(cast, ACK4, 'c1', 'c')
    yield arrange(cast, { silent: ['c1'] })
    const peer = cast.peer('d1')
    const { id } = cast.choice(ACK4, popNamed(cast.fleet, 'c'))
    const [older, newer] = [peer.reach([]), peer.reach(popIds(cast, ['c']))]
    yield { packets: [newer, older, ACK4], expect: [cast.relay(ACK4, 'a1', id)] }
    const [second, third] = [peer.reach(popIds(cast, ['c'])), peer.reach([])]
    yield { packets: [third, second, ACK4], expect: [cast.relay(ACK4, 'd1', id)] }
  },
  counts: { consumed: 5, publish_flows_received: 1, reach_received: 4, relayed: 2 },
}

/** Two nodes in PoPs a and b; the flow's home is b1, and a2 in PoP a. PoP c is not heard. */
function homes(
  name: string,
  situation: Situation,
  to: string | undefined,
  besides: Readonly<Record<string, number>> = {},
): Vector {
  const whole = sampleFleet({ pops: 3, nodesPerPop: 2 })
  const pops = whole.pops.map((pop) =>
    pop.name === 'c' ? { ...pop, nodes: pop.nodes.slice(0, 1) } : pop,
  )
  const fleet = { ...whole, pops }
  const connection = connectionWith(fleet, { a: 'a2', b: 'b1', c: 'c1' })
  const packet = ack(connection)
  return {
    name: `a RELAY goes to the flow's home in the other PoP: ${name}`,
    stage: {
      fleet,
      node: 'b1',
      peers: ['a1', 'a2', 'b2', 'c1'],
      ...(situation.stage?.special ? { special: situation.stage.special } : {}),
    },
    steps: function* (cast) {
      yield published(cast, packet, 'c1', 'c')
      yield arrange(cast, { ...situation, silent: ['c1', ...(situation.silent ?? [])] })
      const { id } = cast.choice(packet, popNamed(fleet, 'c'))
      const asked = cast.peer('b2').send(cast.flow(packet), { verb: 'ASK', backend: 0 }, packet)
      const record = { ...recordOf(cast, packet, 'c'), age: 8, idle: 3 }
      yield { packets: [packet], expect: to === undefined ? [] : [cast.relay(packet, to, id)] }
      yield {
        packets: [asked],
        expect: [
          ...(to === undefined ? [] : [cast.relay(packet, to, id)]),
          cast.owner('b2', record),
        ],
      }
    },
    counts: {
      consumed: 1,
      publish_flows_received: 1,
      ask_received: 1,
      owner_sent: 1,
      ...besides,
      ...(to === undefined ? { peer_unreachable: 2 } : { relayed: 2 }),
    },
  }
}

const otherHomes: readonly Vector[] = [
  homes('alive and filled', {}, 'a2'),
  homes('the next when it is dead', { silent: ['a2'] }, 'a1', {
    walks_started: 1,
    walks_finished: 1,
    publish_flows_sent: 1,
    publish_batches_sent: 1,
    publish_batches_acked: 1,
  }),
  homes('the next when it has not filled', { sayings: { a2: { filled: false } } }, 'a1'),
  homes(
    'and to no other node of the PoP when the home speaks version 1',
    { stage: { ...four, special: { a2: { highest: 1 } } } },
    undefined,
  ),
]

function tooBig(): Bytes {
  const answer = answerTo({ ...CONNECTION4, flags: 'A' }, 'PA', pattern(600))
  return icmpError({ from: '192.0.2.254', to: VIP4, kind: 'too-big', quote: quote(answer, 8) })
}

/** A flow that the node does not know, and whose "no" is not certain: to whom its packets go. */
function unknown(name: string, situation: Situation, to: string | undefined): Vector {
  const counts = reachCounts(situation)
  return {
    name: `an unknown flow and no certain "no": ${name}`,
    stage: situation.stage ?? four,
    steps: function* (cast) {
      yield arrange(cast, situation)
      const packets = [
        ACK4,
        tcp({ ...CONNECTION4, flags: 'FA' }),
        tcp({ ...CONNECTION4, flags: 'R' }),
        tooBig(),
      ]
      const expect = to === undefined ? [] : packets.map((packet) => cast.relay(packet, to))
      yield { packets, expect }
      yield { afterUs: 600n * MS, packets, expect }
    },
    counts: { ...counts, ...(to === undefined ? { uncertain: 8 } : { relayed: 8 }) },
  }
}

const DEAD_C = { silent: ['c1'] } as const
const H = { withholds: true } as const
const five = {
  ...four,
  fleet: sampleFleet({ pops: 5 }),
  peers: ['a1', 'c1', 'd1', 'e1'],
} as const

const unknownFlows: readonly Vector[] = [
  unknown('to the nearest PoP', DEAD_C, 'd1'),
  unknown(
    'to the next when the nearest does not hear who is missing',
    {
      ...DEAD_C,
      reach: [['d1', 'c']],
    },
    'a1',
  ),
  unknown(
    'to nobody when nobody hears who is missing',
    {
      ...DEAD_C,
      reach: [
        ['d1', 'c'],
        ['a1', 'c'],
      ],
    },
    undefined,
  ),
  unknown(
    'to the next when the nearest speaks version 1',
    {
      ...DEAD_C,
      stage: inVersion1('d1'),
    },
    'a1',
  ),
  unknown(
    'to nobody when all speak version 1',
    {
      ...DEAD_C,
      stage: inVersion1('a1', 'c1', 'd1'),
    },
    undefined,
  ),
  unknown(
    'to a farther PoP that reaches more of those that are missing',
    {
      stage: five,
      silent: ['c1', 'e1'],
      reach: [['d1', 'e']],
    },
    'a1',
  ),
  unknown(
    'to the nearest of those that reach as many',
    {
      stage: five,
      silent: ['c1', 'e1'],
      reach: [
        ['d1', 'e'],
        ['a1', 'c'],
      ],
    },
    'd1',
  ),
  unknown(
    'a peer that says H is missing: to the nearest that hears it',
    {
      sayings: { a1: H },
    },
    'd1',
  ),
  unknown(
    'a peer that says H is missing, and reaches itself',
    {
      sayings: { a1: H },
      reach: [
        ['d1', 'a'],
        ['c1', 'a'],
      ],
    },
    'a1',
  ),
  unknown(
    'a PoP reaches itself whatever it says',
    {
      sayings: { a1: H },
      reach: [
        ['d1', 'a'],
        ['c1', 'a'],
        ['a1', 'a', 'c', 'd'],
      ],
    },
    'a1',
  ),
  unknown(
    'a peer of version 1 that is missing is not asked itself',
    {
      stage: inVersion1('a1'),
      sayings: { a1: H },
      reach: [
        ['d1', 'a'],
        ['c1', 'a'],
      ],
    },
    undefined,
  ),
  unknown('a peer that has not filled is missing', { sayings: { a1: { filled: false } } }, 'd1'),
  unknown('a peer whose walk is not done is missing', { sayings: { a1: { walked: false } } }, 'd1'),
  unknown('a peer of which a batch is missing', { sayings: { a1: { batchesSent: 5n } } }, 'd1'),
  unknown(
    'a peer whose walk ended with a batch that is missing',
    {
      sayings: { a1: { walkEnd: 5n } },
    },
    'd1',
  ),
]

/** Four entries are one bucket of the flow table: a fifth established flow makes one give way. */
const forgetful: Vector = {
  name: 'a node that forgot a living flow asks the nearest PoP, whomever that does not hear',
  stage: { ...four, flowEntries: 4 },
  steps: function* (cast) {
    const records = Array.from({ length: 5 }, (_, i) => ({
      ...recordOf(cast, ACK4, 'a'),
      flow: 0x1000n + BigInt(i),
    }))
    yield { packets: [cast.peer('a1').publish(records)], expect: [] }
    const everybody = popIds(cast, ['a', 'b', 'c'])
    yield {
      packets: [cast.peer('d1').reach(everybody), ACK4],
      expect: [cast.relay(ACK4, 'd1')],
    }
  },
  counts: {
    consumed: 2,
    publish_flows_received: 5,
    flows_evicted_idle: 1,
    reach_received: 1,
    relayed: 1,
  },
}

const certainAgain: Vector = {
  name: 'a "no" is certain again when nobody says H any more',
  stage: four,
  steps: function* (cast) {
    yield arrange(cast, { sayings: { a1: H } })
    yield { packets: [ACK4], expect: [cast.relay(ACK4, 'd1')] }
    cast.stage.sayings.clear()
    yield { afterUs: 200n * MS, packets: [ACK4], expect: [] }
    yield { afterUs: 600n * MS, packets: [ACK4], expect: [cast.plain(ACK4, cast.choice(ACK4))] }
  },
  counts: { relayed: 1, first_refusal: 1, certain_no: 1, delivered_gue: 1 },
}

const begins: Vector = {
  name: 'a SYN, a datagram and a ping are served here, certain or not',
  stage: four,
  steps: function* (cast) {
    yield arrange(cast, DEAD_C)
    const packets = stateless()
    yield { packets, expect: packets.map((packet) => cast.plain(packet, cast.choice(packet))) }
  },
  counts: { flows_new: 1, delivered_gue: 3 },
}

export function stateless(): readonly Bytes[] {
  return [
    SYN4,
    udp({ from: CLIENT4, to: VIP4, sport: 5000, dport: 443, payload: pattern(64) }),
    echoRequest({ from: CLIENT4, to: VIP4, payload: pattern(56) }),
  ]
}

export const reachVectors: readonly Vector[] = [
  ...knownFlows,
  ...families,
  reordered,
  ...otherHomes,
  ...unknownFlows,
  forgetful,
  certainAgain,
  begins,
]
