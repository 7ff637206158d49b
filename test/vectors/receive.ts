// A decoder of everything that goes between machines, written from docs/wire-format.md alone: it makes a receiver's
// checks in the page's order and names the reason of the first that fails as the page does. Sessions have state and are
// in session.ts. Used by the vectors and by the tests of the protocol.

import type { Fleet, FleetNode, Service } from '../../src/fleet/model.js'
import { type Bytes, Reader, sameBytes } from './bytes.js'
import { flowId, PROTO, popOfBackend, seedCheck } from './names.js'
import { type Network, type Parsed, parse, parseNetwork, type Refusal, refuse } from './parse.js'
import {
  AGE_MAX,
  ALL_SERVICES,
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
  HELLO_BYTES,
  type Head,
  type Hello,
  HIGHEST_VERSION,
  type Key,
  LOWEST_VERSION,
  MAX_BODY_BYTES,
  MAX_REACH,
  MAX_REACH_SERVICES,
  MAX_RECORDS,
  type Message,
  type Path,
  PRIVATE_HLEN,
  PRIVATE_VERB,
  type PrivateVerb,
  privateTag,
  REACH_VERSION,
  RECORD_BYTES,
  RELAY_VERSION,
  TAG_BYTES,
  TAG_OFFSET,
} from './wire.js'

export interface Receiver {
  readonly fleet: Fleet
  readonly self: FleetNode
  readonly keys: readonly Key[]
  /** The highest version that it speaks. */
  readonly highest?: number
  /** Judges a control message by its sender's session: the reason to refuse it, if there is one. */
  readonly session?: (head: Head) => string | undefined
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
      readonly version: number
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
  const outer = parse(packet)
  if (!outer.ok) return refused(outer.reason)
  const network = parseNetwork(packet)
  if (!network.ok) return refused(network.reason)
  if (network.to !== receiver.self.address) {
    const found = forService(packet, receiver.fleet)
    return found.ok ? { kind: 'client', ...found.value } : refused(found.reason)
  }
  const gue = gueOf(network)
  if (!gue.ok) return refused(gue.reason)
  const path = { from: network.from, to: network.to }
  if (gue.bytes.length < GUE_BYTES) return refused('gue_bad_length')
  const header = gueFields(gue.bytes)
  if (header.variant !== 0) return refused('gue_bad_variant')
  if (gue.bytes.length < GUE_BYTES + header.hlen * 4) return refused('gue_bad_length')
  if (header.flags !== 0) return refused('gue_flags')
  if (header.control) return receiveControl(gue.bytes, path, receiver)
  if (header.hlen !== 0) return receivePrivate(gue.bytes, path, receiver)
  if (!isNeighbour(receiver.fleet, receiver.self.popId, path.from)) return refused('not_a_peer')
  const found = innerPacket(header.protoOrCtype, gue.bytes.slice(GUE_BYTES), receiver.fleet)
  if (!found.ok) return refused(found.reason)
  const own = receiver.fleet.pops.flatMap(({ backends }) => backends)
  const has = own.some((backend) => backend.nodeId === receiver.self.id)
  return has ? { kind: 'plain', path, ...found.value } : refused('wrong_backend')
}

