// A strict parser of the packets that reach a node from clients and routers (docs/wire-format.md, section 4), apart from
// native/packet.c. Used by receive.ts and by the sweeps, which let both judge the same garbage.

import { canonicalAddress } from '../../src/fleet/address.js'
import { type Bytes, checksum } from './bytes.js'
import { PROTO } from './names.js'

export const PACKET_MAX = 9216
export const EXTENSIONS_MAX = 8

export type Kind = 'tcp' | 'udp' | 'fragment' | 'icmp-error' | 'echo'

/** Addresses and ports as seen from the client, also of the flow that an ICMP error is about. */
export interface Parsed {
  readonly kind: Kind
  readonly family: 4 | 6
  readonly client: string
  readonly vip: string
  readonly sport: number
  readonly dport: number
  readonly proto: number
  readonly tcpFlags: number
  /** A fragment, also the first one. */
  readonly fragmented: boolean
}

export type Refusal = { readonly ok: false; readonly reason: string }
export type ParseResult = { readonly ok: true; readonly parsed: Parsed } | Refusal

/** Where the transport header is, and whose packet it is. */
export interface Network {
  readonly ok: true
  readonly family: 4 | 6
  readonly from: string
  readonly to: string
  readonly proto: number
  readonly offset: number
  /** Up to the end that the IP header claims, as far as it is there. */
  readonly payload: Bytes
  readonly fragmentOffset: number
  readonly moreFragments: boolean
}

export const refuse = (reason: string): Refusal => ({ ok: false, reason })

const be16 = (bytes: Bytes, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)

/** Undefined: an address that cannot stand in a packet of this family. */
function addressText(bytes: Bytes): string | undefined {
  if (bytes.length === 4) return bytes.join('.')
  const mapped = bytes.subarray(0, 10).every((b) => b === 0) && be16(bytes, 10) === 0xffff
  if (mapped) return undefined
  const words = Array.from({ length: 8 }, (_, i) => be16(bytes, 2 * i).toString(16))
  return canonicalAddress(words.join(':'))
}

/** `quoted`: the packet inside an ICMP error, cut short by the router; its checksum and length are not judged. */
export function parseNetwork(bytes: Bytes, quoted = false): Network | Refusal {
  if (bytes.length < 1) return refuse('truncated')
  if (!quoted && bytes.length > PACKET_MAX) return refuse('too_long')
  const version = (bytes[0] ?? 0) >> 4
  if (version === 4) return parseIpv4(bytes, quoted)
  if (version === 6) return parseIpv6(bytes, quoted)
  return refuse('bad_version')
}

function parseIpv4(bytes: Bytes, quoted: boolean): Network | Refusal {
  if (bytes.length < 20) return refuse('truncated')
  const header = ((bytes[0] ?? 0) & 0xf) * 4
  const total = be16(bytes, 2)
  if (header < 20 || (!quoted && total < header)) return refuse('bad_header')
  if (bytes.length < header || (!quoted && bytes.length < total)) return refuse('truncated')
  if (!quoted && checksum(bytes.subarray(0, header)) !== 0) return refuse('bad_checksum')
  if (!quoted && bytes[8] === 0) return refuse('ttl_expired')
  const from = addressText(bytes.subarray(12, 16))
  const to = addressText(bytes.subarray(16, 20))
  if (from === undefined || to === undefined) return refuse('bad_header')
  const fragmentOffset = (be16(bytes, 6) & 0x1fff) * 8
  const moreFragments = (be16(bytes, 6) & 0x2000) !== 0
  if (!quoted && fragmentOffset + total - header > 0xffff) return refuse('bad_header')
  return {
    ok: true,
    family: 4,
    from,
    to,
    proto: bytes[9] ?? 0,
    offset: header,
    payload: bytes.subarray(header, quoted ? bytes.length : total),
    fragmentOffset,
    moreFragments,
  }
}

function parseIpv6(bytes: Bytes, quoted: boolean): Network | Refusal {
  if (bytes.length < 40) return refuse('truncated')
  const total = 40 + be16(bytes, 4)
  if (!quoted && bytes.length < total) return refuse('truncated')
  if (!quoted && bytes[7] === 0) return refuse('ttl_expired')
  const from = addressText(bytes.subarray(8, 24))
  const to = addressText(bytes.subarray(24, 40))
  if (from === undefined || to === undefined) return refuse('bad_header')
  const packet = bytes.subarray(0, Math.min(total, bytes.length))
  const walked = walkExtensions(packet)
  if (!walked.ok) return walked
  const { proto, offset, fragmentOffset, moreFragments } = walked
  if (fragmentOffset + packet.length - offset > 0xffff) return refuse('bad_header')
  return {
    ok: true,
    family: 6,
    from,
    to,
    proto,
    offset,
    payload: packet.subarray(offset),
    fragmentOffset,
    moreFragments,
  }
}

const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT = 44
const AUTHENTICATION = 51
const DESTINATION = 60

