// Packet vectors of one node alone: services, delivery, families, fragments, ICMP. See vector.ts.

import { fromHex, patched, pattern } from './bytes.js'
import { PROTO } from './names.js'
import {
  answerTo,
  echoRequest,
  fragments,
  icmpError,
  quote,
  SYN_OPTIONS,
  tcp,
  udp,
  udpDatagram,
} from './packets.js'
import { CLIENT4, CLIENT6, DNS4, DNS6, sampleFleet, VIP4, VIP6 } from './samples.js'
import { CONNECTION4, CONNECTION6, local, type Vector } from './vector.js'

const ROUTER4 = '192.0.2.254'
const ROUTER6 = '2001:db8:ffff::1'

const alone = { fleet: sampleFleet(), node: 'a1' } as const
const alone6 = { fleet: sampleFleet({ outer: 6 }), node: 'a1' } as const

const families: readonly Vector[] = (
  [
    ['IPv4 over IPv4', alone, CONNECTION4],
    ['IPv6 over IPv4', alone, CONNECTION6],
    ['IPv4 over IPv6', alone6, CONNECTION4],
    ['IPv6 over IPv6', alone6, CONNECTION6],
  ] as const
).map(([name, stage, connection]) => ({
  name: `a connection from SYN to FIN stays at the Maglev choice, ${name}`,
  stage,
  steps: (cast) => {
    const syn = tcp({ ...connection, flags: 'S', df: true, id: 1, tcpOptions: SYN_OPTIONS })
    const rest = [
      tcp({ ...connection, flags: 'A', seq: 1001, ack: 5001, df: true, id: 2 }),
      tcp({ ...connection, flags: 'PA', seq: 1001, ack: 5001, payload: pattern(1000) }),
      tcp({ ...connection, flags: 'FA', seq: 2001, ack: 5001 }),
      tcp({ ...connection, flags: 'A', seq: 2002, ack: 5002 }),
      tcp({ ...connection, flags: 'R', seq: 2002 }),
    ]
    const backend = cast.choice(syn)
    return [
      { packets: [syn], expect: [cast.plain(syn, backend)] },
      ...rest.map((packet) => ({
        afterUs: 10_000n,
        packets: [packet],
        expect: [cast.plain(packet, backend)],
      })),
    ]
  },
  counts: { delivered_gue: 6, flows_new: 1 },
}))

const ownBackend: Vector = {
  name: 'a backend of deliver: local gets the packet as the client sent it',
  stage: { fleet: sampleFleet({ deliver: 'local' }), node: 'a1' },
  steps: () => {
    const syn4 = tcp({ ...CONNECTION4, flags: 'S', tcpOptions: SYN_OPTIONS })
    const syn6 = tcp({ ...CONNECTION6, flags: 'S', tcpOptions: SYN_OPTIONS })
    const ack = tcp({ ...CONNECTION4, flags: 'A', seq: 1001 })
    return [{ packets: [syn4, syn6, ack], expect: [local(syn4), local(syn6), local(ack)] }]
  },
  counts: { delivered_local: 3, flows_new: 2 },
}

const dscp: Vector = {
  name: 'the DSCP goes to the outer header, the ECN bits do not',
  stage: alone,
  steps: (cast) => {
    const four = tcp({ ...CONNECTION4, flags: 'S', tos: (46 << 2) | 1 })
    const six = tcp({ ...CONNECTION6, flags: 'S', tos: (10 << 2) | 3, flowLabel: 0x12345 })
    return [four, six].map((packet) => ({
      packets: [packet],
      expect: [cast.plain(packet, cast.choice(packet))],
    }))
  },
  counts: { delivered_gue: 2, flows_new: 2 },
}

const options: Vector = {
  name: 'IPv4 options are skipped and travel along',
  stage: alone,
  steps: (cast) => {
    // Record route with room for one address, and the end of the list.
    const routed = { options: fromHex('07070400000000 00') }
    const syn = tcp({ ...CONNECTION4, ...routed, flags: 'S' })
    const ack = tcp({ ...CONNECTION4, options: new Uint8Array(40).fill(1), flags: 'A' })
    const backend = cast.choice(syn)
    return [{ packets: [syn, ack], expect: [cast.plain(syn, backend), cast.plain(ack, backend)] }]
  },
  counts: { delivered_gue: 2, flows_new: 1 },
}

const extensions: Vector = {
  name: 'IPv6 extension headers are skipped and travel along',
  stage: alone,
  steps: (cast) => {
    const syn = tcp({
      ...CONNECTION6,
      flags: 'S',
      extensions: [
        { kind: 'hop-by-hop' },
        { kind: 'destination', bytes: 24 },
        { kind: 'routing' },
        { kind: 'destination', bytes: 16 },
      ],
    })
    const ack = tcp({ ...CONNECTION6, flags: 'A', extensions: [{ kind: 'routing' }] })
    const backend = cast.choice(syn)
    return [{ packets: [syn, ack], expect: [cast.plain(syn, backend), cast.plain(ack, backend)] }]
  },
  counts: { delivered_gue: 2, flows_new: 1 },
}

const padding: Vector = {
  name: 'bytes behind the end that the IP header claims are link padding and stay behind',
  stage: alone,
  steps: (cast) => {
    const syn = tcp({ ...CONNECTION4, flags: 'S' })
    const padded = new Uint8Array(syn.length + 6)
    padded.set(syn)
    return [{ packets: [padded], expect: [cast.plain(syn, cast.choice(syn))] }]
  },
  counts: { delivered_gue: 1, flows_new: 1 },
}