/** Whether the address is one of a node of this PoP. */
function isNeighbour(fleet: Fleet, popId: number, address: string): boolean {
  const nodes = fleet.pops.find(({ id }) => id === popId)?.nodes ?? []
  return nodes.some((node) => node.address === address)
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
  if (network.to !== address) return refused('not_ours')
  const gue = gueOf(network)
  if (!gue.ok) return refused(gue.reason)
  if (!isNeighbour(fleet, popId, network.from)) return refused('not_a_peer')
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

/** The UDP checksum is left to the kernel's socket: it protects nothing that the tag does not. */
function gueOf(network: Network): { readonly ok: true; readonly bytes: Bytes } | Refusal {
  const { payload, fragmentOffset, moreFragments } = network
  if (network.proto !== PROTO.udp) return refuse('not_ours')
  if (fragmentOffset > 0 || moreFragments) return refuse('not_ours')
  if (payload.length < 8) return refuse('truncated')
  const udp = new Reader(payload)
  udp.u16()
  if (udp.u16() !== GUE_PORT) return refuse('not_ours')
  const length = udp.u16()
  if (length < 8) return refuse('bad_header')
  if (length > payload.length) return refuse('truncated')
  return { ok: true, bytes: payload.slice(8, length) }
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
  const version = (inner[0] ?? 0) >> 4
  const fits = (proto === 4 && version === 4) || (proto === 41 && version === 6)
  if (!fits) return refuse('gue_bad_proto')
  return forService(inner, fleet)
}

function forService(inner: Bytes, fleet: Fleet): Found {
  const result = parse(inner)
  if (!result.ok) return result
  const { parsed } = result
  const service = serviceOf(parsed, fleet.services)
  if (!fleet.services.some(({ vip }) => vip === parsed.vip)) return refuse('no_service')
  if (service === undefined) return refuse(parsed.fragmented ? 'fragment' : 'no_service')
  return { ok: true, value: { inner, parsed, flow: flowOf(parsed, service, fleet.hashSeed) } }
}

/** A ping is for any service of its VIP; a fragment, for one that expects fragments: only the first names a port. */
export function serviceOf(parsed: Parsed, services: readonly Service[]): Service | undefined {
  const ofVip = services.filter(({ vip }) => vip === parsed.vip)
  if (parsed.kind === 'echo') return ofVip[0]
  const ofProtocol = ofVip.filter(({ protocol }) => PROTO[protocol] === parsed.proto)
  if (parsed.fragmented) return ofProtocol.find(({ fragments }) => fragments)
  return ofProtocol.find(({ ports }) => ports.includes(parsed.dport))
}

export function flowOf(parsed: Parsed, service: Service, hashSeed: bigint): bigint {
  const byAddress = parsed.kind === 'echo' || service.fragments
  const ports = byAddress ? { sport: 0, dport: 0 } : { sport: parsed.sport, dport: parsed.dport }
  return flowId(hashSeed, { ...ports, client: parsed.client, vip: parsed.vip, proto: parsed.proto })
}

function receivePrivate(gue: Bytes, path: Path, receiver: Receiver): Received {
  const header = gueFields(gue)
  if (header.hlen !== PRIVATE_HLEN) return refused('gue_bad_length')
  if (header.protoOrCtype !== 4 && header.protoOrCtype !== 41) return refused('gue_bad_proto')
  const reader = new Reader(gue.subarray(GUE_BYTES))
  const versionVerb = reader.u8()
  const version = versionVerb >> 4
  if (!speaks(receiver, version)) return refused('unknown_version')
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
  if (!isOther(receiver, origin, path.from)) return refused('unknown_origin')
  const found = innerPacket(header.protoOrCtype, inner, receiver.fleet)
  if (!found.ok) return refused(found.reason)
  const near = isNeighbour(receiver.fleet, receiver.self.popId, path.from)
  if (verb === 'ASK' && !near) return refused('unknown_origin')
  if (verb === 'FORWARD' && popOfBackend(backend) !== receiver.self.popId) {
    return refused('wrong_backend')
  }
  if (verb === 'RELAY' && version < RELAY_VERSION) return refused('relay_unsupported')
  if (verb === 'RELAY' && near) return refused('unknown_origin')
  return { kind: 'private', path, version, verb, origin, backend, ...found.value }
}

const speaks = ({ highest = HIGHEST_VERSION }: Receiver, version: number): boolean =>
  version >= LOWEST_VERSION && version <= highest

/** Whether there is a version that the receiver and the sender of a HELLO both speak. */
const isCommon = ({ highest: own = HIGHEST_VERSION }: Receiver, hello: Hello): boolean =>
  hello.lowest <= own && hello.highest >= LOWEST_VERSION

/** A configured node, not the receiver itself, under its own address. */
function isOther(receiver: Receiver, id: number, address: string): boolean {
  return receiver.fleet.pops
    .flatMap(({ nodes }) => nodes)
    .some((node) => node.id === id && node.address === address && id !== receiver.self.id)
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
  if (header.protoOrCtype !== CTYPE) return refused('gue_bad_ctype')
  const bytes = gue.subarray(GUE_BYTES)
  if (bytes.length < CONTROL_BYTES) return refused('bad_message')
  const reader = new Reader(bytes)
  const versionVerb = reader.u8()
  const version = versionVerb >> 4
  if (!speaks(receiver, version)) return refused('unknown_version')
  const verb = nameOf(CONTROL_VERB, versionVerb & 0xf)
  if (verb === undefined || (verb === 'REACH' && version < REACH_VERSION)) {
    return refused('unknown_verb')
  }
  const keyId = reader.u8()
  const key = receiver.keys.find(({ id }) => id === keyId)
  if (key === undefined) return refused('unknown_key')
  const origin = reader.u16()
  const bodyLength = reader.u16()
  const fits = bodyLength === bytes.length - CONTROL_BYTES && bodyLength <= MAX_BODY_BYTES
  if (!fits) return refused('bad_message')
  reader.u16()
  const envelope = {
    version,
    origin,
    senderBoot: reader.u64(),
    receiverBoot: reader.u64(),
    sequence: reader.u64(),
  }
  const tag = bytes.subarray(TAG_OFFSET, TAG_OFFSET + TAG_BYTES)
  if (!sameBytes(tag, controlTag(path, key.key, bytes))) return refused('bad_tag')
  if (!isOther(receiver, origin, path.from)) return refused('unknown_origin')
  const rest = bytes.subarray(CONTROL_BYTES)
  if (verb === 'HELLO' && rest.length !== HELLO_BYTES) return refused('bad_message')
  const hello = verb === 'HELLO' ? readHello(new Reader(rest)) : undefined
  if (hello !== undefined && !isCommon(receiver, hello)) return refused('unknown_version')
  if (hello !== undefined && ![0, seedCheck(receiver.fleet.hashSeed)].includes(hello.seedCheck)) {
    return refused('other_seed')
  }
  const reason = receiver.session?.({ ...envelope, verb, echo: hello?.echo ?? 0n })
  if (reason !== undefined) return refused(reason)
  const body = readBody(verb, rest)
  if (body === undefined) return refused('bad_message')
  return { kind: 'control', path, keyId, message: { ...envelope, ...body } }
}

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
      return records === undefined || batch === 0n ? undefined : { verb, batch, records }
    }
    case 'OWNER': {
      if (bytes.length < 8) return undefined
      const records = readRecords(reader)
      return records === undefined ? undefined : { verb, records }
    }
    case 'REACH':
      return readReach(reader)
  }
}

