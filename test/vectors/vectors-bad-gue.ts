// Private data and control messages that a node refuses: faults in the order in which docs/wire-format.md lets a receiver
// look for them, so that of two faults in one packet the first names the reason. Used by test/unit/wire/bad-input.test.ts
// and by the sweeps.

import { type Bytes, join, patched, u16, u32, u64 } from './bytes.js'
import { tcp } from './packets.js'
import { KEY, nodesOf } from './samples.js'
import { QUIET, type ScriptedPeer } from './session.js'
import { CONNECTION4, CONNECTION6 } from './vector.js'
import {
  controlWithTag,
  type Envelope,
  encodeBody,
  encodeOuter,
  type GueFields,
  gueHeader,
  type Hello,
  type Path,
  privateWithTag,
  type RawControl,
  type RawPrivate,
} from './wire.js'

const SYN4 = tcp({ ...CONNECTION4, flags: 'S' })
const SYN6 = tcp({ ...CONNECTION6, flags: 'S' })

/** What a packet of this kind is made of; a fault changes some of it. */
interface Common {
  readonly gue?: Partial<GueFields>
  readonly path?: Path
  readonly wrongTag?: boolean
  /** Bytes of the GUE packet that are sent. */
  readonly cut?: number
}

export interface PrivateParts extends Common {
  readonly fields?: Partial<RawPrivate>
  readonly inner?: Bytes
}

export interface ControlParts extends Common {
  readonly fields?: Partial<RawControl>
  readonly body?: Bytes
}

export interface Fault<Parts> {
  readonly name: string
  readonly reason: string
  readonly parts: Parts
}

/** Both; where they differ about one thing, the first. */
export function bothFaults<Parts extends PrivateParts & ControlParts>(a: Parts, b: Parts): Parts {
  return {
    ...b,
    ...a,
    gue: { ...b.gue, ...a.gue },
    fields: { ...b.fields, ...a.fields },
  }
}

/** A FORWARD from the peer, sound but for what `parts` say. */
export function privatePacket(peer: ScriptedPeer, backend: number, parts: PrivateParts): Bytes {
  const { path = peer.path, inner = SYN4 } = parts
  const raw = {
    version: peer.version,
    verb: 2,
    keyId: KEY.id,
    origin: peer.self.id,
    backend,
    ...parts.fields,
  }
  const data = privateWithTag(path, KEY.key, raw, inner)
  const header = gueHeader({ hlen: 4, protoOrCtype: 4, ...parts.gue })
  return finish(path, 0xc000, join(header, spoilt(data, 8, parts)), parts)
}

/** A control message from the peer, a HELLO of its session but for what `parts` say. */
export function controlPacket(peer: ScriptedPeer, envelope: Envelope, parts: ControlParts): Bytes {
  const { path = peer.path, body = encodeBody({ verb: 'HELLO', ...QUIET }) } = parts
  const raw = { verb: 4, keyId: KEY.id, ...envelope, ...parts.fields }
  const message = controlWithTag(path, KEY.key, raw, body)
  const header = gueHeader({ control: true, protoOrCtype: 128, ...parts.gue })
  return finish(path, 6080, join(header, spoilt(message, 32, parts)), parts)
}

const spoilt = (bytes: Bytes, tagAt: number, { wrongTag = false }: Common): Bytes =>
  wrongTag ? patched(bytes, tagAt, (bytes[tagAt] ?? 0) ^ 1) : bytes

const finish = (path: Path, port: number, gue: Bytes, { cut }: Common): Bytes =>
  encodeOuter(path, port, 0, gue.slice(0, cut ?? gue.length))

const fault = <Parts>(name: string, reason: string, parts: Parts): Fault<Parts> => ({
  name,
  reason,
  parts,
})

/** Of the GUE header; in both kinds. */
const headerFaults: readonly Fault<Common>[] = [
  fault('no GUE header', 'gue_bad_length', { cut: 0 }),
  fault('3 bytes of a GUE header', 'gue_bad_length', { cut: 3 }),
  fault('GUE variant 1', 'gue_bad_variant', { gue: { variant: 1 } }),
  fault('GUE variant 3', 'gue_bad_variant', { gue: { variant: 3 } }),
]

