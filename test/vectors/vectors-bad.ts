// Packets that a node refuses, each with the one reason that it is counted under. Used by test/unit/wire/bad-input.test.ts
// (which asks the decoder of this folder and the real node) and by the sweeps.

import { type Bytes, fromHex, patched, pattern } from './bytes.js'
import { PROTO } from './names.js'
import {
  answerTo,
  type Extension,
  echoRequest,
  fragments,
  IPV4_HEADER,
  IPV6_HEADER,
  icmp,
  icmpError,
  ip,
  quote,
  tcp,
  tcpSegment,
  udp,
  withIpv4Checksum,
} from './packets.js'
import { CLIENT4, CLIENT6, DNS4, VIP4, VIP6 } from './samples.js'
import { CONNECTION4, CONNECTION6 } from './vector.js'

export interface BadPacket {
  readonly name: string
  readonly packet: Bytes
  readonly reason: string
}

const bad = (name: string, reason: string, packet: Bytes): BadPacket => ({ name, reason, packet })

const ROUTER4 = '192.0.2.254'
const ROUTER6 = '2001:db8:ffff::1'
const SYN4 = tcp({ ...CONNECTION4, flags: 'S' })
const SYN6 = tcp({ ...CONNECTION6, flags: 'S' })
const FOUR = { from: CLIENT4, to: VIP4 } as const
const SIX = { from: CLIENT6, to: VIP6 } as const

/** The packet with other bytes in its IPv4 header and its header checksum right again. */
const header4 = (packet: Bytes, offset: number, ...values: readonly number[]): Bytes =>
  withIpv4Checksum(patched(packet, offset, ...values))

const networkHeaders: readonly BadPacket[] = [
  bad('no bytes at all', 'truncated', new Uint8Array(0)),
  bad('one byte', 'truncated', SYN4.slice(0, 1)),
  bad('19 bytes of IPv4', 'truncated', SYN4.slice(0, 19)),
  bad('39 bytes of IPv6', 'truncated', SYN6.slice(0, 39)),
  bad('IP version 0', 'bad_version', patched(SYN4, 0, 0x05)),
  bad('IP version 5', 'bad_version', patched(SYN4, 0, 0x55)),
  bad('IP version 15', 'bad_version', patched(SYN4, 0, 0xf5)),
  bad('an IPv4 header of 16 bytes', 'bad_header', header4(SYN4, 0, 0x44)),
  bad('an IPv4 header longer than the packet says it is', 'bad_header', patched(SYN4, 0, 0x4f)),
  bad('an IPv4 total length below the header', 'bad_header', header4(SYN4, 2, 0, 19)),
  bad('an IPv4 total length beyond the packet', 'truncated', header4(SYN4, 2, 0, 41)),
  bad('an IPv4 total length of 65535', 'truncated', header4(SYN4, 2, 0xff, 0xff)),
  bad('a wrong IPv4 header checksum', 'bad_checksum', patched(SYN4, 10, 0x12, 0x34)),
  bad('an IPv6 payload length beyond the packet', 'truncated', patched(SYN6, 4, 0, 21)),
  bad('an IPv6 payload length of 0', 'truncated', patched(SYN6, 4, 0, 0)),
  bad('an IPv4 VIP mapped into IPv6', 'bad_header', mapped(24, 'c633640a')),
  bad('an IPv4 client mapped into IPv6', 'bad_header', mapped(8, 'cb00714d')),
  bad('an IPv4 time to live of 0', 'ttl_expired', tcp({ ...CONNECTION4, ttl: 0, flags: 'S' })),
  bad('an IPv6 hop limit of 0', 'ttl_expired', tcp({ ...CONNECTION6, ttl: 0, flags: 'S' })),
]

/** An IPv6 packet with ::ffff:a.b.c.d as one of its addresses, which must not be taken for a.b.c.d. */
function mapped(offset: number, address: string): Bytes {
  return patched(SYN6, offset, ...fromHex(`00000000 00000000 0000ffff ${address}`))
}

const many = (count: number): readonly Extension[] =>
  Array.from({ length: count }, () => ({ kind: 'destination' }) as const)

