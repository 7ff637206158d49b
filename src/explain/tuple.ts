// A packet written as text, as bytes: a 5-tuple as tcpdump and ss write it, or hex digits. Called by the verb `explain`.
// Guarantees: what is made has right checksums and lengths; what is not understood is refused with what was expected.

import { type Address, addressBytes, parseAddress } from '../fleet/address.js'
import { HostError } from '../host/host-error.js'

/** SC_PACKET_MAX of native/limits.h. */
const MAX_HEX_BYTES = 9216

const PROTOCOLS = { tcp: 6, udp: 17, icmp: 1 } as const
type Protocol = keyof typeof PROTOCOLS
const ICMP6 = 58

const FLAGS = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const

const EXPECTED =
  'expected a packet such as "tcp 203.0.113.9:4711 > 198.51.100.10:443", "udp [2001:db8::9]:5353 > [2001:db8:1::10]:53" ' +
  'or "icmp 203.0.113.9 > 198.51.100.10", in quotes, since > means something to a shell'

const refuse = (what: string): never => {
  throw new HostError(`${what}, ${EXPECTED}`)
}

interface End {
  readonly address: Address
  readonly port: number
}

/** `flags`: such as "syn" or "fin,ack"; of TCP only, a SYN unless told. */
export function packetOfTuple(text: string, flags: string | undefined): Uint8Array {
  const [, name = '', from = '', to = ''] = /^\s*(\S+)\s+(\S+)\s*>\s*(\S+)\s*$/.exec(text) ?? []
  if (!Object.hasOwn(PROTOCOLS, name)) refuse(`got ${JSON.stringify(text)}`)
  const protocol = name as Protocol
  const src = endOf(from, protocol)
  const dst = endOf(to, protocol)
  if (src.address.family !== dst.address.family) {
    refuse(`${src.address.text} and ${dst.address.text} are of two IP versions`)
  }
  if (flags !== undefined && protocol !== 'tcp') {
    throw new HostError(`--flags: ${protocol} has none, expected it with tcp only`)
  }
  const { family } = src.address
  const proto = protocol === 'icmp' && family === 6 ? ICMP6 : PROTOCOLS[protocol]
  const transport = transportOf(protocol, family, src.port, dst.port, flagsOf(flags ?? 'syn'))
  return withIp(src.address, dst.address, proto, transport)
}

export function packetOfHex(text: string): Uint8Array {
  const digits = text.replace(/^0x/, '').replace(/[\s:]/g, '')
  if (digits === '' || digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) {
    throw new HostError(
      `--hex: got ${JSON.stringify(text.slice(0, 40))}, expected an IP packet, from its IP header on, as pairs of hex digits`,
    )
  }
  if (digits.length / 2 > MAX_HEX_BYTES) {
    throw new HostError(
      `--hex: got ${digits.length / 2} bytes, expected at most ${MAX_HEX_BYTES} (MAX_HEX_BYTES)`,
    )
  }
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

function endOf(text: string, protocol: Protocol): End {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]*)\]|([^:]*|[^\]]*:[^\]]*?)):(\d+)$/.exec(text) ?? []
  const host = protocol === 'icmp' ? text : (bracketed ?? plain ?? '')
  const parsed = parseAddress(host)
  if (!parsed.ok) {
    return refuse(
      `${JSON.stringify(text)}: ${protocol === 'icmp' ? parsed.expected : 'no address and port'}`,
    )
  }
  if (protocol === 'icmp') return { address: parsed.address, port: 0 }
  if (parsed.address.family === 6 && bracketed === undefined) {
    refuse(`${JSON.stringify(text)}: an IPv6 address with a port stands in brackets`)
  }
  const number = Number(port)
  if (!(number >= 1 && number <= 65535)) refuse(`${JSON.stringify(text)}: a port is 1 to 65535`)
  return { address: parsed.address, port: number }
}

function flagsOf(text: string): number {
  let flags = 0
  for (const name of text.toLowerCase().split(',')) {
    if (!Object.hasOwn(FLAGS, name)) {
      throw new HostError(
        `--flags: got ${JSON.stringify(name)}, expected one or more of ${Object.keys(FLAGS).join(', ')}, with commas between them`,
      )
    }
    flags |= FLAGS[name as keyof typeof FLAGS]
  }
  return flags
}

/** The checksum is still to be filled in. */
function transportOf(
  protocol: Protocol,
  family: 4 | 6,
  sport: number,
  dport: number,
  flags: number,
): { readonly bytes: Uint8Array; readonly sumAt: number } {
  const bytes = new Uint8Array(protocol === 'tcp' ? 20 : 8)
  const view = new DataView(bytes.buffer)
  if (protocol === 'icmp') {
    bytes[0] = family === 4 ? 8 : 128
    return { bytes, sumAt: 2 }
  }
  view.setUint16(0, sport)
  view.setUint16(2, dport)
  if (protocol === 'udp') {
    view.setUint16(4, 8)
    return { bytes, sumAt: 6 }
  }
  view.setUint32(4, 1)
  bytes[12] = 0x50
  bytes[13] = flags
  view.setUint16(14, 65535)
  return { bytes, sumAt: 16 }
}

function withIp(
  src: Address,
  dst: Address,
  proto: number,
  transport: { readonly bytes: Uint8Array; readonly sumAt: number },
): Uint8Array {
  const from = addressBytes(src.text)
  const to = addressBytes(dst.text)
  const { bytes, sumAt } = transport
  const pseudo = [...from, ...to, 0, bytes.length, 0, proto]
  const summed =
    proto === PROTOCOLS.icmp
      ? [...bytes]
      : [...(src.family === 4 ? mapped(pseudo) : pseudo), ...bytes]
  new DataView(bytes.buffer).setUint16(sumAt, checksum(summed) || 0xffff)
  if (src.family === 6) {
    const header = [0x60, 0, 0, 0, 0, bytes.length, proto, 64, ...from, ...to]
    return Uint8Array.from([...header, ...bytes])
  }
  const ip = Uint8Array.from([
    ...[0x45, 0, 0, 20 + bytes.length, 0, 0, 0x40, 0, 64, proto, 0, 0],
    ...from.subarray(12),
    ...to.subarray(12),
  ])
  new DataView(ip.buffer).setUint16(10, checksum([...ip]))
  return Uint8Array.from([...ip, ...bytes])
}

/** The pseudo-header without the 12 bytes that map IPv4 into IPv6, twice. */
const mapped = (pseudo: readonly number[]): readonly number[] => [
  ...pseudo.slice(12, 16),
  ...pseudo.slice(28),
]

/** RFC 1071. */
function checksum(bytes: readonly number[]): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
