// The verb `observe` with captures, and what it prints and draws. What counts as what is test/unit/native/observe_test.c's,
// a real device test/netns/observe.test.ts's.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { RawObservation } from '../../../src/dataplane/observation.js'
import { type Observation, observationOf, observationText } from '../../../src/observe/report.js'
import { observationSvg } from '../../../src/observe/svg.js'
import { tcp } from '../../vectors/packets.js'
import { pcap } from '../../vectors/pcap.js'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const VIP = '198.51.100.10'

function observe(cwd: string, ...args: readonly string[]) {
  return spawnSync(process.execPath, [MAIN, 'observe', ...args], { cwd, encoding: 'utf8' })
}

const packet = (from: string, sport: number, flags: string) =>
  tcp({ from, to: VIP, sport, dport: 80, flags })

t.test('a capture is counted by prefix, as text, JSON and picture', async (t) => {
  const dir = t.testdir({})
  const packets = [
    packet('203.0.113.9', 1, 'S'),
    packet('203.0.113.9', 1, 'A'),
    packet('203.0.113.200', 2, 'A'),
    packet('192.0.2.1', 3, 'A'),
    packet('192.0.2.1', 4, 'FA'),
  ]
  writeFileSync(join(dir, 'some.pcap'), pcap(packets))
  const args = ['--pcap', 'some.pcap', '--vip', '198.51.100.0/24', '--grace', '0']
  const { stdout, stderr, status } = observe(dir, ...args, '--json', '--svg', 'some.svg')
  t.equal(stderr, '')
  t.equal(status, 0)
  const seen = JSON.parse(stdout) as Observation
  t.match(seen, {
    packets: 5,
    begun: 1,
    middle: 2,
    ending: 1,
    stalled: 0,
    before: 0,
    middleShare: 2 / 3,
  })
  t.match(seen.prefixes, [
    { prefix: '203.0.113.0/24', begun: 1, middle: 1 },
    { prefix: '192.0.2.0/24', begun: 0, middle: 1 },
  ])
  t.match(
    readFileSync(join(dir, 'some.svg'), 'utf8'),
    /^<svg [\s\S]*2 arrived in the middle \(66\.67%\)/,
  )
  const text = observe(dir, ...args).stdout
  t.match(text, /^some\.pcap, 198\.51\.100\.0\/24: 5 TCP packets in 0\.0 s/)
  t.match(text, /2 arrived in the middle \(66\.67%/)
  t.match(text, /203\.0\.113\.0\/24 +1 +1 +0 +0/)
  const withGrace = observe(dir, '--pcap', 'some.pcap', '--vip', VIP, '--json').stdout
  t.match(JSON.parse(withGrace), { middle: 0, before: 2, graceS: 75 })
})

t.test('every limit that was met is told', async (t) => {
  const raw: RawObservation = {
    ...{
      begun: 0,
      middle: 0,
      wentOn: 0,
      stalled: 0,
      repeated: 0,
      seconds: 1,
      packets: 0,
      others: 0,
    },
    ...{
      before: 0,
      ending: 0,
      pending: 0,
      unfollowed: 3,
      unplaced: 4,
      lost: 5,
      errno: 0,
      columnS: 1,
    },
    columns: [],
    prefixes: [],
  }
  const of = observationOf(raw, { from: '<eth0>', vips: [VIP], graceS: 75 })
  const text = observationText(of)
  t.match(text, /5 packets were lost/)
  t.match(text, /3 packets are of connections beyond the 262144 that are followed at a time/)
  t.match(text, /4 connections are of prefixes beyond the 4096 that are told apart/)
  const svg = observationSvg(of)
  t.match(svg, /5 packets were lost/)
  t.match(svg, /&lt;eth0>/, 'names are escaped')
  t.match(svg, /No prefix has trouble\./)
})

t.test('of a capture that is cut, what is whole is counted, and it is said', async (t) => {
  const whole = pcap([packet('203.0.113.9', 1, 'S'), packet('203.0.113.9', 2, 'S')])
  const dir = t.testdir({})
  writeFileSync(join(dir, 'cut.pcap'), whole.subarray(0, whole.length - 5))
  const { stdout, stderr, status } = observe(dir, '--pcap', 'cut.pcap', '--vip', VIP, '--json')
  t.equal(
    stderr,
    'cut.pcap is cut or damaged (EBADMSG): what stands before that place is counted\n',
  )
  t.equal(status, 0)
  t.match(JSON.parse(stdout), { packets: 1, begun: 1 })
})

t.test('a picture that cannot be written is refused before anything is watched', async (t) => {
  const dir = t.testdir({})
  writeFileSync(join(dir, 'some.pcap'), pcap([packet('203.0.113.9', 1, 'S')]))
  for (const svg of ['nowhere/some.svg', '.']) {
    const told = observe(dir, '--pcap', 'some.pcap', '--vip', VIP, '--svg', svg)
    t.match(told, { status: 1, stdout: '', stderr: /^steadycast: --svg: .+ cannot be written: / })
  }
})

t.test('what cannot be watched is refused in one line', async (t) => {
  const dir = t.testdir({ 'no.pcap': 'this is a text and no capture of anything' })
  for (const [args, pattern] of [
    [['--vip', VIP], /^steadycast: expected --device NAME or --pcap FILE/],
    [
      ['--device', 'a', '--pcap', 'b', '--vip', VIP],
      /^steadycast: expected --device NAME or --pcap FILE/,
    ],
    [
      ['--pcap', 'no.pcap', '--vip', VIP],
      /^steadycast: no\.pcap: cannot be read as pcap \(EBADMSG\)/,
    ],
    [
      ['--pcap', 'none.pcap', '--vip', VIP],
      /^steadycast: none\.pcap: cannot be read as pcap \(ENOENT\)/,
    ],
    [
      ['--pcap', 'no.pcap', '--vip', 'nowhere'],
      /^steadycast: --vip: got "nowhere", expected an address or/,
    ],
    [
      ['--pcap', 'no.pcap', '--vip', VIP, '--seconds', '1'],
      /^steadycast: --seconds: a capture ends/,
    ],
    [
      ['--device', 'lo', '--vip', VIP, '--seconds', '0'],
      /^steadycast: --seconds: got "0", expected whole/,
    ],
    [
      ['--device', 'sc-none', '--vip', VIP, '--seconds', '1'],
      /^steadycast: (--device: there is no device sc-none|watching takes CAP_NET_RAW)/,
    ],
    [
      ['--device', 'a b', '--vip', VIP, '--seconds', '1'],
      /^steadycast: --device: device: got "a b"/,
    ],
  ] as const) {
    const { stderr, status } = observe(dir, ...args)
    t.equal(status, 1, args.join(' '))
    t.match(stderr, pattern)
  }
})
