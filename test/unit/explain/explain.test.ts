// The verb `explain` with a configuration alone, as an operator meets it: the built program, packets written in every way,
// and what it says of each. The data path's own part is test/unit/native/explain_test.c's, a live node
// test/netns/explain.test.ts's.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadAddon } from '../../../src/dataplane/addon.js'
import { DROP_ADVICE } from '../../../src/explain/advice.js'
import type { Explanation } from '../../../src/explain/explanation.js'
import { packetOfHex, packetOfTuple } from '../../../src/explain/tuple.js'
import { tcp, udp } from '../../vectors/packets.js'
import { pcap } from '../../vectors/pcap.js'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const VIP4 = '198.51.100.10'
const VIP6 = '2001:db8:ffff::10'
const CLIENT4 = '203.0.113.9'
const FLEET = `fleet:
  key_file: fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.1.0.1 }]
      backends: [{ name: ams-web-1, address: 10.1.1.2 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 10.2.0.1 }]
      backends:
        - { name: nyc-web-1, deliver: local, node: nyc-1 }
services:
  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web6, vip: "${VIP6}", ports: [80], protocol: tcp }
`
/** With a service that nobody serves. */
const EMPTY = `${FLEET.replace(
  'services:',
  '        - { name: nyc-spare, address: 10.2.1.9, pool: spare, weight: 0 }\nservices:',
)}  - { name: empty, vip: ${VIP4}, ports: [90], protocol: tcp, pool: spare }
`
const files = { 'fleet.yaml': FLEET, 'fleet.key': `1 ${'a5'.repeat(16)}\n` }

function explain(cwd: string, ...args: readonly string[]) {
  const program = [MAIN, 'explain', ...args]
  return spawnSync(process.execPath, program, { cwd, encoding: 'utf8' })
}

const asAms = ['--config', 'fleet.yaml', '--node', 'ams-1']

/** The one object that --json prints. */
function told(cwd: string, ...args: readonly string[]): Explanation {
  const { stdout, stderr, status } = explain(cwd, ...asAms, '--json', ...args)
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Explanation
}

t.test('a 5-tuple becomes the packet that a client would send', async (t) => {
  const plain = { from: CLIENT4, to: VIP4, sport: 4711, dport: 80 }
  const mine = packetOfTuple(`tcp ${CLIENT4}:4711 > ${VIP4}:80`, 'fin,ack')
  const theirs = tcp({ ...plain, flags: 'FA' })
  t.same(mine.subarray(12, 24), theirs.subarray(12, 24), 'addresses and ports')
  t.equal(mine[33], theirs[33], 'flags')
  t.equal(
    udp(plain).length - 28,
    udp(plain).length - packetOfTuple(`udp ${CLIENT4}:4711 > ${VIP4}:80`, undefined).length,
  )
})

