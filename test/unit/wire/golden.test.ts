// A few packets in full, as hex: what the encoder of test/vectors makes today is what it made when the page was written,
// and the decoder reads it back. A second implementation can start from these.

import t from 'tap'
import { fromHex, hex } from '../../vectors/bytes.js'
import { tcp } from '../../vectors/packets.js'
import { receiveAtBackend, receiveAtNode } from '../../vectors/receive.js'
import { KEY, nodeNamed, sampleFleet } from '../../vectors/samples.js'
import { QUIET } from '../../vectors/session.js'
import { CONNECTION4, CONNECTION6, flowOfPacket } from '../../vectors/vector.js'
import {
  encodeControl,
  encodePlain,
  encodePrivate,
  type Message,
  type Path,
} from '../../vectors/wire.js'

const fleet = sampleFleet({ pops: 2 })
const fleet6 = sampleFleet({ pops: 2, outer: 6 })
const SYN4 = tcp({ ...CONNECTION4, flags: 'S' })
const SYN6 = tcp({ ...CONNECTION6, flags: 'S' })
const FOUR: Path = { from: '10.1.0.1', to: '10.2.0.1' }
const SIX: Path = { from: 'fd00:1::1', to: 'fd00:2::1' }
const [BACKEND = 0] = fleet.pops[1]?.backends.map(({ id }) => id) ?? []
const [BACKEND6 = 0] = fleet6.pops[1]?.backends.map(({ id }) => id) ?? []

const ENVELOPE = {
  version: 1,
  origin: 101,
  senderBoot: 0x0102030405060708n,
  receiverBoot: 0x1112131415161718n,
  sequence: 0x2122232425262728n,
} as const

const HELLO: Message = {
  ...QUIET,
  ...ENVELOPE,
  verb: 'HELLO',
  highest: 3,
  draining: true,
  filled: false,
  fillPermille: 512,
  seedCheck: 0xd505,
  echo: 0x3132333435363738n,
  echoDelayUs: 0x41424344,
  fleetDigest: 0x45464748,
  batchesSent: 0x5152535455565758n,
  batchesTaken: 0x6162636465666768n,
  batchesMask: 0x7172737475767778n,
  walkEnd: 0x0182838485868788n,
}

const RECORD = {
  flow: 0x9192939495969798n,
  backend: 0x0020abcd,
  state: 'established',
  age: 0x0123,
  idle: 0x5678,
} as const

const GOLDEN = {
  plain: [
    '4500004800000000401165a10a0100010a010102cbc817c000340000000400004500002800000000',
    '40061445cb00714dc633640a9c410050000003e8000000005002ffffa8dd0000',
  ].join(''),
  forward: [
    '4500005800000000401166910a0100010a020001cbc817c0004400000404000012070065002e7896',
    '93ac82cb4fcff036450000280000000040061445cb00714dc633640a9c410050000003e800000000',
    '5002ffffa8dd0000',
  ].join(''),
  forward6: [
    '6000000000581140fd000001000000000000000000000001fd000002000000000000000000000001',
    'f79b17c000581b3a04290000120700650021b40b00d02131bd2aca79600000000014064020010db8',
    'c11e0000000000000000007720010db80100000000000000000000109c4101bb000003e800000000',
    '5002ffffefe60000',
  ].join(''),
  hello: [
    '4500008000000000401166690a0100010a02000117c017c0006c0000208000001407006500380000',
    '010203040506070811121314151617182122232425262728f2d256c14db04974010306000200d505',
    '31323334353637384142434445464748515253545556575861626364656667687172737475767778',
    '0182838485868788',
  ].join(''),
  publish: [
    '4500006800000000401166810a0100010a02000117c017c000540000208000001507006500200000',
    '010203040506070811121314151617182122232425262728792fa0469348a8c10000000000000003',
    '000100000000000091929394959697980020abcd41235678',
  ].join(''),
  relay: [
    '4500005800000000401166910a0100010a020001cbc817c00044000004040000230700650030abcd',
    'beabe3d4a415c046450000280000000040061445cb00714dc633640a9c410050000003e800000000',
    '5002ffffa8dd0000',
  ].join(''),
  relayWithout6: [
    '6000000000581140fd000001000000000000000000000001fd000002000000000000000000000001',
    'f79b17c0005823db042900002307006500000000b45acb4956396e53600000000014064020010db8',
    'c11e0000000000000000007720010db80100000000000000000000109c4101bb000003e800000000',
    '5002ffffefe60000',
  ].join(''),
  helloH: [
    '4500008000000000401166690a0100010a02000117c017c0006c0000208000001407006500380000',
    '010203040506070811121314151617182122232425262728cbf1a3ecff204554010308000200d505',
    '31323334353637384142434445464748515253545556575861626364656667687172737475767778',
    '0182838485868788',
  ].join(''),
  reach: [
    '4500005400000000401166950a0100010a02000117c017c0004000002080000027070065000c0000',
    '01020304050607081112131415161718212223242526272885a8b8e56fd35d3f0002000000000000',
    '00010abc',
  ].join(''),
  publish2: [
    '4500006800000000401166810a0100010a02000117c017c000540000208000002507006500200000',
    '010203040506070811121314151617182122232425262728c6eeaf74c8ff7e0a0000000000000003',
    '000100000000000091929394959697980020abcd41235678',
  ].join(''),
  owner6: [
    '60000000005c1140fd000001000000000000000000000001fd000002000000000000000000000001',
    '17c017c0005cf0702080000016070065002800000102030405060708111213141516171821222324',
    '25262728f9beed50b09e8f5a000200000000000091929394959697980020abcd4123567891929394',
    '959697980020abcd01ffffff',
  ].join(''),
} as const

