// `announce` in the fleet file: what comes out of a sound one, and what is said of a wrong one.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { BASE, NODES, problemsOf } from './base.js'

const SECOND = '  - { name: web6, vip: "2001:db8::1", ports: [80], protocol: tcp }\n'
const PREFIX = '{ prefix: 198.51.100.0/24, up_when: any }'

const announce = (lines: string, prefixes = `[${PREFIX}]`) =>
  `${BASE}announce:\n  prefixes: ${prefixes}\n${lines}`

t.test('a short one gets its defaults, a long one says all', async (t) => {
  const short = parseFleet(announce('  bird: /run/bird/bird.ctl\n'), 'fleet.yaml')
  t.match(short, { ok: true, warnings: [] })
  t.same(short.ok && short.fleet.announce, {
    daemon: { kind: 'bird', socket: '/run/bird/bird.ctl' },
    prefixes: [{ prefix: '198.51.100.0/24', family: 4, upWhen: 'any', services: ['web'] }],
    announced: { communities: [], prepend: [] },
    dePreferred: { communities: [], prepend: [] },
    dePreferredMs: 60_000,
    holdDownMs: 10_000,
    maxHoldDownMs: 600_000,
    localNodes: new Set(),
  })
  const text = `${BASE}${SECOND}announce:
  exec: { command: [/usr/local/bin/announce, "64500"], timeout: 5s, repeat: 2m }
  announced: { communities: ["064500:100", "64500:1:4294967295"] }
  de_preferred: { communities: ["64500:200"], prepend: [64500, 4200000000], for: 5m }
  hold_down: 0s
  max_hold_down: 1h
  prefixes:
    - { prefix: 198.51.100.0/24, up_when: all }
    - { prefix: "2001:db8::/48", up_when: [web6, web6] }
`.replace(
    NODES,
    '[{ name: ams-1, address: 192.0.2.1 }, { name: ams-2, address: 192.0.2.2, scope: global }]',
  )
  const long = parseFleet(
    text.replace('- name: ams\n', '- name: ams\n      scope: local\n'),
    'fleet.yaml',
  )
  t.match(long, { ok: true, warnings: [] })
  t.same(long.ok && long.fleet.announce, {
    daemon: {
      kind: 'exec',
      command: ['/usr/local/bin/announce', '64500'],
      timeoutMs: 5000,
      repeatMs: 120_000,
    },
    prefixes: [
      { prefix: '198.51.100.0/24', family: 4, upWhen: 'all', services: ['web'] },
      { prefix: '2001:db8::/48', family: 6, upWhen: 'all', services: ['web6'] },
    ],
    announced: { communities: ['64500:100', '64500:1:4294967295'], prepend: [] },
    dePreferred: { communities: ['64500:200'], prepend: [64500, 4_200_000_000] },
    dePreferredMs: 300_000,
    holdDownMs: 0,
    maxHoldDownMs: 3_600_000,
    localNodes: new Set(['ams-1']),
  })
})

const BIRD = '  bird: /b\n'
const wrong: readonly {
  readonly name: string
  readonly text: string
  readonly problems: readonly string[]
}[] = [
  {
    name: 'no way to announce',
    text: announce(''),
    problems: ['10:1: announce: got neither "bird" nor "exec", expected one of them'],
  },
  {
    name: 'two ways to announce',
    text: announce(`${BIRD}  exec: { command: [/x] }\n`),
    problems: ['10:1: announce: got both "bird" and "exec", expected one of them'],
  },
  {
    name: 'a socket that is no path from the root, and a command without words',
    text: announce('  bird: bird.ctl\n  exec: { command: [] }\n'),
    problems: [
      '12:9: bird: got "bird.ctl", expected the path of the control socket of BIRD, from /',
      '13:20: command: got an empty list, expected the program, and its arguments',
    ],
  },
  {
    name: 'a prefix twice',
    text: announce(BIRD, `[${PREFIX}, ${PREFIX}]`),
    problems: [
      '11:67: prefix: 198.51.100.0/24 again, expected each prefix once; the first is at 11:24',
    ],
  },
  {
    name: 'a prefix without a VIP, and a VIP without a prefix',
    text: announce(BIRD, '[{ prefix: 198.51.101.0/24, up_when: any }]'),
    problems: [
      '11:24: prefix: 198.51.101.0/24 holds the VIP of no service, expected one of at least one',
    ],
  },
  {
    name: 'services that are not there, or not in the prefix',
    text: announce(BIRD, '[{ prefix: 198.51.100.0/24, up_when: [wbe, web6] }]').replace(
      'announce:',
      `${SECOND}announce:`,
    ),
    problems: [
      '12:51: up_when[0]: no service is called "wbe", expected one of this prefix; did you mean "web"?',
      '12:56: up_when[1]: the VIP of service "web6" (2001:db8::1) is not in 198.51.100.0/24, expected a service whose VIP is',
    ],
  },
  {
    name: 'a community, an AS number and durations out of range',
    text: announce(
      `${BIRD}  announced: { communities: ["65536:1", no-export] }\n  de_preferred: { prepend: [0], for: 2d }\n  hold_down: 10\n`,
    ),
    problems: [
      '13:30: communities[0]: got "65536:1", expected a community 64500:100 (two numbers 0 to 65535) or a large one 64500:1:100 (three of 32 bits)',
      '13:41: communities[1]: got "no-export", expected a community 64500:100 (two numbers 0 to 65535) or a large one 64500:1:100 (three of 32 bits)',
      '14:29: prepend[0]: got 0, expected an AS number, a whole number 1 to 4294967295',
      '14:38: for: got "2d", expected a duration 0s to 24h, such as 60s',
      '15:14: hold_down: got 10, expected a duration 0s to 1h, such as 10s',
    ],
  },
  {
    name: 'a longest hold-down that is shorter than the first',
    text: announce(`${BIRD}  hold_down: 20m\n`),
    problems: ['13:14: hold_down: 20m is more than max_hold_down (10m), expected at most as much'],
  },
  {
    name: 'a misspelt key',
    text: announce(`${BIRD}  holddown: 5s\n`),
    problems: [
      '13:3: unknown key "holddown" in "announce", expected bird, exec, prefixes, announced, de_preferred, hold_down, max_hold_down; did you mean "hold_down"?',
    ],
  },
  {
    name: 'a scope without announcements',
    text: BASE.replace(NODES, '[{ name: ams-1, address: 192.0.2.1, scope: local }]'),
    problems: ['6:50: warning: scope: without "announce" it has no effect'],
  },
]

for (const { name, text, problems } of wrong) {
  t.test(`${name} is told with its place`, async (t) => {
    t.same(problemsOf(text), problems)
  })
}
