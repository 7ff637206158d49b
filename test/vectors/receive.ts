// A decoder of everything that goes between machines, written from docs/wire-format.md alone: it makes a receiver's
// checks in the page's order and names the reason of the first that fails as the page does. Sessions have state and are
// in session.ts. Used by the vectors and by the tests of the protocol.

import type { Fleet, FleetNode, Service } from '../../src/fleet/model.js'
import { type Bytes, checksum, join, Reader, sameBytes, u32 } from './bytes.js'
import { flowId, PROTO } from './names.js'
import { wireAddress } from './packets.js'
import { type Network, type Parsed, parse, parseNetwork, type Refusal, refuse } from './parse.js'
import {
  type Body,
  CONTROL_BYTES,
  CONTROL_VERB,
  CTYPE,
  controlTag,
  FLOW_STATE,
  type FlowRecord,
  type FlowState,
  GUE_BYTES,
  GUE_PORT,
  type Hello,
  innerProto,
  type Key,
  MAX_RECORDS,
  type Message,
  type Path,
  PRIVATE_BYTES,
  PRIVATE_HLEN,
  PRIVATE_VERB,
  type PrivateVerb,
  privateTag,
  TAG_BYTES,
  TAG_OFFSET,
  VERSION,
} from './wire.js'

export interface Receiver {
  readonly fleet: Fleet
  readonly self: FleetNode
  readonly keys: readonly Key[]
}

/** A client's packet, of a service of the fleet. */
export interface ForService {
  readonly inner: Bytes
  readonly parsed: Parsed
  readonly flow: bigint
}

export type Received =
  | { readonly kind: 'refused'; readonly reason: string }
  | ({ readonly kind: 'client' } & ForService)
  | ({ readonly kind: 'plain'; readonly path: Path } & ForService)
  | ({
      readonly kind: 'private'
      readonly path: Path
      readonly verb: PrivateVerb
      readonly origin: number
      readonly backend: number
    } & ForService)
  | {
      readonly kind: 'control'
      readonly path: Path
      readonly keyId: number
      readonly message: Message
    }

type Refused = Extract<Received, { kind: 'refused' }>
const refused = (reason: string): Refused => ({ kind: 'refused', reason })

/** What a node makes of a packet, before sessions and flows. */
export function receiveAtNode(packet: Bytes, receiver: Receiver): Received {
  const network = parseNetwork(packet)
  if (!network.ok) return refused(network.reason)
  if (receiver.fleet.services.some(({ vip }) => vip === network.to)) {
    const found = forService(packet, receiver.fleet)
    return found.ok ? { kind: 'client', ...found.value } : refused(found.reason)
  }
  const gue = gueOf(network, receiver.self.address)
  if (!gue.ok) return refused(gue.reason)
  const path = { from: network.from, to: network.to }
  if (gue.bytes.length < GUE_BYTES) return refused('gue_bad_length')
  const control = ((gue.bytes[0] ?? 0) & 0x20) !== 0
  return control
    ? receiveControl(gue.bytes, path, receiver)
    : receivePrivate(gue.bytes, path, receiver)
}

/** What a backend of this PoP makes of a packet. */
export function receiveAtBackend(
  packet: Bytes,
  fleet: Fleet,
  popId: number,
  address: string,
): Received {
  const network = parseNetwork(packet)
  if (!network.ok) return refused(network.reason)
  const gue = gueOf(network, address)
  if (!gue.ok) return refused(gue.reason)
  const nodes = fleet.pops.find(({ id }) => id === popId)?.nodes ?? []
  if (!nodes.some((node) => node.address === network.from)) return refused('not_a_peer')
  if (gue.bytes.length < GUE_BYTES) return refused('gue_bad_length')
  const header = gueFields(gue.bytes)
  if (header.variant !== 0) return refused('gue_bad_variant')
  if (header.control) return refused('gue_bad_ctype')
  if (header.flags !== 0) return refused('gue_flags')
  const start = GUE_BYTES + header.hlen * 4
  if (gue.bytes.length < start) return refused('gue_bad_length')
  const inner = gue.bytes.slice(start)
  const found = innerPacket(header.protoOrCtype, inner, fleet)
  if (!found.ok) return refused(found.reason)
  return { kind: 'plain', path: { from: network.from, to: network.to }, ...found.value }
}