/** In the page's order. The peer is of another PoP than the node; `other` is a node's id that is not the peer's. */
export function privateFaults(
  peer: ScriptedPeer,
  other: number,
  foreignBackend: number,
): readonly Fault<PrivateParts>[] {
  const fields = (wrong: Partial<RawPrivate>): PrivateParts => ({ fields: wrong })
  const self = { from: peer.node.address, to: peer.node.address }
  const neighbour = nodesOf(peer.receiver.fleet).find(
    ({ id, popId }) => popId === peer.node.popId && id !== peer.node.id,
  )
  if (neighbour === undefined) throw new Error('the receiver has a neighbour')
  const near = { from: neighbour.address, to: peer.node.address }
  return [
    ...headerFaults,
    fault('private data cut short', 'gue_bad_length', { cut: 19 }),
    fault('no private data at all', 'gue_bad_length', { cut: 4 }),
    fault('a GUE flag', 'gue_flags', { gue: { flags: 1 } }),
    fault('all GUE flags', 'gue_flags', { gue: { flags: 0xffff } }),
    fault('12 bytes of private data', 'gue_bad_length', { gue: { hlen: 3 } }),
    fault('20 bytes of private data', 'gue_bad_length', { gue: { hlen: 5 } }),
    fault('a GUE proto that is not IP', 'gue_bad_proto', { gue: { protoOrCtype: 17 } }),
    fault('GUE proto 0', 'gue_bad_proto', { gue: { protoOrCtype: 0 } }),
    fault('version 0', 'unknown_version', fields({ version: 0 })),
    fault('version 0', 'unknown_version', fields({ version: 0 })),
    fault('version 3', 'unknown_version', fields({ version: 3 })),
    fault('version 15', 'unknown_version', fields({ version: 15 })),
    fault('verb 0', 'unknown_verb', fields({ verb: 0 })),
    fault('the verb of a control message', 'unknown_verb', fields({ verb: 4 })),
    fault('verb 15', 'unknown_verb', fields({ verb: 15 })),
    fault('a key that nobody holds', 'unknown_key', fields({ keyId: 99 })),
    fault('a wrong tag', 'bad_tag', { wrongTag: true }),
    fault('no origin', 'unknown_origin', fields({ origin: 0 })),
    fault('an unknown origin', 'unknown_origin', fields({ origin: 999 })),
    fault("another node's id", 'unknown_origin', fields({ origin: other })),
    fault("the receiver's own id", 'unknown_origin', {
      path: self,
      fields: { origin: peer.node.id },
    }),
    fault('an inner packet of 0 bytes', 'gue_bad_proto', { inner: new Uint8Array(0) }),
    fault('IPv6 behind proto 4', 'gue_bad_proto', { inner: SYN6 }),
    fault('an inner packet cut short', 'truncated', { inner: SYN4.slice(0, 39) }),
    fault('a port that is not served', 'no_service', {
      inner: tcp({ ...CONNECTION4, dport: 81, flags: 'S' }),
    }),
    fault('an address that is no VIP', 'no_service', {
      inner: tcp({ ...CONNECTION4, to: '198.51.100.99', flags: 'S' }),
    }),
    fault('RELAY in version 1', 'relay_unsupported', fields({ version: 1, verb: 3 })),
    fault('RELAY in version 1 without a backend', 'relay_unsupported', {
      fields: { version: 1, verb: 3, backend: 0 },
    }),
    fault('RELAY from a node of the same PoP', 'unknown_origin', {
      path: near,
      fields: { version: 2, verb: 3, origin: neighbour.id },
    }),
    fault('ASK from another PoP', 'unknown_origin', fields({ verb: 1, backend: 0 })),
    fault('a backend of another PoP', 'wrong_backend', fields({ backend: foreignBackend })),
    fault('no backend', 'wrong_backend', fields({ backend: 0 })),
    fault('a backend of no PoP', 'wrong_backend', fields({ backend: 0x00900001 })),
  ]
}

const records = (count: number, said: number): Bytes =>
  join(u16(said), u16(0), u32(0), new Uint8Array(16 * count))
const publish = (count: number, said = count, batch = 1n): ControlParts => ({
  fields: { verb: 5 },
  body: join(u64(batch), records(count, said)),
})
const owner = (count: number, said = count): ControlParts => ({
  fields: { verb: 6 },
  body: records(count, said),
})
const reach = (count: number, said = count): ControlParts => ({
  fields: { version: 2, verb: 7 },
  body: join(u16(said), u16(0), u32(0), new Uint8Array(2 * count)),
})
const hello = (said: Partial<Hello>): ControlParts => ({
  body: encodeBody({ verb: 'HELLO', ...QUIET, ...said }),
})

