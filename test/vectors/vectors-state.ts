// Packet vectors of refusals that depend on what a node knows, and of packets that do not fit the path. See vector.ts.

import { type Bytes, pattern } from './bytes.js'
import { PROTO } from './names.js'
import { fragments, icmpError, type TcpFields, tcp, udp, udpDatagram } from './packets.js'
import { CLIENT4, CLIENT6, sampleFleet, VIP4, VIP6, withoutBackends } from './samples.js'
import { type Cast, CONNECTION4, CONNECTION6, type Vector } from './vector.js'

const twoPops = { fleet: sampleFleet({ pops: 2 }), node: 'b1', peers: ['a1'] } as const
const alone = { fleet: sampleFleet(), node: 'a1' } as const

/** The longest inner packet that fits 1500 bytes behind IPv4, UDP and GUE. */
const ROOM = 1500 - 20 - 8 - 4
const ICMP4_MAX = 576
const ICMP6_MAX = 1280

const noBackend: Vector = {
  name: 'a fleet without a backend of the pool drops what is new',
  stage: { ...twoPops, fleet: withoutBackends(twoPops.fleet, 'a', 'b') },
  steps: () => [
    {
      packets: [
        tcp({ ...CONNECTION4, flags: 'S' }),
        udp({ from: CLIENT4, to: VIP4, sport: 5000, dport: 443 }),
      ],
      expect: [],
    },
  ],
  counts: { no_backend: 2 },
}

/** What a1 publishes about a packet's flow. */
const publish = (cast: Cast, packet: Bytes, backend: number): Bytes =>
  cast
    .peer('a1')
    .publish([{ flow: cast.flow(packet), backend, state: 'established', age: 5, idle: 0 }])

const strangeBackends: Vector = {
  name: 'a publication that names a backend of no configured PoP makes nothing known',
  stage: twoPops,
  steps: (cast) => {
    const packet = tcp({ ...CONNECTION4, flags: 'A' })
    return [0, 1, 0x00900001, 0xffffffff].map((backend) => ({
      packets: [publish(cast, packet, backend), packet],
      expect: [],
    }))
  },
  counts: { consumed: 4, publish_flows_received: 4, first_refusal: 4 },
}

const newBackends: Vector = {
  name: 'a backend that is not configured is of the PoP that its id names',
  stage: twoPops,
  steps: (cast) => {
    const theirs = tcp({ ...CONNECTION4, flags: 'A' })
    const ours = tcp({ ...CONNECTION4, sport: 40002, flags: 'A' })
    return [
      {
        packets: [publish(cast, theirs, 0x00100001), theirs],
        expect: [cast.forward(theirs, 'a1', { id: 0x00100001 })],
      },
      { packets: [publish(cast, ours, 0x00200001), ours], expect: [] },
    ]
  },
  counts: {
    consumed: 2,
    publish_flows_received: 2,
    forwarded: 1,
    misrouted_home: 1,
    backend_gone: 1,
  },
}

/** The peer has been silent for longer than three of its HELLOs. */
const FIVE_SECONDS = 5_000_000n

const deadOwner: Vector = {
  name: 'a flow whose PoP has no live node is dropped until one lives',
  stage: twoPops,
  steps: (cast) => {
    const packet = tcp({ ...CONNECTION4, flags: 'A' })
    const pop = cast.fleet.pops[0] ?? cast.pop
    const hear = publish(cast, packet, cast.choice(packet, pop).id)
    cast.stage.silent.add(cast.peer('a1'))
    return [
      { packets: [hear], expect: [] },
      { afterUs: FIVE_SECONDS, packets: [packet], expect: [] },
    ]
  },
  counts: { consumed: 1, publish_flows_received: 1, peer_unreachable: 1 },
}

const uncertain: Vector = {
  name: 'an unknown flow is met with silence, however often, while a configured peer is not heard',
  stage: twoPops,
  steps: (cast) => {
    const packet = tcp({ ...CONNECTION4, flags: 'A' })
    const syn = tcp({ ...CONNECTION6, flags: 'S' })
    cast.stage.silent.add(cast.peer('a1'))
    return [
      { afterUs: FIVE_SECONDS, packets: [packet], expect: [] },
      { afterUs: 600_000n, packets: [packet], expect: [] },
      { afterUs: 600_000n, packets: [packet], expect: [] },
      { packets: [syn], expect: [cast.plain(syn, cast.choice(syn))] },
    ]
  },
  counts: { uncertain: 3, flows_new: 1, delivered_gue: 1 },
}