t.test('a 5-tuple that is not understood is refused with what was expected', async (t) => {
  for (const [text, flags, pattern] of [
    ['tcp 1.2.3.4:5', undefined, /^got "tcp 1\.2\.3\.4:5", expected a packet such as/],
    ['sctp 1.2.3.4:5 > 1.2.3.4:5', undefined, /^got "sctp/],
    ['tcp 1.2.3.4 > 1.2.3.4:5', undefined, /no address and port/],
    ['tcp 1.2.3.4:0 > 1.2.3.4:5', undefined, /a port is 1 to 65535/],
    ['tcp 1.2.3.4:65536 > 1.2.3.4:5', undefined, /a port is 1 to 65535/],
    ['tcp 2001:db8::1:80 > [2001:db8::2]:80', undefined, /stands in brackets/],
    ['tcp 1.2.3.4:5 > [2001:db8::2]:80', undefined, /of two IP versions/],
    ['icmp 1.2.3.4:5 > 1.2.3.4', undefined, /expected a packet such as/],
    [
      'tcp 1.2.3.4:5 > 1.2.3.4:5',
      'syn,urg',
      /^--flags: got "urg", expected one or more of fin, syn/,
    ],
    ['udp 1.2.3.4:5 > 1.2.3.4:5', 'syn', /^--flags: udp has none/],
  ] as const) {
    t.throws(() => packetOfTuple(text, flags), { message: pattern }, text)
  }
  for (const text of ['', '4', 'zz', '450']) {
    t.throws(() => packetOfHex(text), { message: /^--hex: got .*expected an IP packet/ }, text)
  }
})

t.test(
  'every reason for a drop has advice, and no advice is for a reason that is none',
  async (t) => {
    const drops = loadAddon()
      .counterTable()
      .filter(({ kind }) => kind === 'drop')
      .map(({ name }) => name)
    t.same(Object.keys(DROP_ADVICE).sort(), [...drops].sort())
  },
)

t.test('a SYN is followed to the backend that Maglev chooses, stage by stage', async (t) => {
  const dir = t.testdir(files)
  const { stdout, stderr, status } = explain(dir, ...asAms, `tcp ${CLIENT4}:4711 > ${VIP4}:80`)
  t.equal(status, 0)
  t.equal(stderr, '')
  for (const pattern of [
    /^node {7}ams-1 of PoP ams, by its configuration alone/m,
    /^packet {5}tcp 203\.0\.113\.9:4711 > 198\.51\.100\.10:80 SYN, 40 bytes$/m,
    /^service {4}web, pool default$/m,
    /^flow {7}0x[0-9a-f]{16}, home row \d+$/m,
    /^home {7}in ams: ams-1; in order: ams-1 \(this node\) filled$/m,
    /^ {11}in nyc: nyc-1; in order: nyc-1 filled$/m,
    /^entry {6}none/m,
    /^maglev {5}slot \d+ of 65537: ams-web-1$/m,
    /^result {5}delivered_gue: /m,
    /^leaves {5}GUE plain, 10\.1\.0\.1:\d+ > 10\.1\.1\.2:6080 \(ams-web-1\), 72 bytes, 40 of them the packet inside, of 1500/m,
    /^afterwards backend ams-web-1 of PoP ams, half-open, began 0 s ago, idle 0 s$/m,
    /^counted {4}delivered_gue 1, flows_new 1, ingress_packets 1$/m,
  ]) {
    t.match(stdout, pattern)
  }
})

t.test('a drop is told with its reason, its meaning and what to do', async (t) => {
  const dir = t.testdir(files)
  t.match(told(dir, `tcp ${CLIENT4}:4711 > ${VIP4}:443`), {
    flow: null,
    leaves: [],
    result: { kind: 'dropped', reason: 'no_service', help: /\S/, advice: /steadycast check/ },
  })
  t.match(told(dir, '--flags', 'ack', `tcp ${CLIENT4}:4711 > ${VIP4}:80`), {
    flow: { entry: null, certainty: { certain: true, missing: [] } },
    result: { reason: 'first_refusal' },
  })
  writeFileSync(join(dir, 'fleet.yaml'), EMPTY)
  t.match(told(dir, `tcp ${CLIENT4}:4711 > ${VIP4}:90`), {
    flow: { maglev: { slots: 0, backend: null } },
    result: { reason: 'no_backend' },
  })
  const text = explain(dir, ...asAms, `tcp ${CLIENT4}:4711 > ${VIP4}:443`).stdout
  t.match(text, /^result {5}dropped, no_service: .+; to do: .+$/m)
})

t.test('IPv6, pings and a node that delivers to itself are explained as well', async (t) => {
  const dir = t.testdir(files)
  t.match(told(dir, `tcp [2001:db8::9]:4711 > [${VIP6}]:80`), {
    packet: { src: '2001:db8::9', dst: VIP6, flags: ['SYN'], length: 60 },
    result: { kind: 'left', exits: ['delivered_gue'] },
  })
  t.match(told(dir, `icmp ${CLIENT4} > ${VIP4}`), {
    packet: { kind: 'icmp-echo' },
    result: { kind: 'left', exits: ['delivered_gue'] },
  })
  t.match(told(dir, `icmp 2001:db8::9 > ${VIP6}`), { packet: { kind: 'icmp-echo' } })
  const nyc = explain(
    dir,
    '--config',
    'fleet.yaml',
    '--node',
    'nyc-1',
    `tcp ${CLIENT4}:1 > ${VIP4}:80`,
  )
  t.match(nyc.stdout, /^leaves {5}to this node's own stack, 40 bytes, as it came$/m)
})

t.test('a packet that is too large for the path shows how it is cut', async (t) => {
  const dir = t.testdir(files)
  const syn = tcp({ from: CLIENT4, to: VIP4, sport: 4711, dport: 80, flags: 'S' })
  const big = tcp({
    from: CLIENT4,
    to: VIP4,
    sport: 4711,
    dport: 80,
    flags: 'A',
    df: true,
    payload: new Uint8Array(1460).fill(7),
  })
  const one = told(dir, '--hex', Buffer.from(syn).toString('hex'))
  t.equal(one.leaves.length, 1)
  writeFileSync(join(dir, 'some.pcap'), pcap([syn, big]))
  const lines = explain(dir, ...asAms, '--pcap', 'some.pcap')
    .stdout.trim()
    .split('\n')
  t.equal(lines.length, 2)
  t.match(lines[0], /^1 0\.000000 tcp .* SYN, 40 bytes: delivered_gue: .*, to ams-web-1$/)
  t.match(
    lines[1],
    /^2 0\.001000 tcp .* ACK, 1500 bytes: delivered_gue: .*, to ams-web-1 in 2 packets$/,
  )
  const verbose = explain(dir, ...asAms, '--pcap', 'some.pcap', '--verbose').stdout
  t.match(
    verbose,
    /^entry {6}backend ams-web-1 of PoP ams, half-open/m,
    'the second finds what the first left',
  )
  const [, second] = explain(dir, ...asAms, '--pcap', 'some.pcap', '--json')
    .stdout.trim()
    .split('\n')
  t.match(JSON.parse(second ?? ''), {
    number: 2,
    flow: { entry: { state: 'half-open' }, entryAfter: { state: 'established' } },
    counted: [
      { name: 'delivered_gue', by: 1 },
      { name: 'segments_cut', by: 1 },
    ],
  })
})

t.test('what cannot be asked is refused in one line', async (t) => {
  const dir = t.testdir({ ...files, 'no.pcap': 'this is a text that is no capture at all' })
  const packet = `tcp ${CLIENT4}:4711 > ${VIP4}:80`
  for (const [args, pattern] of [
    [['--state', '.', packet], /^steadycast: no node runs on this machine \(no socket in \.\), /],
    [['--config', 'fleet.yaml', packet], /^steadycast: --config: no node named, /],
    [[...asAms], /^steadycast: no packet, or more than one/],
    [[...asAms, packet, '--hex', '45'], /^steadycast: no packet, or more than one/],
    [[...asAms, '--hex', '45', '--flags', 'syn'], /^steadycast: --flags: /],
    [[...asAms, '--admin', '127.0.0.1:1', packet], /^steadycast: --admin asks a live node/],
    [['--admin', '127.0.0.1:1', packet], /^steadycast: nothing listens at 127\.0\.0\.1:1: /],
    [['--config', 'fleet.yaml', '--node', 'ams-2', packet], /has no node "ams-2"/],
    [[...asAms, '--pcap', 'no.pcap'], /^steadycast: no\.pcap: is no pcap file, or damaged\n$/],
    [[...asAms, '--pcap', 'none.pcap'], /^steadycast: none\.pcap: cannot be read: .*ENOENT/],
  ] as const) {
    const { stderr, status } = explain(dir, ...args)
    t.equal(status, 1, args.join(' '))
    t.match(stderr, pattern)
  }
})