function readHello(reader: Reader): Hello {
  const lowest = reader.u8()
  const highest = reader.u8()
  const flags = reader.u8()
  reader.u8()
  const fillPermille = reader.u16()
  const seedCheck = reader.u16()
  const echo = reader.u64()
  const echoDelayUs = reader.u32()
  const fleetDigest = reader.u32()
  return {
    lowest,
    highest,
    ...((flags & 16) === 0 ? {} : { silent: true }),
    withholds: (flags & 8) !== 0,
    walked: (flags & 4) !== 0,
    draining: (flags & 2) !== 0,
    filled: (flags & 1) !== 0,
    fillPermille,
    seedCheck,
    echo,
    echoDelayUs,
    fleetDigest,
    batchesSent: reader.u64(),
    batchesTaken: reader.u64(),
    batchesMask: reader.u64(),
    walkEnd: reader.u64(),
  }
}

function readReach(reader: Reader): Body | undefined {
  if (reader.left < 8) return undefined
  const count = reader.u16()
  const said = reader.u16()
  reader.take(4)
  const named = said === ALL_SERVICES ? 0 : said
  if (count > MAX_REACH || named > MAX_REACH_SERVICES) return undefined
  if (reader.left !== 2 * count + 4 * named) return undefined
  const pops = Array.from({ length: count }, () => reader.u16())
  const services = Array.from({ length: named }, () => reader.u32())
  return { verb: 'REACH', pops, services: said === ALL_SERVICES ? 'all' : services }
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
    const idle = reader.u16()
    const state = nameOf<FlowState>(FLOW_STATE, stateAge >> 13)
    // A record of a state that this version does not know is skipped.
    if (state === undefined) continue
    records.push({ flow, backend, state, age: Math.min(stateAge & 0x1fff, AGE_MAX), idle })
  }
  return records
}