/** What the node answers from the VIP: as much of the packet as such a message may quote. */
function tooBig(packet: Bytes, client: string, vip: string): Bytes {
  const [whole, headers] = vip.includes(':') ? [ICMP6_MAX, 48] : [ICMP4_MAX, 28]
  const quote = packet.slice(0, whole - headers)
  return icmpError({ from: vip, to: client, kind: 'too-big', mtu: ROOM, quote })
}

const tooLong: Vector = {
  name: 'a datagram that does not fit and may not be cut is answered with the size that fits',
  stage: alone,
  steps: () => {
    const four = udp({
      ...{ from: CLIENT4, to: VIP4, sport: 5000, dport: 443, df: true },
      payload: pattern(ROOM + 1 - 28),
    })
    const six = udp({
      ...{ from: CLIENT6, to: VIP6, sport: 5000, dport: 443 },
      payload: pattern(ROOM + 1 - 48),
    })
    return [
      {
        packets: [four, six],
        expect: [
          { egress: 'wire', data: tooBig(four, CLIENT4, VIP4) },
          { egress: 'wire', data: tooBig(six, CLIENT6, VIP6) },
        ],
      },
    ]
  },
  counts: { too_big: 2, too_big_sent: 2 },
}

const longest: Vector = {
  name: 'a packet that just fits goes out whole',
  stage: alone,
  steps: (cast) => {
    const packets = [
      udp({
        ...{ from: CLIENT4, to: VIP4, sport: 5000, dport: 443, df: true },
        payload: pattern(ROOM - 28),
      }),
      tcp({ ...CONNECTION6, flags: 'S', payload: pattern(ROOM - 60) }),
    ]
    return [{ packets, expect: packets.map((packet) => cast.plain(packet, cast.choice(packet))) }]
  },
  counts: { delivered_gue: 2, flows_new: 1 },
}

const fragmentedHere: Vector = {
  name: 'a datagram that does not fit and may be cut goes out in fragments',
  stage: alone,
  steps: (cast) => {
    const ends = { from: CLIENT4, to: VIP4, sport: 5000, dport: 443, id: 77 } as const
    const payload = pattern(1472)
    const whole = udp({ ...ends, payload })
    const backend = cast.choice(whole)
    const most = Math.floor((ROOM - 20) / 8) * 8
    const cut = fragments(ends, PROTO.udp, udpDatagram({ ...ends, payload }), most)
    const flow = cast.flow(whole)
    return [{ packets: [whole], expect: cut.map((piece) => cast.plain(piece, backend, flow)) }]
  },
  counts: { delivered_gue: 1 },
}

/** A TCP packet of 1500 bytes as the two that a node makes of it: all flags but FIN and PSH in both. */
const segments: readonly Vector[] = [CONNECTION4, CONNECTION6].map((connection) => {
  const family = connection === CONNECTION4 ? 'IPv4' : 'IPv6'
  const headers = connection === CONNECTION4 ? 40 : 60
  return {
    name: `a TCP segment that does not fit is cut in two, ${family}`,
    stage: alone,
    steps: (cast) => {
      const syn = tcp({ ...connection, flags: 'S' })
      const payload = pattern(1500 - headers)
      const fields: TcpFields = {
        ...connection,
        flags: 'A',
        seq: 0xfffffff0,
        ack: 7,
        df: true,
        id: 88,
      }
      const most = ROOM - headers
      const whole = tcp({ ...fields, flags: 'FPA', payload })
      const first = tcp({ ...fields, payload: payload.slice(0, most) })
      const second = tcp({
        ...fields,
        flags: 'FPA',
        id: 89,
        seq: (0xfffffff0 + most) % 2 ** 32,
        payload: payload.slice(most),
      })
      const backend = cast.choice(syn)
      return [
        { packets: [syn], expect: [cast.plain(syn, backend)] },
        { packets: [whole], expect: [cast.plain(first, backend), cast.plain(second, backend)] },
      ]
    },
    counts: { delivered_gue: 2, flows_new: 1, segments_cut: 1 },
  }
})

export const stateVectors: readonly Vector[] = [
  noBackend,
  strangeBackends,
  newBackends,
  deadOwner,
  uncertain,
  tooLong,
  longest,
  fragmentedHere,
  ...segments,
]