const withExtensions = (...extensions: readonly Extension[]): Bytes =>
  tcp({ ...CONNECTION6, flags: 'S', extensions })

const extensionHeaders: readonly BadPacket[] = [
  bad('nine extension headers', 'too_many_extensions', withExtensions(...many(9))),
  bad('a hundred extension headers', 'too_many_extensions', withExtensions(...many(100))),
  bad(
    'an extension header that says it is longer than the packet',
    'truncated',
    patched(withExtensions({ kind: 'destination' }), IPV6_HEADER + 1, 255),
  ),
  bad(
    'an extension header where the packet ends',
    'truncated',
    ip({ ...SIX, extensions: [{ kind: 'routing' }] }, 60, new Uint8Array(0)),
  ),
  bad('no next header', 'unknown_protocol', ip(SIX, 59, pattern(16))),
  bad('an authentication header longer than the packet', 'truncated', ip(SIX, 51, pattern(32))),
  bad('an encrypted payload', 'unknown_protocol', ip(SIX, 50, pattern(32))),
]

const tcpOffset = (packet: Bytes, words: number): Bytes => {
  const header = (packet[0] ?? 0) >> 4 === 4 ? IPV4_HEADER : IPV6_HEADER
  return patched(packet, header + 12, words << 4)
}

const transportHeaders: readonly BadPacket[] = [
  bad('19 bytes of TCP', 'truncated', ip(FOUR, PROTO.tcp, tcpSegment(syn4()).slice(0, 19))),
  bad('no TCP at all', 'truncated', ip(SIX, PROTO.tcp, new Uint8Array(0))),
  bad('a TCP header of 16 bytes', 'bad_header', tcpOffset(SYN4, 4)),
  bad('a TCP header of 0 bytes', 'bad_header', tcpOffset(SYN6, 0)),
  bad('a TCP header longer than the segment', 'truncated', tcpOffset(SYN4, 6)),
  bad('7 bytes of UDP', 'truncated', ip(FOUR, PROTO.udp, pattern(7))),
  bad('a UDP length of 7', 'bad_header', patched(datagram(), IPV4_HEADER + 4, 0, 7)),
  bad('a UDP length beyond the packet', 'truncated', patched(datagram(), IPV4_HEADER + 4, 0, 99)),
  bad('GRE', 'unknown_protocol', ip(FOUR, 47, pattern(20))),
  bad('ICMPv6 over IPv4', 'unknown_protocol', ip(FOUR, PROTO.icmp6, pattern(20))),
  bad('ICMP over IPv6', 'unknown_protocol', ip(SIX, PROTO.icmp, pattern(20))),
]

function syn4(): Parameters<typeof tcpSegment>[0] {
  return { ...CONNECTION4, flags: 'S' }
}

function datagram(): Bytes {
  return udp({ ...FOUR, sport: 5000, dport: 443, payload: pattern(20) })
}

/** Cuts a TCP segment with 100 bytes of payload, and hands out one piece. */
function piece(fields: typeof FOUR | typeof SIX, bytes: number, index: number): Bytes {
  const segment = tcpSegment({ ...fields, sport: 1, dport: 80, flags: 'A', payload: pattern(100) })
  const cut = fragments({ ...fields, id: 9 }, PROTO.tcp, segment, bytes)[index]
  if (cut === undefined) throw new RangeError(`no fragment ${index}`)
  return cut
}

const fragmented: readonly BadPacket[] = [
  bad('a later fragment of a TCP packet, IPv4', 'fragment', piece(FOUR, 64, 1)),
  bad('a later fragment of a TCP packet, IPv6', 'fragment', piece(SIX, 64, 1)),
  bad('a fragment that overlaps the TCP header', 'fragment', piece(FOUR, 8, 1)),
  bad('a first fragment too short for a TCP header', 'truncated', piece(FOUR, 8, 0)),
  bad('a first fragment of a TCP packet', 'fragment', piece(FOUR, 64, 0)),
  bad(
    'a fragment that reaches beyond 65535 bytes',
    'bad_header',
    ip(
      { from: CLIENT4, to: DNS4, fragment: { offset: 65528, more: false } },
      PROTO.udp,
      pattern(64),
    ),
  ),
  bad(
    'a later fragment of IP protocol 0',
    'fragment',
    ip({ ...FOUR, fragment: { offset: 2048, more: false } }, 0, pattern(64)),
  ),
  bad(
    'two fragment headers',
    'bad_header',
    withExtensions(
      { kind: 'fragment', offset: 0, more: false },
      { kind: 'fragment', offset: 0, more: false },
    ),
  ),
]