/** In the page's order, for a peer that is in a session with the node. */
export function controlFaults(peer: ScriptedPeer, other: number): readonly Fault<ControlParts>[] {
  const fields = (wrong: Partial<RawControl>): ControlParts => ({ fields: wrong })
  const self = { from: peer.node.address, to: peer.node.address }
  return [
    ...headerFaults,
    fault('a GUE flag', 'gue_flags', { gue: { flags: 0x8000 } }),
    fault('a control message behind private data', 'gue_bad_length', { gue: { hlen: 1 } }),
    fault('ctype 0', 'gue_bad_ctype', { gue: { protoOrCtype: 0 } }),
    fault('ctype 127', 'gue_bad_ctype', { gue: { protoOrCtype: 127 } }),
    fault('a GUE header and nothing else', 'bad_message', { cut: 4 }),
    fault('39 bytes of a control message', 'bad_message', { cut: 43 }),
    fault('version 0', 'unknown_version', fields({ version: 0 })),
    fault('version 3', 'unknown_version', fields({ version: 3 })),
    fault('version 15', 'unknown_version', fields({ version: 15 })),
    fault('verb 0', 'unknown_verb', fields({ verb: 0 })),
    fault('the verb of private data', 'unknown_verb', fields({ verb: 2 })),
    fault('REACH in version 1', 'unknown_verb', fields({ version: 1, verb: 7 })),
    fault('verb 8', 'unknown_verb', fields({ version: 2, verb: 8 })),
    fault('a key that nobody holds', 'unknown_key', fields({ keyId: 99 })),
    fault('a body shorter than it says', 'bad_message', fields({ bodyLength: 57 })),
    fault('a body longer than it says', 'bad_message', fields({ bodyLength: 55 })),
    fault('a PUBLISH of 65 flows', 'bad_message', publish(65)),
    fault('a wrong tag', 'bad_tag', { wrongTag: true }),
    fault('no origin', 'unknown_origin', fields({ origin: 0 })),
    fault('an unknown origin', 'unknown_origin', fields({ origin: 999 })),
    fault("another node's id", 'unknown_origin', fields({ origin: other })),
    fault("the receiver's own id", 'unknown_origin', {
      path: self,
      fields: { origin: peer.node.id },
    }),
    fault('a HELLO of 55 bytes', 'bad_message', { body: new Uint8Array(55) }),
    fault('a HELLO of 57 bytes', 'bad_message', { body: new Uint8Array(57) }),
    fault('a HELLO of 0 bytes', 'bad_message', { body: new Uint8Array(0) }),
    fault('a HELLO of newer versions only', 'unknown_version', hello({ lowest: 3, highest: 4 })),
    fault('a HELLO of no version', 'unknown_version', hello({ lowest: 0, highest: 0 })),
    fault('a HELLO under another hash_seed', 'other_seed', hello({ seedCheck: 0xfffe })),
    fault('for another boot of the node', 'no_session', fields({ receiverBoot: 5n })),
    fault('a PUBLISH to nobody', 'no_session', {
      ...publish(1),
      fields: { verb: 5, receiverBoot: 0n },
    }),
    fault('a PUBLISH from another boot', 'no_session', {
      ...publish(1),
      fields: { verb: 5, senderBoot: 77n },
    }),
    fault('an OWNER from another boot', 'no_session', {
      ...owner(1),
      fields: { verb: 6, senderBoot: 77n },
    }),
    fault('a REACH to nobody', 'no_session', {
      ...reach(1),
      fields: { version: 2, verb: 7, receiverBoot: 0n },
    }),
    fault('a REACH from another boot', 'no_session', {
      ...reach(1),
      fields: { version: 2, verb: 7, senderBoot: 77n },
    }),
    fault('a HELLO without a boot id', 'no_session', fields({ senderBoot: 0n })),
    fault('sequence number 0', 'replayed', fields({ sequence: 0n })),
    fault('a sequence number seen before', 'replayed', fields({ sequence: peer.sequence })),
    fault('a PUBLISH of 15 bytes', 'bad_message', {
      fields: { verb: 5 },
      body: new Uint8Array(15),
    }),
    fault('a PUBLISH of no flow', 'bad_message', publish(0)),
    fault('a PUBLISH of 2 flows that holds 1', 'bad_message', publish(1, 2)),
    fault('a PUBLISH of 1 flow that holds 2', 'bad_message', publish(2, 1)),
    fault('batch 0', 'bad_message', publish(1, 1, 0n)),
    fault('an OWNER of 7 bytes', 'bad_message', { fields: { verb: 6 }, body: new Uint8Array(7) }),
    fault('an OWNER of no flow', 'bad_message', owner(0)),
    fault('an OWNER of 65535 flows that holds 1', 'bad_message', owner(1, 65535)),
    fault('a REACH of 0 bytes', 'bad_message', { ...reach(0), body: new Uint8Array(0) }),
    fault('a REACH of 7 bytes', 'bad_message', { ...reach(0), body: new Uint8Array(7) }),
    fault('a REACH of 9 bytes', 'bad_message', { ...reach(0), body: new Uint8Array(9) }),
    fault('a REACH of 65 PoPs', 'bad_message', reach(65)),
    fault('a REACH of no PoP that holds 1', 'bad_message', reach(1, 0)),
    fault('a REACH of 2 PoPs that holds 1', 'bad_message', reach(1, 2)),
    fault('a REACH of 225 services', 'bad_message', {
      ...reach(0),
      body: join(u16(0), u16(225), u32(0), new Uint8Array(4 * 225)),
    }),
    fault('a REACH of 2 services that holds 1', 'bad_message', {
      ...reach(0),
      body: join(u16(0), u16(2), u32(0), new Uint8Array(4)),
    }),
    fault('a REACH of all services that names 1', 'bad_message', {
      ...reach(0),
      body: join(u16(0), u16(0xffff), u32(0), new Uint8Array(4)),
    }),
    fault('a REACH of 32768 PoPs that holds none', 'bad_message', reach(0, 32768)),
  ]
}
