// Sweeps: every truncation of every packet of the vectors, every flipped bit, stirred and random bytes. The node never
// delivers what its tag does not cover, refuses what the decoder of test/vectors refuses, for the same reason, and every
// packet ends in one counter.

import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Random, seeded } from '../../../src/lab/random.js'
import { moved, namesOf } from '../../vectors/bench.js'
import { type Bytes, hex, patched, pattern } from '../../vectors/bytes.js'
import {
  IPV4_HEADER,
  IPV6_HEADER,
  SYN_OPTIONS,
  tcp,
  withIpv4Checksum,
} from '../../vectors/packets.js'
import { receiveAtNode } from '../../vectors/receive.js'
import { sampleFleet } from '../../vectors/samples.js'
import { Stage } from '../../vectors/stage.js'
import { Cast, CONNECTION4, CONNECTION6, type Vector } from '../../vectors/vector.js'
import { badPackets } from '../../vectors/vectors-bad.js'
import { fleetVectors } from '../../vectors/vectors-fleet.js'
import { reachVectors } from '../../vectors/vectors-reach.js'
import { relayVectors } from '../../vectors/vectors-relay.js'
import { serviceVectors } from '../../vectors/vectors-service.js'
import { spillVectors } from '../../vectors/vectors-spill.js'
import { stateVectors } from '../../vectors/vectors-state.js'

const DROPS = new Set(namesOf('drop'))
const ENDS = new Set([...DROPS, ...namesOf('exit')])
/** Refusals that only a flow table, a path (a segment to be cut needs a right checksum) or a session can know of. */
const STATEFUL = new Set([
  ...['no_backend', 'backend_gone', 'table_full', 'peer_unreachable', 'uncertain'],
  ...[
    'first_refusal',
    'unknown_icmp',
    'owner_differs',
    'relay_unknown',
    'no_session',
    'replayed',
    'too_big',
    'bad_checksum',
  ],
])

/** Sends one packet; the counters it ended in. */
function endsOf(stage: Stage, packet: Bytes): { readonly ends: readonly string[]; out: number } {
  const before = stage.bench.counts
  const out = stage.bench.send(packet).length
  const counts = moved(before, stage.bench.counts)
  const ends = [...counts].flatMap(([name, by]) =>
    ENDS.has(name) ? Array<string>(Number(by)).fill(name) : [],
  )
  return { ends, out }
}

/** What went wrong with this packet, if anything. */
function disagreement(stage: Stage, packet: Bytes): string | undefined {
  const { ends } = endsOf(stage, packet)
  const [end, ...others] = ends
  const shown = `${hex(packet)} ended as ${ends.join(', ') || 'nothing'}`
  if (end === undefined || others.length > 0) return `${shown}, expected one end`
  const received = receiveAtNode(packet, stage.bench.receiver)
  if (received.kind === 'refused') {
    return received.reason === end ? undefined : `${shown}, expected ${received.reason}`
  }
  if (!DROPS.has(end) || STATEFUL.has(end)) return undefined
  return `${shown}, expected no such refusal`
}

/** Every disagreement, the first few in full. */
function agree(t: Test, stage: Stage, packets: Iterable<Bytes>, what: string): void {
  const wrong: string[] = []
  for (const packet of packets) {
    const problem = disagreement(stage, packet)
    if (problem !== undefined) wrong.push(problem)
  }
  t.same(wrong.slice(0, 5), [], `${what}: ${wrong.length} disagreements`)
}

function played(vector: Vector): Stage {
  const stage = new Stage(vector.stage)
  stage.join()
  for (const step of vector.steps(new Cast(stage))) {
    if (step.afterUs !== undefined) stage.pass(step.afterUs)
    stage.send(...step.packets)
  }
  return stage
}

const vectors = [
  ...serviceVectors,
  ...fleetVectors,
  ...stateVectors,
  ...relayVectors,
  ...reachVectors,
  ...spillVectors,
]

/** The packet's first bytes, with all lengths outside of the cut made to fit. */
function shortened(packet: Bytes, length: number): Bytes {
  const cut = packet.slice(0, length)
  const version = (cut[0] ?? 0) >> 4
  const header = version === 4 ? IPV4_HEADER : IPV6_HEADER
  if (length < header) return cut
  const claimed = version === 4 ? length : length - IPV6_HEADER
  const fitted = patched(cut, version === 4 ? 2 : 4, claimed >> 8, claimed & 0xff)
  const protocol = fitted[version === 4 ? 9 : 6]
  const datagram = length - header
  const whole =
    protocol === 17 && datagram >= 8
      ? patched(fitted, header + 4, datagram >> 8, datagram & 0xff)
      : fitted
  return version === 4 && (whole[0] ?? 0) === 0x45 ? withIpv4Checksum(whole) : whole
}

t.test('every truncation of every packet of the vectors is refused', async (t) => {
  for (const vector of vectors) {
    const stage = played(vector)
    let passed = 0
    for (const packet of new Set(stage.bench.inputs.slice(-12))) {
      for (let length = 0; length < packet.length - 6; length++) {
        const { ends, out } = endsOf(stage, packet.slice(0, length))
        const [end = 'nothing'] = ends
        if (ends.length !== 1 || !DROPS.has(end) || out > 0) passed++
      }
    }
    t.equal(passed, 0, vector.name)
    t.equal(stage.bench.accounted(), undefined)
  }
})

t.test('every truncation whose lengths were made to fit ends as the decoder says', async (t) => {
  for (const vector of vectors) {
    const stage = played(vector)
    const packets = [...new Set(stage.bench.inputs.slice(-12))]
    const cuts = packets.flatMap((packet) =>
      Array.from({ length: Math.min(packet.length, 200) }, (_, length) =>
        shortened(packet, length),
      ),
    )
    agree(t, stage, cuts, vector.name)
    t.equal(stage.bench.accounted(), undefined)
  }
})