/** An ICMP error that quotes this. */
const about = (quoted: Bytes, family: 4 | 6 = 4): Bytes =>
  family === 4
    ? icmpError({ from: ROUTER4, to: VIP4, kind: 'unreachable', quote: quoted })
    : icmpError({ from: ROUTER6, to: VIP6, kind: 'too-big', quote: quoted })

const ANSWER4 = answerTo({ ...CONNECTION4, flags: 'S' }, 'SA')
const ANSWER6 = answerTo({ ...CONNECTION6, flags: 'S' }, 'SA')

const icmpMessages: readonly BadPacket[] = [
  bad('an echo reply', 'unknown_protocol', icmp(FOUR, 0, 0, pattern(8))),
  bad('an ICMP redirect', 'unknown_protocol', icmp(FOUR, 5, 1, quote(ANSWER4, 8))),
  bad('a neighbour solicitation', 'unknown_protocol', icmp(SIX, 135, 0, pattern(16))),
  bad('7 bytes of ICMP', 'truncated', ip(FOUR, PROTO.icmp, fromHex('08 00 f7 ff 00 00 00'))),
  bad('an ICMP error that quotes nothing', 'bad_header', about(new Uint8Array(0))),
  bad('an ICMP error that quotes 7 transport bytes', 'truncated', about(quote(ANSWER4, 7))),
  bad('an ICMPv6 error that quotes 39 bytes', 'bad_header', about(ANSWER6.slice(0, 39), 6)),
  bad('an ICMP error that quotes IP version 9', 'bad_header', about(patched(ANSWER4, 0, 0x95))),
  bad('an ICMP error that quotes IPv6', 'bad_header', about(ANSWER6)),
  bad(
    'an ICMP error that quotes a packet of another sender',
    'bad_header',
    about(tcp({ from: '198.51.100.99', to: CLIENT4, sport: 80, dport: 40001, flags: 'A' })),
  ),
  bad(
    'an ICMP error about an ICMP message',
    'unknown_protocol',
    about(echoRequest({ from: VIP4, to: CLIENT4 })),
  ),
  bad('an ICMP error about an ICMP error', 'unknown_protocol', about(nested())),
  bad('an ICMP error about a port that is not served', 'no_service', about(answerFrom(81))),
  bad('an ICMP error about a flow that nobody knows', 'unknown_icmp', about(answerFrom(80))),
]

function nested(): Bytes {
  return icmpError({ from: VIP4, to: CLIENT4, kind: 'unreachable', quote: quote(SYN4, 8) })
}

function answerFrom(sport: number): Bytes {
  return tcp({ from: VIP4, to: CLIENT4, sport, dport: 4999, flags: 'A' })
}

const strangers: readonly BadPacket[] = [
  bad('TCP to a port that is not served', 'no_service', tcp({ ...syn4(), dport: 81 })),
  bad('UDP to a TCP port', 'no_service', udp({ ...FOUR, sport: 5000, dport: 80 })),
  bad('TCP to an address that is no VIP', 'no_service', tcp({ ...syn4(), to: '198.51.100.11' })),
  bad(
    'IPv6 to an address that is no VIP',
    'no_service',
    tcp({ ...CONNECTION6, to: '2001:db8::1', flags: 'S' }),
  ),
  bad('a broadcast', 'no_service', udp({ ...FOUR, to: '255.255.255.255', sport: 67, dport: 68 })),
]

export const badPackets: readonly BadPacket[] = [
  ...networkHeaders,
  ...extensionHeaders,
  ...transportHeaders,
  ...fragmented,
  ...icmpMessages,
  ...strangers,
]