function gueOf(
  network: Network,
  address: string,
): { readonly ok: true; readonly bytes: Bytes } | Refusal {
  const { payload, family } = network
  if (network.to !== address || network.proto !== PROTO.udp) return refuse('not_ours')
  if (network.fragmentOffset > 0 || network.moreFragments) return refuse('fragment')
  if (payload.length < 8) return refuse('truncated')
  const udp = new Reader(payload)
  udp.u16()
  if (udp.u16() !== GUE_PORT) return refuse('not_ours')
  const length = udp.u16()
  if (length < 8) return refuse('bad_header')
  if (length > payload.length) return refuse('truncated')
  if (family === 6 && !udpChecksumFits(network, payload.subarray(0, length))) {
    return refuse('bad_checksum')
  }
  return { ok: true, bytes: payload.slice(8, length) }
}

function udpChecksumFits(network: Network, datagram: Bytes): boolean {
  const addresses = join(wireAddress(network.from), wireAddress(network.to))
  return checksum(addresses, u32(datagram.length), u32(PROTO.udp), datagram) === 0
}

interface GueHeader {
  readonly variant: number
  readonly control: boolean
  readonly hlen: number
  readonly protoOrCtype: number
  readonly flags: number
}

function gueFields(bytes: Bytes): GueHeader {
  const reader = new Reader(bytes)
  const first = reader.u8()
  return {
    variant: first >> 6,
    control: (first & 0x20) !== 0,
    hlen: first & 0x1f,
    protoOrCtype: reader.u8(),
    flags: reader.u16(),
  }
}

type Found = { readonly ok: true; readonly value: ForService } | Refusal

function innerPacket(proto: number, inner: Bytes, fleet: Fleet): Found {
  if (proto !== 4 && proto !== 41) return refuse('gue_bad_proto')
  if (inner.length > 0 && innerProto(inner) !== proto) return refuse('bad_version')
  return forService(inner, fleet)
}

function forService(inner: Bytes, fleet: Fleet): Found {
  const result = parse(inner)
  if (!result.ok) return result
  const { parsed } = result
  const service = serviceOf(parsed, fleet.services)
  if (service === undefined) return refuse('no_service')
  if (parsed.fragmented && !service.fragments && parsed.kind === 'fragment') {
    return refuse('fragment')
  }
  return { ok: true, value: { inner, parsed, flow: flowOf(parsed, service, fleet.hashSeed) } }
}

/** A ping is for any service of its VIP; a later fragment names no port and is for one that expects fragments. */
export function serviceOf(parsed: Parsed, services: readonly Service[]): Service | undefined {
  const ofVip = services.filter(({ vip }) => vip === parsed.vip)
  if (parsed.kind === 'echo') return ofVip[0]
  const ofProtocol = ofVip.filter(({ protocol }) => PROTO[protocol] === parsed.proto)
  if (parsed.kind === 'fragment') {
    return ofProtocol.find(({ fragments }) => fragments) ?? ofProtocol[0]
  }
  return ofProtocol.find(({ ports }) => ports.includes(parsed.dport))
}

export function flowOf(parsed: Parsed, service: Service, hashSeed: bigint): bigint {
  const byAddress = parsed.kind === 'echo' || service.fragments
  const ports = byAddress ? { sport: 0, dport: 0 } : { sport: parsed.sport, dport: parsed.dport }
  return flowId(hashSeed, { ...ports, client: parsed.client, vip: parsed.vip, proto: parsed.proto })
}

function receivePrivate(gue: Bytes, path: Path, receiver: Receiver): Received {
  const header = gueFields(gue)
  const tooShort = gue.length < GUE_BYTES + PRIVATE_BYTES
  if (header.hlen !== PRIVATE_HLEN || tooShort) return refused('gue_bad_length')
  if (header.variant !== 0) return refused('gue_bad_variant')
  if (header.flags !== 0) return refused('gue_flags')
  if (header.protoOrCtype !== 4 && header.protoOrCtype !== 41) return refused('gue_bad_proto')
  const reader = new Reader(gue.subarray(GUE_BYTES))
  const versionVerb = reader.u8()
  if (versionVerb >> 4 !== VERSION) return refused('unknown_version')
  const verb = nameOf(PRIVATE_VERB, versionVerb & 0xf)
  if (verb === undefined) return refused('unknown_verb')
  const keyId = reader.u8()
  const key = receiver.keys.find(({ id }) => id === keyId)
  if (key === undefined) return refused('unknown_key')
  const origin = reader.u16()
  const backend = reader.u32()
  const tag = reader.take(TAG_BYTES)
  const inner = reader.rest()
  const head = gue.subarray(GUE_BYTES, GUE_BYTES + 8)
  if (!sameBytes(tag, privateTag(path, key.key, head, inner))) return refused('bad_tag')
  if (!isNode(receiver.fleet, origin, path.from)) return refused('unknown_origin')
  const found = innerPacket(header.protoOrCtype, inner, receiver.fleet)
  if (!found.ok) return refused(found.reason)
  if (verb === 'RELAY') return refused('relay_unsupported')
  if (verb === 'FORWARD' && backend >>> 20 !== receiver.self.popId) return refused('wrong_backend')
  return { kind: 'private', path, verb, origin, backend, ...found.value }
}

