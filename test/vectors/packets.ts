// Builds the packets that clients and routers send: IPv4 with options and fragments, IPv6 with extension headers, TCP,
// UDP, ICMP and ICMPv6, with right lengths and checksums unless a test asks for wrong ones by patching the bytes.
// Used by the vectors and by the tests of the protocol.

import { isIPv4 } from 'node:net'
import { addressBytes } from '../../src/fleet/address.js'
import { type Bytes, checksum, join, patched, u16, u32 } from './bytes.js'
import { PROTO } from './names.js'

export const IPV4_HEADER = 20
export const IPV6_HEADER = 40
const MORE_FRAGMENTS = 0x2000
const DONT_FRAGMENT = 0x4000

export type Extension =
  | { readonly kind: 'hop-by-hop' | 'destination'; readonly bytes?: number }
  | { readonly kind: 'routing'; readonly segmentsLeft?: number }
  | {
      readonly kind: 'fragment'
      readonly offset: number
      readonly more: boolean
      readonly id?: number
    }

export interface IpFields {
  readonly from: string
  readonly to: string
  readonly ttl?: number
  /** TOS or traffic class, with the ECN bits. */
  readonly tos?: number
  /** IPv4 only. */
  readonly id?: number
  readonly df?: boolean
  readonly fragment?: { readonly offset: number; readonly more: boolean }
  /** IPv4 only; a multiple of four bytes. */
  readonly options?: Bytes
  /** IPv6 only, in this order. */
  readonly extensions?: readonly Extension[]
  readonly flowLabel?: number
}

const EXTENSION = { 'hop-by-hop': 0, routing: 43, fragment: 44, destination: 60 } as const

/** The address as it stands in the packet: 4 or 16 bytes. */
export function wireAddress(text: string): Bytes {
  const bytes = addressBytes(text)
  return isIPv4(text) ? bytes.slice(12) : bytes
}

export function ip(fields: IpFields, protocol: number, payload: Bytes): Bytes {
  return isIPv4(fields.from) ? ipv4(fields, protocol, payload) : ipv6(fields, protocol, payload)
}

function ipv4(fields: IpFields, protocol: number, payload: Bytes): Bytes {
  const { fragment, options = new Uint8Array(0), id = 0, ttl = 64, tos = 0, df = false } = fields
  const headerBytes = IPV4_HEADER + options.length
  const flags =
    (df ? DONT_FRAGMENT : 0) |
    (fragment?.more === true ? MORE_FRAGMENTS : 0) |
    ((fragment?.offset ?? 0) >> 3)
  const header = join(
    Uint8Array.of(0x40 | (headerBytes / 4), tos),
    u16(headerBytes + payload.length),
    u16(id),
    u16(flags),
    Uint8Array.of(ttl, protocol, 0, 0),
    wireAddress(fields.from),
    wireAddress(fields.to),
    options,
  )
  return join(withIpv4Checksum(header), payload)
}

/** The packet or header with its IPv4 header checksum set right. */
export function withIpv4Checksum(packet: Bytes): Bytes {
  const headerBytes = ((packet[0] ?? 0) & 0xf) * 4
  const sum = checksum(patched(packet.subarray(0, headerBytes), 10, 0, 0))
  return patched(packet, 10, sum >> 8, sum & 0xff)
}

function ipv6(fields: IpFields, protocol: number, payload: Bytes): Bytes {
  const { extensions = [], ttl = 64, tos = 0, flowLabel = 0 } = fields
  const nexts = [...extensions.map(({ kind }) => EXTENSION[kind]), protocol]
  const headers = extensions.map((extension, i) => extensionHeader(extension, nexts[i + 1] ?? 0))
  const body = join(...headers, payload)
  return join(
    u32(((6 << 28) | (tos << 20) | flowLabel) >>> 0),
    u16(body.length),
    Uint8Array.of(nexts[0] ?? protocol, ttl),
    wireAddress(fields.from),
    wireAddress(fields.to),
    body,
  )
}

function extensionHeader(extension: Extension, next: number): Bytes {
  switch (extension.kind) {
    case 'hop-by-hop':
    case 'destination': {
      const { bytes = 8 } = extension
      if (bytes % 8 !== 0 || bytes < 8) throw new RangeError('extension headers come in 8 bytes')
      // One PadN option fills it.
      return join(Uint8Array.of(next, bytes / 8 - 1, 1, bytes - 4), new Uint8Array(bytes - 4))
    }
    case 'routing':
      return Uint8Array.of(next, 0, 4, extension.segmentsLeft ?? 0, 0, 0, 0, 0)
    case 'fragment':
      return join(
        Uint8Array.of(next, 0),
        u16(extension.offset | (extension.more ? 1 : 0)),
        u32(extension.id ?? 1),
      )
  }
}

function pseudoHeader(fields: IpFields, protocol: number, length: number): Bytes {
  return join(addressPair(fields), u32(length), u32(protocol))
}

const addressPair = (fields: IpFields): Bytes =>
  join(wireAddress(fields.from), wireAddress(fields.to))

/** `segment` with its checksum, zero so far at `offset`, filled in. */
function withTransportChecksum(
  fields: IpFields,
  protocol: number,
  segment: Bytes,
  offset: number,
): Bytes {
  const sum = checksum(pseudoHeader(fields, protocol, segment.length), segment)
  const stored = sum === 0 && protocol === PROTO.udp ? 0xffff : sum
  return patched(segment, offset, stored >> 8, stored & 0xff)
}

