// The Wireshark dissector against the encoder of test/vectors: its tables always, and what tshark makes of a capture of
// every kind of packet, sound and faulty, on a machine that has tshark.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Bytes } from '../../vectors/bytes.js'
import { tcp } from '../../vectors/packets.js'
import { pcap } from '../../vectors/pcap.js'
import { KEY, nodeNamed, popNamed, sampleFleet } from '../../vectors/samples.js'
import { QUIET, ScriptedPeer } from '../../vectors/session.js'
import { CONNECTION4, CONNECTION6, flowOfPacket } from '../../vectors/vector.js'
import {
  controlFaults,
  controlPacket,
  privateFaults,
  privatePacket,
} from '../../vectors/vectors-bad-gue.js'
import {
  CONTROL_VERB,
  CTYPE,
  encodeControl,
  encodePlain,
  encodePrivate,
  FLOW_STATE,
  GUE_PORT,
  HIGHEST_VERSION,
  LOWEST_VERSION,
  PRIVATE_VERB,
} from '../../vectors/wire.js'

const SCRIPT = fileURLToPath(new URL('../../../deploy/wireshark/steadycast.lua', import.meta.url))
const lua = readFileSync(SCRIPT, 'utf8')

t.test('the dissector has the names and numbers of the page', async (t) => {
  for (const [name, verb] of Object.entries({ ...PRIVATE_VERB, ...CONTROL_VERB })) {
    t.ok(lua.includes(`[${verb}] = "${name}"`), name)
  }
  for (const [name, state] of Object.entries(FLOW_STATE)) {
    t.ok(lua.includes(`[${state}] = "${name}"`), name)
  }
  t.match(lua, `local GUE_PORT = ${GUE_PORT}\n`)
  t.match(lua, `HIGHEST_VERSION = ${LOWEST_VERSION}, ${HIGHEST_VERSION}\n`)
  t.match(lua, `local CTYPE = ${CTYPE}\n`)
})

const fleet = sampleFleet({ pops: 2, nodesPerPop: 2 })
const self = nodeNamed(fleet, 'b1')
const a1 = nodeNamed(fleet, 'a1')
const peer = new ScriptedPeer(a1, self, { fleet, self: a1, keys: [KEY] }, 0xbee5n)
const backend = popNamed(fleet, 'b').backends[0]?.id ?? 0
const RECORD = { flow: 0xfeedn, backend, state: 'closing', age: 7, idle: 9 } as const