function extensionLength(kind: number, length: number): number {
  if (kind === FRAGMENT) return 8
  return kind === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8
}

interface Walked {
  readonly ok: true
  readonly proto: number
  readonly offset: number
  readonly fragmentOffset: number
  readonly moreFragments: boolean
}

function walkExtensions(packet: Bytes): Walked | Refusal {
  let proto = packet[6] ?? 0
  let offset = 40
  let fragmentOffset = 0
  let moreFragments = false
  let fragmented = false
  for (let seen = 0; ; seen++) {
    if (![HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION].includes(proto)) break
    if (packet.length < offset + 8) return refuse('truncated')
    if (seen === EXTENSIONS_MAX) return refuse('too_many_extensions')
    const length = extensionLength(proto, packet[offset + 1] ?? 0)
    if (proto === FRAGMENT) {
      if (fragmented) return refuse('bad_header')
      fragmented = true
      fragmentOffset = be16(packet, offset + 2) & 0xfff8
      moreFragments = (be16(packet, offset + 2) & 1) !== 0
    }
    proto = packet[offset] ?? 0
    offset += length
    if (packet.length < offset) return refuse('truncated')
    if (fragmentOffset > 0) break
  }
  return { ok: true, proto, offset, fragmentOffset, moreFragments }
}

export function parse(bytes: Bytes): ParseResult {
  const network = parseNetwork(bytes)
  if (!network.ok) return network
  const { proto, payload, family, from, to, fragmentOffset, moreFragments } = network
  const base = {
    family,
    client: from,
    vip: to,
    proto,
    sport: 0,
    dport: 0,
    tcpFlags: 0,
    fragmented: fragmentOffset > 0 || moreFragments,
  }
  if (fragmentOffset > 0) return { ok: true, parsed: { ...base, kind: 'fragment' } }
  const ports = { sport: be16(payload, 0), dport: be16(payload, 2) }
  switch (proto) {
    case PROTO.tcp: {
      const problem = tcpProblem(payload)
      if (problem !== undefined) return refuse(problem)
      const tcpFlags = (payload[13] ?? 0) & 0x1f
      return { ok: true, parsed: { ...base, ...ports, kind: 'tcp', tcpFlags } }
    }
    case PROTO.udp: {
      const problem = udpProblem(payload, moreFragments)
      if (problem !== undefined) return refuse(problem)
      return { ok: true, parsed: { ...base, ...ports, kind: 'udp' } }
    }
    case PROTO.icmp:
    case PROTO.icmp6:
      if ((proto === PROTO.icmp) !== (family === 4)) return refuse('unknown_protocol')
      return parseIcmp(network, base)
    default:
      return refuse('unknown_protocol')
  }
}

function tcpProblem(segment: Bytes): string | undefined {
  if (segment.length < 20) return 'truncated'
  const header = ((segment[12] ?? 0) >> 4) * 4
  if (header < 20) return 'bad_header'
  return header > segment.length ? 'truncated' : undefined
}

function udpProblem(datagram: Bytes, moreFragments: boolean): string | undefined {
  if (datagram.length < 8) return 'truncated'
  const length = be16(datagram, 4)
  if (length < 8) return 'bad_header'
  return !moreFragments && length > datagram.length ? 'truncated' : undefined
}

const ECHO_REQUEST = { 4: 8, 6: 128 } as const
const ICMP_ERRORS = { 4: [3, 11, 12], 6: [1, 2, 3, 4] } as const

function parseIcmp(network: Network, base: Omit<Parsed, 'kind'>): ParseResult {
  const { payload, family, moreFragments } = network
  if (moreFragments) return refuse('unknown_protocol')
  if (payload.length < 8) return refuse('truncated')
  const type = payload[0] ?? 0
  if (type === ECHO_REQUEST[family]) return { ok: true, parsed: { ...base, kind: 'echo' } }
  if (!(ICMP_ERRORS[family] as readonly number[]).includes(type)) return refuse('unknown_protocol')
  const quote = payload.subarray(8)
  if (quote.length < (family === 4 ? 20 : 40)) return refuse('bad_header')
  if ((quote[0] ?? 0) >> 4 !== family) return refuse('bad_header')
  const quoted = parseNetwork(quote, true)
  if (!quoted.ok) return quoted
  if (quoted.payload.length < 8) return refuse('truncated')
  if (quoted.fragmentOffset > 0) return refuse('fragment')
  if (quoted.proto !== PROTO.tcp && quoted.proto !== PROTO.udp) return refuse('unknown_protocol')
  if (quoted.from !== network.to) return refuse('bad_header')
  const about = {
    ...base,
    kind: 'icmp-error',
    client: quoted.to,
    vip: quoted.from,
    proto: quoted.proto,
  } as const
  const sport = be16(quoted.payload, 2)
  const dport = be16(quoted.payload, 0)
  return { ok: true, parsed: { ...about, sport, dport } }
}