export interface TcpFields extends IpFields {
  readonly sport: number
  readonly dport: number
  /** Letters of SYN, ACK, FIN, RST, PSH: 'S', 'SA', 'A', 'PA', 'FA', 'R', 'RA'. */
  readonly flags: string
  readonly seq?: number
  readonly ack?: number
  readonly window?: number
  /** A multiple of four bytes. */
  readonly tcpOptions?: Bytes
  readonly payload?: Bytes
}

const TCP_FLAG: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16 }

export function tcpSegment(fields: TcpFields): Bytes {
  const { seq = 1000, ack = 0, window = 65535, tcpOptions = new Uint8Array(0) } = fields
  const flags = [...fields.flags].reduce((bits, letter) => bits | (TCP_FLAG[letter] ?? 0), 0)
  const segment = join(
    u16(fields.sport),
    u16(fields.dport),
    u32(seq),
    u32(ack),
    Uint8Array.of(((20 + tcpOptions.length) / 4) << 4, flags),
    u16(window),
    u32(0),
    tcpOptions,
    fields.payload ?? new Uint8Array(0),
  )
  return withTransportChecksum(fields, PROTO.tcp, segment, 16)
}

export const tcp = (fields: TcpFields): Bytes => ip(fields, PROTO.tcp, tcpSegment(fields))

/** MSS 1460, SACK permitted, timestamps, window scale: what Linux sends with a SYN. */
export const SYN_OPTIONS = Uint8Array.of(
  ...[2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7],
)

export interface UdpFields extends IpFields {
  readonly sport: number
  readonly dport: number
  readonly payload?: Bytes
}

export function udpDatagram(fields: UdpFields): Bytes {
  const payload = fields.payload ?? new Uint8Array(0)
  const datagram = join(
    u16(fields.sport),
    u16(fields.dport),
    u16(8 + payload.length),
    u16(0),
    payload,
  )
  return withTransportChecksum(fields, PROTO.udp, datagram, 6)
}

export const udp = (fields: UdpFields): Bytes => ip(fields, PROTO.udp, udpDatagram(fields))

function icmpMessage(
  fields: IpFields,
  type: number,
  code: number,
  rest: Bytes,
  body: Bytes,
): Bytes {
  const message = join(Uint8Array.of(type, code, 0, 0), rest, body)
  if (!isIPv4(fields.from)) {
    return ip(fields, PROTO.icmp6, withTransportChecksum(fields, PROTO.icmp6, message, 2))
  }
  const sum = checksum(message)
  return ip(fields, PROTO.icmp, patched(message, 2, sum >> 8, sum & 0xff))
}

export interface EchoFields extends IpFields {
  readonly identifier?: number
  readonly sequence?: number
  readonly payload?: Bytes
}

export function echoRequest(fields: EchoFields): Bytes {
  const type = isIPv4(fields.from) ? 8 : 128
  const { identifier = 0x1234, sequence = 1, payload = new Uint8Array(0) } = fields
  return icmpMessage(fields, type, 0, join(u16(identifier), u16(sequence)), payload)
}

export interface IcmpErrorFields extends IpFields {
  readonly kind: 'too-big' | 'unreachable' | 'time-exceeded' | 'parameter-problem'
  /** The packet that the error is about, as much of it as the router quotes. */
  readonly quote: Bytes
  readonly mtu?: number
}

/** Type and code, IPv4 then IPv6. */
const ICMP_ERROR = {
  'too-big': [3, 4, 2, 0],
  unreachable: [3, 1, 1, 3],
  'time-exceeded': [11, 0, 3, 0],
  'parameter-problem': [12, 0, 4, 0],
} as const

export function icmpError(fields: IcmpErrorFields): Bytes {
  const [type4, code4, type6, code6] = ICMP_ERROR[fields.kind]
  const mtu = fields.kind === 'too-big' ? (fields.mtu ?? 1400) : 0
  return isIPv4(fields.from)
    ? icmpMessage(fields, type4, code4, u32(mtu), fields.quote)
    : icmpMessage(fields, type6, code6, u32(mtu), fields.quote)
}

/** Any ICMP message, for those that a node does not know. */
export const icmp = (fields: IpFields, type: number, code: number, body: Bytes): Bytes =>
  icmpMessage(fields, type, code, u32(0), body)

/** A packet's IP header and the first `transportBytes` bytes behind it, as a router quotes it. No IPv6 extensions. */
export function quote(packet: Bytes, transportBytes: number): Bytes {
  const first = packet[0] ?? 0
  const header = first >> 4 === 4 ? (first & 0xf) * 4 : IPV6_HEADER
  return packet.slice(0, header + transportBytes)
}

/** Cuts a transport payload into IP fragments of `bytes` (a multiple of 8) each. */
export function fragments(
  fields: IpFields & { readonly id: number },
  protocol: number,
  payload: Bytes,
  bytes: number,
): readonly Bytes[] {
  const count = Math.ceil(payload.length / bytes)
  return Array.from({ length: count }, (_, i) => {
    const offset = i * bytes
    const more = i < count - 1
    const piece = payload.slice(offset, offset + bytes)
    if (isIPv4(fields.from)) return ip({ ...fields, fragment: { offset, more } }, protocol, piece)
    const extensions = [
      ...(fields.extensions ?? []),
      { kind: 'fragment', offset, more, id: fields.id } as const,
    ]
    return ip({ ...fields, extensions }, protocol, piece)
  })
}

/** What a backend's answer looks like: from the VIP to the client. */
export function answerTo(fields: TcpFields, flags: string, payload?: Bytes): Bytes {
  return tcp({
    from: fields.to,
    to: fields.from,
    sport: fields.dport,
    dport: fields.sport,
    flags,
    df: true,
    ...(payload === undefined ? {} : { payload }),
  })
}