/** Runs tshark over the packets; one line of tab-separated fields for each. */
function dissect(packets: readonly Bytes[], fields: readonly string[]): readonly string[] {
  const folder = mkdtempSync(joinPath(tmpdir(), 'steadycast-dissector-'))
  try {
    const file = joinPath(folder, 'packets.pcap')
    writeFileSync(file, pcap(packets))
    const wanted = fields.flatMap((name) => ['-e', name])
    const args = ['-X', `lua_script:${SCRIPT}`, '-r', file, '-T', 'fields', '-E', 'occurrence=f']
    const ran = spawnSync('tshark', [...args, ...wanted], { encoding: 'utf8' })
    if (ran.status !== 0) throw new Error(ran.stderr)
    return ran.stdout.split('\n').slice(0, packets.length)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

if (spawnSync('tshark', ['--version']).status === 0) {
  t.test('tshark reads every field of a FORWARD and its inner packet', async (t) => {
    const fields = ['verb', 'key_id', 'origin', 'backend', 'backend.pop'].map(
      (name) => `steadycast.${name}`,
    )
    const syns = [tcp({ ...CONNECTION4, flags: 'S' }), tcp({ ...CONNECTION6, flags: 'S' })]
    const packets = syns.map((inner) =>
      peer.send(flowOfPacket(fleet, inner), { verb: 'FORWARD', backend }, inner),
    )
    const id = `0x${backend.toString(16).padStart(8, '0')}`
    const expected = `2\t7\t101\t${id}\t2`
    t.same(dissect(packets, [...fields, 'tcp.dstport']), [`${expected}\t80`, `${expected}\t443`])
  })

  t.test('tshark reads HELLO, PUBLISH and OWNER', async (t) => {
    const path = { from: a1.address, to: self.address }
    const envelope = { version: 1, origin: 101, senderBoot: 1n, receiverBoot: 2n, sequence: 3n }
    const hello = encodeControl(path, KEY, {
      ...QUIET,
      ...envelope,
      verb: 'HELLO',
      draining: true,
      walked: false,
      withholds: true,
      fillPermille: 512,
      seedCheck: 0xabcd,
      fleetDigest: 0xfeedc0de,
      echo: 99n,
      echoDelayUs: 1234,
      batchesMask: 5n,
    })
    const names = [
      'verb',
      'sequence',
      'hello.filled',
      'hello.draining',
      'hello.walked',
      'hello.withholds',
    ]
    const more = [
      'hello.fill',
      'hello.seed_check',
      'hello.echo',
      'hello.echo_delay',
      'hello.fleet_digest',
      'hello.mask',
    ]
    t.same(
      dissect(
        [hello],
        [...names, ...more].map((name) => `steadycast.${name}`),
      ),
      ['4\t3\t1\t1\t0\t1\t512\t0xabcd\t99\t1234\t0xfeedc0de\t0x0000000000000005'],
    )
    const batches = [
      'verb',
      'publish.batch',
      'count',
      'flow',
      'flow.state',
      'flow.age',
      'flow.idle',
    ]
    t.same(
      dissect(
        [peer.publish([RECORD, RECORD]), peer.owner([RECORD])],
        batches.map((name) => `steadycast.${name}`),
      ),
      ['5\t1\t2\t0x000000000000feed\t3\t7\t9', '6\t\t1\t0x000000000000feed\t3\t7\t9'],
    )
  })

  t.test('tshark reads RELAY and REACH of version 2, and refuses them in version 1', async (t) => {
    const inner = tcp({ ...CONNECTION4, flags: 'S' })
    const flow = flowOfPacket(fleet, inner)
    const path = { from: a1.address, to: self.address }
    const relays = [2, 1].flatMap((version) =>
      [0x0030abcd, 0].map((backend) =>
        encodePrivate(path, KEY, flow, { version, verb: 'RELAY', origin: 101, backend }, inner),
      ),
    )
    const envelope = { origin: 101, senderBoot: 1n, receiverBoot: 2n, sequence: 3n }
    const reaches = [2, 1].map((version) =>
      encodeControl(path, KEY, {
        ...envelope,
        version,
        verb: 'REACH',
        pops: [3, 0xabc],
        services: [0x12345678],
      }),
    )
    const more = ['backend', 'reach.count', 'reach.pop', 'reach.service'].map(
      (name) => `steadycast.${name}`,
    )
    const fields = ['steadycast.version', 'steadycast.verb', ...more, 'tcp.dstport']
    const lines = dissect([...relays, ...reaches], [...fields, '_ws.expert.message'])
    // tshark itself has something to say of the inner SYN.
    const ours = lines.map((line) => line.replace(/\t(?!Refused)[^\t]*$/, '\t'))
    t.same(ours, [
      '2\t3\t0x0030abcd\t\t\t\t80\t',
      '2\t3\t0x00000000\t\t\t\t80\t',
      '1\t3\t0x0030abcd\t\t\t\t80\tRefused: relay_unsupported',
      '1\t3\t0x00000000\t\t\t\t80\tRefused: relay_unsupported',
      '2\t7\t\t2\t3\t0x12345678\t\t',
      '1\t7\t\t\t\t\t\tRefused: unknown_verb',
    ])
  })

  t.test('tshark shows the client behind plain GUE', async (t) => {
    const inner = tcp({ ...CONNECTION4, flags: 'S' })
    const packet = encodePlain({ from: self.address, to: '10.2.1.1' }, 5n, inner)
    t.same(dissect([packet], ['steadycast.gue.hlen', 'steadycast.verb', 'tcp.dstport']), [
      '0\t\t80',
    ])
  })

  t.test('no fault and no truncation makes the dissector fail', async (t) => {
    const sound = [
      peer.publish([RECORD]),
      peer.hello(1n),
      encodeControl(peer.path, KEY, {
        ...peer.envelope(2),
        verb: 'REACH',
        pops: [1, 2, 3],
        services: [],
      }),
      peer.send(5n, { verb: 'ASK', backend: 0 }, tcp({ ...CONNECTION4, flags: 'S' })),
    ]
    const faulty = [
      ...privateFaults(peer, 102, 1).map(({ parts }) => privatePacket(peer, backend, parts)),
      ...controlFaults(peer, 102).map(({ parts }) => controlPacket(peer, peer.envelope(), parts)),
    ]
    const cut = sound.flatMap((packet) =>
      Array.from({ length: packet.length - 28 }, (_, i) => shortened(packet, 28 + i)),
    )
    const lines = dissect([...sound, ...faulty, ...cut], ['_ws.lua.error', '_ws.expert.message'])
    t.same(
      lines.filter((line) => /lua|error/i.test(line.replaceAll(/Refused: \w+/g, ''))),
      [],
    )
    t.ok(lines.filter((line) => line.includes('Refused: gue_bad_length')).length > 3)
  })
} else {
  t.comment('no tshark here: install it to run the dissector too')
}

/** Cut, with the IPv4 and UDP lengths made to fit. */
function shortened(packet: Bytes, length: number): Bytes {
  const cut = packet.slice(0, length)
  cut.set([length >> 8, length & 0xff], 2)
  cut.set([(length - 20) >> 8, (length - 20) & 0xff], 24)
  return cut
}