const datagrams: Vector = {
  name: 'a UDP service needs no flow: every datagram goes to the Maglev choice',
  stage: alone,
  steps: (cast) =>
    [
      udp({ from: CLIENT4, to: VIP4, sport: 5000, dport: 443, payload: pattern(100) }),
      udp({ from: CLIENT4, to: VIP4, sport: 5001, dport: 443 }),
      udp({ from: CLIENT6, to: VIP6, sport: 5000, dport: 443, payload: pattern(1200) }),
      // No checksum, which IPv4 allows.
      patched(udp({ from: CLIENT4, to: VIP4, sport: 5002, dport: 443 }), 26, 0, 0),
    ].map((packet) => ({
      packets: [packet],
      expect: [cast.plain(packet, cast.choice(packet))],
    })),
  counts: { delivered_gue: 4 },
}

const pieces: readonly Vector[] = (
  [
    ['IPv4', CLIENT4, DNS4],
    ['IPv6', CLIENT6, DNS6],
  ] as const
).map(([family, from, to]) => ({
  name: `a UDP service with fragments hashes by addresses, so that fragments stay together, ${family}`,
  stage: alone,
  steps: (cast) => {
    const ends = { from, to, sport: 5353, dport: 53 }
    const whole = udp({ ...ends, payload: pattern(40) })
    const other = udp({ ...ends, sport: 5354, payload: pattern(40) })
    const datagram = udpDatagram({ ...ends, payload: pattern(2400) })
    const cut = fragments({ ...ends, id: 77 }, PROTO.udp, datagram, 1000)
    const backend = cast.choice(whole)
    const packets = [whole, other, ...cut, ...cut.toReversed()]
    return [{ packets, expect: packets.map((packet) => cast.plain(packet, backend)) }]
  },
  counts: { delivered_gue: 8 },
}))

const pings: Vector = {
  name: 'a ping to a VIP goes to the Maglev choice of the addresses',
  stage: alone,
  steps: (cast) =>
    [
      echoRequest({ from: CLIENT4, to: VIP4, payload: pattern(56) }),
      echoRequest({ from: CLIENT4, to: VIP4, identifier: 99, sequence: 2 }),
      echoRequest({ from: CLIENT6, to: VIP6, payload: pattern(56) }),
    ].map((packet) => ({
      packets: [packet],
      expect: [cast.plain(packet, cast.choice(packet))],
    })),
  counts: { delivered_gue: 3 },
}

const icmpErrors: readonly Vector[] = (
  [
    ['IPv4', CONNECTION4, ROUTER4],
    ['IPv6', CONNECTION6, ROUTER6],
  ] as const
).flatMap(([family, connection, router]) =>
  (
    [
      ['quoting the whole packet', 10_000],
      ['quoting 8 transport bytes', 8],
    ] as const
  ).map(
    ([how, bytes]): Vector => ({
      name: `ICMP errors about a flow go to its backend, ${how}, ${family}`,
      stage: alone,
      steps: (cast) => {
        const syn = tcp({ ...connection, flags: 'S' })
        const quoted = quote(answerTo({ ...connection, flags: 'S' }, 'PA', pattern(400)), bytes)
        const backend = cast.choice(syn)
        const flow = cast.flow(syn)
        const errors = (
          ['too-big', 'unreachable', 'time-exceeded', 'parameter-problem'] as const
        ).map((kind) => icmpError({ from: router, to: connection.to, kind, quote: quoted }))
        return [
          { packets: [syn], expect: [cast.plain(syn, backend)] },
          { packets: errors, expect: errors.map((error) => cast.plain(error, backend, flow)) },
        ]
      },
      counts: { delivered_gue: 5, flows_new: 1, icmp_steered: 4 },
    }),
  ),
)

const datagramErrors: Vector = {
  name: 'an ICMP error about a UDP service goes where its datagrams go',
  stage: alone,
  steps: (cast) => {
    const asked = udp({ from: CLIENT4, to: VIP4, sport: 5000, dport: 443 })
    const answer = udp({ from: VIP4, to: CLIENT4, sport: 443, dport: 5000, payload: pattern(90) })
    const error = icmpError({ from: ROUTER4, to: VIP4, kind: 'too-big', quote: quote(answer, 8) })
    const backend = cast.choice(asked)
    return [{ packets: [error], expect: [cast.plain(error, backend, cast.flow(asked))] }]
  },
  counts: { delivered_gue: 1, icmp_steered: 1 },
}

const certain: Vector = {
  name: 'a PoP that is alone refuses an unknown flow once, then gives it to the Maglev choice',
  stage: alone,
  steps: (cast) => {
    const ack = tcp({ ...CONNECTION4, flags: 'A', seq: 9 })
    const backend = cast.choice(ack)
    return [
      { packets: [ack], expect: [] },
      { afterUs: 400_000n, packets: [ack], expect: [] },
      { afterUs: 200_000n, packets: [ack], expect: [cast.plain(ack, backend)] },
      { afterUs: 1_000n, packets: [ack], expect: [cast.plain(ack, backend)] },
    ]
  },
  counts: { first_refusal: 2, delivered_gue: 2, certain_no: 2 },
}

export const serviceVectors: readonly Vector[] = [
  ...families,
  ownBackend,
  dscp,
  options,
  extensions,
  padding,
  datagrams,
  ...pieces,
  pings,
  ...icmpErrors,
  datagramErrors,
  certain,
]
