// An encoder of everything that goes between machines, written from docs/wire-format.md alone (sections 2 and 3): outer
// IPv4 or IPv6, UDP, GUE, private data, control messages. receive.ts is the other direction. Used by the vectors and by
// the tests of the protocol, which compare it byte for byte with what native/ sends.

import { isIPv4 } from 'node:net'
import { addressBytes } from '../../src/fleet/address.js'
import { type Bytes, checksum, join, patched, u16, u32, u64 } from './bytes.js'
import { ip, wireAddress } from './packets.js'
import { sipHashBytes } from './siphash.js'

export const GUE_PORT = 6080
/** Versions that the page speaks of. HELLO is sent in the lowest. */
export const LOWEST_VERSION = 1
export const HIGHEST_VERSION = 2
export const CTYPE = 128
export const GUE_BYTES = 4
export const PRIVATE_BYTES = 16
export const PRIVATE_HLEN = PRIVATE_BYTES / 4
export const CONTROL_BYTES = 40
export const TAG_OFFSET = 32
export const TAG_BYTES = 8
export const TAGGED_INNER_BYTES = 64
export const MAX_RECORDS = 64
export const RECORD_BYTES = 16
export const HELLO_BYTES = 56
/** PoPs in one REACH. */
export const MAX_REACH = 64
/** Services in one REACH, and what it says instead of their number when there are more. */
export const MAX_REACH_SERVICES = 224
export const ALL_SERVICES = 0xffff
/** Of a PUBLISH that is full. */
export const MAX_BODY_BYTES = 16 + MAX_RECORDS * RECORD_BYTES

export const PRIVATE_VERB = { ASK: 1, FORWARD: 2, RELAY: 3 } as const
export const CONTROL_VERB = { HELLO: 4, PUBLISH: 5, OWNER: 6, REACH: 7 } as const
/** The version that a verb needs, where that is not the lowest. */
export const REACH_VERSION = 2
export const RELAY_VERSION = 2
export const FLOW_STATE = { ended: 0, 'half-open': 1, established: 2, closing: 3 } as const
/** The field has 13 bits, of which no more is used. */
export const AGE_MAX = 511
export const IDLE_MAX = 0xffff

export interface Key {
  readonly id: number
  /** 16 bytes. */
  readonly key: Bytes
}

/** Outer addresses, as text. */
export interface Path {
  readonly from: string
  readonly to: string
}

export type PrivateVerb = keyof typeof PRIVATE_VERB
export type FlowState = keyof typeof FLOW_STATE

export interface PrivateData {
  readonly version: number
  readonly verb: PrivateVerb
  readonly origin: number
  readonly backend: number
}

/** Times in units of 2 s. */
export interface FlowRecord {
  readonly flow: bigint
  readonly backend: number
  readonly state: FlowState
  readonly age: number
  readonly idle: number
}

export interface Envelope {
  readonly version: number
  readonly origin: number
  readonly senderBoot: bigint
  readonly receiverBoot: bigint
  readonly sequence: bigint
}

export interface Hello {
  readonly lowest: number
  readonly highest: number
  readonly filled: boolean
  readonly draining: boolean
  readonly walked: boolean
  /** H: half-open flows are held back, because there are too many new ones. */
  /** It announces nothing, though it is to. */
  readonly silent?: true
  readonly withholds: boolean
  readonly fillPermille: number
  /** Of the sender's hash_seed; 0: not said. */
  readonly seedCheck: number
  readonly echo: bigint
  readonly echoDelayUs: number
  /** Of the sender's fleet file; 0: not said. */
  readonly fleetDigest: number
  readonly batchesSent: bigint
  readonly batchesTaken: bigint
  readonly batchesMask: bigint
  readonly walkEnd: bigint
}

export type Body =
  | ({ readonly verb: 'HELLO' } & Hello)
  | {
      readonly verb: 'PUBLISH'
      readonly batch: bigint
      readonly records: readonly FlowRecord[]
    }
  | { readonly verb: 'OWNER'; readonly records: readonly FlowRecord[] }
  | {
      readonly verb: 'REACH'
      /** PoPs of which the sender hears no node. */
      readonly pops: readonly number[]
      /** Ids of services that it does not serve; 'all': more than can be named. */
      readonly services: readonly number[] | 'all'
    }

export type Message = Envelope & Body

/** What a session is judged by. */
export interface Head extends Envelope {
  readonly verb: Message['verb']
  /** Of a HELLO. */
  readonly echo: bigint
}

/** Outer IP and UDP around a GUE packet. The DSCP of `tos` goes out, its ECN bits do not. */
export function encodeOuter(path: Path, sourcePort: number, tos: number, gue: Bytes): Bytes {
  const datagram = join(u16(sourcePort), u16(GUE_PORT), u16(8 + gue.length), u16(0), gue)
  const outer = { ...path, ttl: 64, tos: tos & 0xfc }
  return ip(outer, 17, isIPv4(path.from) ? datagram : withUdpChecksum(path, datagram))
}

function withUdpChecksum(path: Path, datagram: Bytes): Bytes {
  const pseudo = join(wireAddress(path.from), wireAddress(path.to), u32(datagram.length), u32(17))
  const sum = checksum(pseudo, datagram) || 0xffff
  return patched(datagram, 6, sum >> 8, sum & 0xff)
}

export const flowPort = (flow: bigint): number => 0xc000 | Number(flow & 0x3fffn)

export interface GueFields {
  readonly variant?: number
  readonly control?: boolean
  readonly hlen?: number
  readonly protoOrCtype: number
  readonly flags?: number
}