/** The one bit that is set in a hop limit of 64. */
const HOP_LIMIT_64 = 7 * 8 + 1

/** Bits of the outer headers that nothing covers and that decide nothing. */
function isIdle(bit: number, outer: 4 | 6): boolean {
  const byte = bit >> 3
  const udp = outer === 4 ? IPV4_HEADER : IPV6_HEADER
  // The source port is for the network's hashing; the checksum is the kernel's business.
  if (byte >= udp && byte < udp + 2) return true
  if (byte >= udp + 6 && byte < udp + 8) return true
  // Traffic class, flow label and hop limit, unless it becomes 0.
  return outer === 6 && ((bit >= 4 && byte < 4) || (byte === 7 && bit !== HOP_LIMIT_64))
}

const flip = (packet: Bytes, bit: number): Bytes =>
  patched(packet, bit >> 3, (packet[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7)))

for (const outer of [4, 6] as const) {
  const fleet = sampleFleet({ pops: 2, outer })
  const connection = outer === 4 ? CONNECTION4 : CONNECTION6

  t.test(`no flipped bit of a FORWARD is delivered, outer IPv${outer}`, async (t) => {
    const stage = new Stage({ fleet, node: 'b1', peers: ['a1'] })
    stage.join()
    const cast = new Cast(stage)
    const inner = tcp({ ...connection, flags: 'PA', tcpOptions: SYN_OPTIONS, payload: pattern(64) })
    const data = { verb: 'FORWARD', backend: cast.choice(inner).id } as const
    const packet = stage.peer('a1').send(cast.flow(inner), data, inner)
    const covered = (outer === 4 ? 48 : 68) + 64
    for (let bit = 0; bit < 120 * 8; bit++) {
      const { ends, out } = endsOf(stage, flip(packet, bit))
      const harmless = isIdle(bit, outer) || bit >= covered * 8
      const expected = harmless ? { ends: ['delivered_gue'], out: 1 } : { ends, out: 0 }
      t.same({ ends, out }, expected, `byte ${bit >> 3}, bit ${bit & 7}: ${ends}`)
      if (!harmless) t.ok(DROPS.has(ends[0] ?? ''), `byte ${bit >> 3}, bit ${bit & 7} is dropped`)
    }
    t.same(endsOf(stage, packet), { ends: ['delivered_gue'], out: 1 }, 'the packet itself')
    t.equal(stage.bench.accounted(), undefined)
  })

  t.test(`no flipped bit of a HELLO or a PUBLISH is taken in, outer IPv${outer}`, async (t) => {
    const stage = new Stage({ fleet, node: 'b1', peers: ['a1'] })
    stage.join()
    const peer = stage.peer('a1')
    const [backend = 0] = fleet.pops[0]?.backends.map(({ id }) => id) ?? []
    const record = { flow: 7n, backend, state: 'established', age: 1, idle: 0 } as const
    for (const packet of [peer.hello(stage.bench.nowUs), peer.publish([record])]) {
      for (let bit = 0; bit < packet.length * 8; bit++) {
        if (isIdle(bit, outer)) continue
        const { ends, out } = endsOf(stage, flip(packet, bit))
        const dropped = ends.length === 1 && DROPS.has(ends[0] ?? '')
        t.ok(dropped && out === 0, `byte ${bit >> 3}, bit ${bit & 7}: ${ends}`)
      }
      t.same(endsOf(stage, packet), { ends: ['consumed'], out: 0 }, 'the message itself')
    }
    t.equal(stage.bench.accounted(), undefined)
  })
}

const bytesOf = (random: Random, length: number): Bytes =>
  Uint8Array.from({ length }, () => random.int(0, 256))

/** A few of its bytes, bits or lengths are others. */
function stirred(packet: Bytes, random: Random): Bytes {
  let bytes: Bytes = Uint8Array.from(packet)
  for (let i = random.int(0, 4); i >= 0; i--) {
    const at = random.int(0, Math.min(bytes.length, 96))
    switch (random.int(0, 5)) {
      case 0:
        bytes = flip(bytes, at * 8 + random.int(0, 8))
        break
      case 1:
        bytes = patched(bytes, at, random.pick([0, 1, 4, 6, 17, 41, 44, 58, 60, 127, 128, 255]))
        break
      case 2:
        bytes = shortened(bytes, random.int(0, bytes.length + 1))
        break
      case 3:
        bytes = patched(bytes, at, ...bytesOf(random, Math.min(4, bytes.length - at)))
        break
      case 4:
        bytes = (bytes[0] ?? 0) === 0x45 && bytes.length >= 20 ? withIpv4Checksum(bytes) : bytes
        break
    }
    if (bytes.length === 0) break
  }
  return (bytes[0] ?? 0) === 0x45 && bytes.length >= 20 && random.int(0, 4) > 0
    ? withIpv4Checksum(bytes)
    : bytes
}

t.test('random and stirred packets end as the decoder says', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const base = vectors.map(played)
  for (const stage of base) {
    const known = [...stage.bench.inputs.slice(-12), ...badPackets.map(({ packet }) => packet)]
    const usable = known.filter(({ length }) => length > 0)
    const packets = Array.from({ length: 400 }, (_, i) =>
      i % 8 === 0 ? bytesOf(random, random.int(0, 200)) : stirred(random.pick(usable), random),
    )
    agree(t, stage, packets, `seed ${seed}`)
    t.equal(stage.bench.accounted(), undefined)
  }
})