t.test('plain GUE to a backend', async (t) => {
  const path = { from: '10.1.0.1', to: '10.1.1.2' }
  const packet = encodePlain(path, flowOfPacket(fleet, SYN4), SYN4)
  t.equal(hex(packet), GOLDEN.plain)
  const received = receiveAtBackend(fromHex(GOLDEN.plain), fleet, 1, path.to)
  t.match(received, { kind: 'plain', inner: SYN4 })
})

t.test('FORWARD over IPv4 and IPv6', async (t) => {
  const data = { version: 1, verb: 'FORWARD', origin: 101 } as const
  const flow = flowOfPacket(fleet, SYN4)
  const four = encodePrivate(FOUR, KEY, flow, { ...data, backend: BACKEND }, SYN4)
  t.equal(hex(four), GOLDEN.forward)
  const flow6 = flowOfPacket(fleet, SYN6)
  const six = encodePrivate(SIX, KEY, flow6, { ...data, backend: BACKEND6 }, SYN6)
  t.equal(hex(six), GOLDEN.forward6)
  const receiver = { fleet, self: nodeNamed(fleet, 'b1'), keys: [KEY] }
  const expected = { kind: 'private', verb: 'FORWARD', origin: 101 } as const
  t.match(receiveAtNode(four, receiver), { ...expected, backend: BACKEND, inner: SYN4, flow })
  const receiver6 = { fleet: fleet6, self: nodeNamed(fleet6, 'b1'), keys: [KEY] }
  t.match(receiveAtNode(six, receiver6), { ...expected, inner: SYN6, flow: flow6 })
})

t.test('HELLO, PUBLISH and OWNER', async (t) => {
  const receiver = { fleet, self: nodeNamed(fleet, 'b1'), keys: [KEY] }
  const receiver6 = { fleet: fleet6, self: nodeNamed(fleet6, 'b1'), keys: [KEY] }
  const publish: Message = { ...ENVELOPE, verb: 'PUBLISH', batch: 3n, records: [RECORD] }
  const ended = { ...RECORD, state: 'ended', age: 511, idle: 0xffff } as const
  const owner: Message = { ...ENVELOPE, verb: 'OWNER', records: [RECORD, ended] }
  t.equal(hex(encodeControl(FOUR, KEY, HELLO)), GOLDEN.hello)
  t.equal(hex(encodeControl(FOUR, KEY, publish)), GOLDEN.publish)
  t.equal(hex(encodeControl(SIX, KEY, owner)), GOLDEN.owner6)
  const read = (bytes: string, at: typeof receiver) => receiveAtNode(fromHex(bytes), at)
  t.match(read(GOLDEN.hello, receiver), { kind: 'control', message: HELLO })
  t.match(read(GOLDEN.publish, receiver), { kind: 'control', message: publish })
  t.match(read(GOLDEN.owner6, receiver6), { kind: 'control', message: owner })
})

t.test('ages that do not fit saturate', async (t) => {
  const old = { ...RECORD, age: 9000, idle: 70000 }
  const most = { ...RECORD, age: 511, idle: 0xffff }
  const [saturated, expected] = [old, most].map((record) =>
    hex(encodeControl(FOUR, KEY, { ...ENVELOPE, verb: 'OWNER', records: [record] })),
  )
  t.equal(saturated, expected)
})

t.test('RELAY with a backend and without', async (t) => {
  const data = { version: 2, verb: 'RELAY', origin: 101 } as const
  const flow = flowOfPacket(fleet, SYN4)
  const four = encodePrivate(FOUR, KEY, flow, { ...data, backend: 0x0030abcd }, SYN4)
  t.equal(hex(four), GOLDEN.relay)
  const flow6 = flowOfPacket(fleet, SYN6)
  const six = encodePrivate(SIX, KEY, flow6, { ...data, backend: 0 }, SYN6)
  t.equal(hex(six), GOLDEN.relayWithout6)
  const receiver = { fleet, self: nodeNamed(fleet, 'b1'), keys: [KEY] }
  const expected = { kind: 'private', version: 2, verb: 'RELAY', origin: 101 } as const
  t.match(receiveAtNode(four, receiver), { ...expected, backend: 0x0030abcd, inner: SYN4, flow })
  const receiver6 = { fleet: fleet6, self: nodeNamed(fleet6, 'b1'), keys: [KEY] }
  t.match(receiveAtNode(six, receiver6), { ...expected, backend: 0, inner: SYN6, flow: flow6 })
  const old = { ...receiver, highest: 1 }
  t.same(receiveAtNode(four, old), { kind: 'refused', reason: 'unknown_version' })
})

t.test('H, REACH and PUBLISH of version 2', async (t) => {
  const receiver = { fleet, self: nodeNamed(fleet, 'b1'), keys: [KEY] }
  const withholds: Message = { ...HELLO, withholds: true, walked: false, draining: false }
  const reach: Message = { ...ENVELOPE, version: 2, verb: 'REACH', pops: [1, 0xabc], services: [] }
  const publish: Message = {
    ...ENVELOPE,
    version: 2,
    verb: 'PUBLISH',
    batch: 3n,
    records: [RECORD],
  }
  t.equal(hex(encodeControl(FOUR, KEY, withholds)), GOLDEN.helloH)
  t.equal(hex(encodeControl(FOUR, KEY, reach)), GOLDEN.reach)
  t.equal(hex(encodeControl(FOUR, KEY, publish)), GOLDEN.publish2)
  const read = (bytes: string) => receiveAtNode(fromHex(bytes), receiver)
  t.match(read(GOLDEN.helloH), { kind: 'control', message: withholds })
  t.match(read(GOLDEN.reach), { kind: 'control', message: reach })
  t.match(read(GOLDEN.publish2), { kind: 'control', message: publish })
})