function isNode(fleet: Fleet, id: number, address: string): boolean {
  return fleet.pops
    .flatMap(({ nodes }) => nodes)
    .some((node) => node.id === id && node.address === address)
}

function nameOf<Name extends string>(
  table: Readonly<Record<Name, number>>,
  value: number,
): Name | undefined {
  return (Object.keys(table) as Name[]).find((name) => table[name] === value)
}

function receiveControl(gue: Bytes, path: Path, receiver: Receiver): Received {
  const header = gueFields(gue)
  if (header.hlen !== 0) return refused('gue_bad_length')
  if (header.variant !== 0) return refused('gue_bad_variant')
  if (header.flags !== 0) return refused('gue_flags')
  if (header.protoOrCtype !== CTYPE) return refused('gue_bad_ctype')
  const bytes = gue.subarray(GUE_BYTES)
  if (bytes.length < CONTROL_BYTES) return refused('bad_message')
  const reader = new Reader(bytes)
  const versionVerb = reader.u8()
  if (versionVerb >> 4 !== VERSION) return refused('unknown_version')
  const verb = nameOf(CONTROL_VERB, versionVerb & 0xf)
  if (verb === undefined) return refused('unknown_verb')
  const keyId = reader.u8()
  const key = receiver.keys.find(({ id }) => id === keyId)
  if (key === undefined) return refused('unknown_key')
  const origin = reader.u16()
  if (reader.u16() !== bytes.length - CONTROL_BYTES) return refused('bad_message')
  reader.u16()
  const envelope = {
    origin,
    senderBoot: reader.u64(),
    receiverBoot: reader.u64(),
    sequence: reader.u64(),
  }
  const tag = bytes.subarray(TAG_OFFSET, TAG_OFFSET + TAG_BYTES)
  if (!sameBytes(tag, controlTag(path, key.key, bytes))) return refused('bad_tag')
  const self = origin === receiver.self.id
  if (self || !isNode(receiver.fleet, origin, path.from)) return refused('unknown_origin')
  const body = readBody(verb, bytes.subarray(CONTROL_BYTES))
  if (body === undefined) return refused('bad_message')
  return { kind: 'control', path, keyId, message: { ...envelope, ...body } }
}

const HELLO_BYTES = 56
const RECORD_BYTES = 16

/** Undefined: the body does not fit its verb. */
export function readBody(verb: Message['verb'], bytes: Bytes): Body | undefined {
  const reader = new Reader(bytes)
  switch (verb) {
    case 'HELLO':
      return bytes.length === HELLO_BYTES ? { verb, ...readHello(reader) } : undefined
    case 'PUBLISH': {
      if (bytes.length < 16) return undefined
      const batch = reader.u64()
      const records = readRecords(reader)
      return records === undefined ? undefined : { verb, batch, records }
    }
    case 'OWNER': {
      if (bytes.length < 8) return undefined
      const records = readRecords(reader)
      return records === undefined ? undefined : { verb, records }
    }
  }
}

function readHello(reader: Reader): Hello {
  const lowest = reader.u8()
  const highest = reader.u8()
  const flags = reader.u8()
  reader.u8()
  const fillPermille = reader.u16()
  reader.u16()
  const echo = reader.u64()
  const echoDelayUs = reader.u32()
  reader.u32()
  return {
    lowest,
    highest,
    walked: (flags & 4) !== 0,
    draining: (flags & 2) !== 0,
    filled: (flags & 1) !== 0,
    fillPermille,
    echo,
    echoDelayUs,
    batchesSent: reader.u64(),
    batchesTaken: reader.u64(),
    batchesMask: reader.u64(),
    walkEnd: reader.u64(),
  }
}

function readRecords(reader: Reader): readonly FlowRecord[] | undefined {
  const count = reader.u16()
  reader.take(6)
  if (count < 1 || count > MAX_RECORDS || reader.left !== count * RECORD_BYTES) return undefined
  const records: FlowRecord[] = []
  for (let i = 0; i < count; i++) {
    const flow = reader.u64()
    const backend = reader.u32()
    const stateAge = reader.u16()
    const state = nameOf<FlowState>(FLOW_STATE, stateAge >> 13)
    if (state === undefined) return undefined
    records.push({ flow, backend, state, age: stateAge & 0x1fff, idle: reader.u16() })
  }
  return records
}
