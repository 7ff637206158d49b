// IP addresses as the fleet knows them: one canonical text per address (RFC 5952 for IPv6), and 16 bytes
// for native/ (IPv4 as ::ffff:a.b.c.d). Called by src/config, src/fleet/ids.ts, src/dataplane and src/host.
// Guarantees: two spellings of one address give the same text, so text may be compared and hashed.

import { isIPv4, isIPv6 } from 'node:net'

export interface Address {
  readonly text: string
  readonly family: 4 | 6
}

export type AddressResult =
  | { readonly ok: true; readonly address: Address }
  | { readonly ok: false; readonly expected: string }

const EXPECTED = 'an IPv4 or IPv6 address'

const refuse = (expected: string): AddressResult => ({ ok: false, expected })

export function parseAddress(text: string): AddressResult {
  if (isIPv4(text)) return { ok: true, address: { text, family: 4 } }
  if (text.includes('%')) return refuse(`${EXPECTED} without a zone (%...)`)
  if (text.includes('/')) return refuse(`${EXPECTED} without a prefix length`)
  if (text.startsWith('[')) return refuse(`${EXPECTED} without brackets`)
  const octets = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  if (octets !== null) {
    const plain = octets.slice(1).map(Number).join('.')
    return refuse(
      isIPv4(plain)
        ? `${EXPECTED} without leading zeros (some programs read them as octal); did you mean "${plain}"?`
        : `${EXPECTED}, each of the four numbers 0 to 255`,
    )
  }
  if (!isIPv6(text)) return refuse(EXPECTED)
  const bytes = ipv6Bytes(text)
  if (isMapped(bytes)) {
    const plain = bytes.subarray(12).join('.')
    return refuse(`${EXPECTED}, IPv4 not mapped into IPv6; did you mean "${plain}"?`)
  }
  return { ok: true, address: { text: ipv6Text(bytes), family: 6 } }
}

/** Throws a RangeError that says what was expected. */
export function canonicalAddress(text: string): string {
  const result = parseAddress(text)
  if (!result.ok) throw new RangeError(`got ${JSON.stringify(text)}, expected ${result.expected}`)
  return result.address.text
}

/** 16 bytes, IPv4 as ::ffff:a.b.c.d. Throws a RangeError for what is not an address. */
export function addressBytes(text: string): Uint8Array {
  const canonical = canonicalAddress(text)
  if (!isIPv4(canonical)) return ipv6Bytes(canonical)
  const bytes = new Uint8Array(16)
  bytes.fill(0xff, 10, 12)
  bytes.set(canonical.split('.').map(Number), 12)
  return bytes
}

/** Why a machine cannot have this address, or undefined: it can. */
export function notAHostAddress(address: Address): string | undefined {
  const bytes = addressBytes(address.text)
  if (address.family === 4) {
    const first = bytes[12] ?? 0
    if (first === 0) return 'is in 0.0.0.0/8'
    if (first >= 224) return first < 240 ? 'is multicast' : 'is reserved or broadcast'
    return undefined
  }
  const [first = 0, second = 0] = bytes
  if (first === 0xff) return 'is multicast'
  if (first === 0xfe && (second & 0xc0) === 0x80) return 'is link-local, valid on one link only'
  if (!isLoopback(address) && bytes.subarray(0, 12).every((b) => b === 0)) {
    return 'is unspecified or IPv4-compatible (::/96)'
  }
  return undefined
}

export function isLoopback(address: Address): boolean {
  return address.family === 4 ? address.text.startsWith('127.') : address.text === '::1'
}

export interface Prefix {
  readonly text: string
  readonly family: 4 | 6
  readonly length: number
}

export type PrefixResult =
  | { readonly ok: true; readonly prefix: Prefix }
  | { readonly ok: false; readonly expected: string }

export function parsePrefix(text: string): PrefixResult {
  const [, host = '', digits = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? []
  const parsed = parseAddress(host)
  if (!parsed.ok) return { ok: false, expected: 'a prefix such as 198.51.100.0/24' }
  const { family } = parsed.address
  const width = family === 4 ? 32 : 128
  const length = Number(digits)
  if (length > width) {
    return { ok: false, expected: `a prefix length 0 to ${width} for IPv${family}` }
  }
  const bytes = addressBytes(host)
  const masked = bytes.map((byte, i) => byte & maskByte(length + 128 - width - i * 8))
  const network = family === 4 ? masked.subarray(12).join('.') : ipv6Text(masked)
  if (network !== parsed.address.text) {
    return {
      ok: false,
      expected: `no bits set beyond the length; did you mean "${network}/${length}"?`,
    }
  }
  return { ok: true, prefix: { text: `${network}/${length}`, family, length } }
}

/** Whether an address, canonical text, is inside. */
export function prefixHolds(prefix: Prefix, address: string): boolean {
  if (isIPv4(address) !== (prefix.family === 4)) return false
  const [host = ''] = prefix.text.split('/')
  const bits = prefix.length + (prefix.family === 4 ? 96 : 0)
  const bytes = addressBytes(address)
  return addressBytes(host).every(
    (byte, i) => ((byte ^ (bytes[i] ?? 0)) & maskByte(bits - i * 8)) === 0,
  )
}

/** The mask of one byte of which the first `bits` count. */
function maskByte(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : 0xff & (0xff << (8 - bits))
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 0xff && bytes[11] === 0xff
}

/** Of text that net.isIPv6 accepts. */
function ipv6Bytes(text: string): Uint8Array {
  const [head = '', tail] = text.split('::')
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const words = [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back]
  const bytes = new Uint8Array(16)
  words.forEach((word, i) => {
    bytes[2 * i] = word >> 8
    bytes[2 * i + 1] = word & 0xff
  })
  return bytes
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups is "::". */
function ipv6Text(bytes: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, i) => {
    return ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)
  })
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && words[end] === 0) end++
    if (end - i > length) [start, length] = [i, end - i]
  }
  const hex = words.map((word) => word.toString(16))
  if (start < 0) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}