export function gueHeader(fields: GueFields): Bytes {
  const { variant = 0, control = false, hlen = 0, flags = 0 } = fields
  return join(
    Uint8Array.of((variant << 6) | (control ? 0x20 : 0) | hlen, fields.protoOrCtype),
    u16(flags),
  )
}

/** 4 or 41; the inner packet says which. */
export const innerProto = (inner: Bytes): number => ((inner[0] ?? 0) >> 4 === 6 ? 41 : 4)

/** TOS or traffic class of the inner packet. */
export function innerTos(inner: Bytes): number {
  const [first = 0, second = 0] = inner
  return first >> 4 === 6 ? ((first & 0xf) << 4) | (second >> 4) : second
}

/** To a backend. */
export function encodePlain(path: Path, flow: bigint, inner: Bytes): Bytes {
  const gue = join(gueHeader({ protoOrCtype: innerProto(inner) }), inner)
  return encodeOuter(path, flowPort(flow), innerTos(inner), gue)
}

/** The first 8 bytes of private data as numbers, so that a test can send what the page forbids. */
export interface RawPrivate {
  readonly version: number
  readonly verb: number
  readonly keyId: number
  readonly origin: number
  readonly backend: number
}

/** Private data with a right tag, under any key id, and the inner packet behind it. */
export function privateWithTag(path: Path, key: Bytes, raw: RawPrivate, inner: Bytes): Bytes {
  const { version, verb, keyId, origin, backend } = raw
  const head = join(Uint8Array.of((version << 4) | verb, keyId), u16(origin), u32(backend))
  return join(head, privateTag(path, key, head, inner), inner)
}

export function privateTag(path: Path, key: Bytes, head: Bytes, inner: Bytes): Bytes {
  const covered = inner.subarray(0, TAGGED_INNER_BYTES)
  return sipHashBytes(key, join(addressBytes(path.from), addressBytes(path.to), head, covered))
}

/** Between nodes: a client's packet. */
export function encodePrivate(
  path: Path,
  key: Key,
  flow: bigint,
  data: PrivateData,
  inner: Bytes,
): Bytes {
  const raw = { ...data, verb: PRIVATE_VERB[data.verb], keyId: key.id }
  const gue = gueHeader({ hlen: PRIVATE_HLEN, protoOrCtype: innerProto(inner) })
  return encodeOuter(
    path,
    flowPort(flow),
    innerTos(inner),
    join(gue, privateWithTag(path, key.key, raw, inner)),
  )
}

/** A control message's fixed part as numbers, so that a test can send what the page forbids. */
export interface RawControl extends Envelope {
  readonly verb: number
  readonly keyId: number
  /** The length of the body, unless a test lies. */
  readonly bodyLength?: number
}

/** From `version` to the end of the body, with a right tag. */
export function controlWithTag(path: Path, key: Bytes, raw: RawControl, body: Bytes): Bytes {
  const { version, verb, keyId, bodyLength = body.length } = raw
  const untagged = join(
    Uint8Array.of((version << 4) | verb, keyId),
    u16(raw.origin),
    u16(bodyLength),
    u16(0),
    u64(raw.senderBoot),
    u64(raw.receiverBoot),
    u64(raw.sequence),
    u64(0n),
    body,
  )
  return patched(untagged, TAG_OFFSET, ...controlTag(path, key, untagged))
}

/** Over the message with its tag taken as zero. */
export function controlTag(path: Path, key: Bytes, message: Bytes): Bytes {
  const zeroed = patched(message, TAG_OFFSET, ...new Uint8Array(TAG_BYTES))
  return sipHashBytes(key, join(addressBytes(path.from), addressBytes(path.to), zeroed))
}

export function encodeBody(body: Body): Bytes {
  switch (body.verb) {
    case 'HELLO':
      return encodeHello(body)
    case 'PUBLISH':
      return join(u64(body.batch), encodeRecords(body.records))
    case 'OWNER':
      return encodeRecords(body.records)
    case 'REACH':
      return join(
        u16(body.pops.length),
        u16(body.services === 'all' ? ALL_SERVICES : body.services.length),
        u32(0),
        ...body.pops.map(u16),
        ...(body.services === 'all' ? [] : body.services.map(u32)),
      )
  }
}

function encodeHello(hello: Hello): Bytes {
  const { silent = false, withholds, walked, draining, filled } = hello
  const flags =
    (silent ? 16 : 0) |
    (withholds ? 8 : 0) |
    (walked ? 4 : 0) |
    (draining ? 2 : 0) |
    (filled ? 1 : 0)
  return join(
    Uint8Array.of(hello.lowest, hello.highest, flags, 0),
    u16(hello.fillPermille),
    u16(hello.seedCheck),
    u64(hello.echo),
    u32(hello.echoDelayUs),
    u32(hello.fleetDigest),
    u64(hello.batchesSent),
    u64(hello.batchesTaken),
    u64(hello.batchesMask),
    u64(hello.walkEnd),
  )
}

function encodeRecords(records: readonly FlowRecord[]): Bytes {
  return join(u16(records.length), u16(0), u32(0), ...records.map(encodeRecord))
}

function encodeRecord(record: FlowRecord): Bytes {
  const age = Math.min(record.age, AGE_MAX)
  const idle = Math.min(record.idle, IDLE_MAX)
  return join(
    u64(record.flow),
    u32(record.backend),
    u16((FLOW_STATE[record.state] << 13) | age),
    u16(idle),
  )
}

export function encodeControl(path: Path, key: Key, message: Message): Bytes {
  const raw = { ...message, verb: CONTROL_VERB[message.verb], keyId: key.id }
  return encodeOuter(
    path,
    GUE_PORT,
    0,
    join(
      gueHeader({ control: true, protoOrCtype: CTYPE }),
      controlWithTag(path, key.key, raw, encodeBody(message)),
    ),
  )
}
