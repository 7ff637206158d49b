// Files that no machine could work by, or that look like a slip: what is said of addresses, prefixes and programs.

import t from 'tap'
import { BACKENDS, BASE, NODES, problemsOf } from './base.js'

const TWO = '[{ name: ams-1, address: 127.0.0.1 }, { name: ams-2, address: 192.0.2.2 }]'
const TOKEN = 'admin: { token_file: t }\n'
const announce = (...prefixes: readonly string[]) => `announce:
  bird: /run/bird/bird.ctl
  prefixes: [${prefixes.map((prefix) => `{ prefix: "${prefix}", up_when: any }`).join(', ')}]
`
const SECOND_POP = `    - name: nyc
      nodes: [{ name: nyc-1, address: 198.51.100.9 }]
services:`

interface Case {
  readonly name: string
  readonly text: string
  readonly problems: readonly string[]
}

const cases: readonly Case[] = [
  {
    name: 'a node at a loopback address, with others in the fleet',
    text: BASE.replace(NODES, TWO),
    problems: [
      '6:39: address: 127.0.0.1 is a loopback address, which every machine takes for itself, expected one that the other nodes reach',
    ],
  },
  {
    name: 'a backend there',
    text: BASE.replace(NODES, TWO.replace('127.0.0.1', '192.0.2.1')).replace(
      '10.0.0.1',
      '127.9.9.9',
    ),
    problems: [
      '7:39: address: 127.9.9.9 is a loopback address, which every machine takes for itself, expected one that the other nodes reach',
    ],
  },
  {
    name: 'an admin interface at a VIP or at another node',
    text: `${BASE.replace(
      NODES,
      '[{ name: ams-1, address: 192.0.2.1, admin: "198.51.100.1:6081" }, { name: ams-2, address: 192.0.2.2, admin: "192.0.2.1:6081" }, { name: ams-3, address: 192.0.2.3, admin: "192.0.2.3:6081" }]',
    )}${TOKEN}`,
    problems: [
      '6:57: admin: 198.51.100.1 is the VIP of service "web" at 9:23, expected an address of this node\'s own machine',
      '6:122: admin: 192.0.2.1 is the address of node "ams-1" at 6:39, expected an address of this node\'s own machine',
    ],
  },
  {
    name: 'the default route',
    text: BASE + announce('0.0.0.0/0'),
    problems: [
      '12:24: prefix: 0.0.0.0/0 is the default route, which would bring all traffic there is, expected the prefix of the VIPs',
    ],
  },
  {
    name: "a prefix with a machine's own address in it, of several PoPs",
    text: BASE.replace('services:', SECOND_POP) + announce('198.51.100.0/24'),
    problems: [
      '14:24: prefix: 198.51.100.0/24 holds the address of node "nyc-1" (198.51.100.9 at 9:39), so packets between machines would go to whichever PoP is nearest, expected machines\' addresses outside of announced prefixes',
    ],
  },
  {
    name: 'the same of one PoP',
    text: BASE.replace('10.0.0.1', '198.51.100.9') + announce('198.51.100.0/24'),
    problems: [
      '12:16: warning: prefix: 198.51.100.0/24 holds the address of backend "b1" (198.51.100.9 at 7:39): it is reached by that prefix, and not while it is withdrawn',
    ],
  },
  {
    name: 'a prefix that is longer than the Internet takes, and one that overlaps it',
    text: BASE + announce('198.51.100.0/25', '198.51.100.0/24'),
    problems: [
      '12:16: warning: prefix: 198.51.100.0/25 is longer than /24: networks take it inside an IGP, not on the Internet',
      '12:61: warning: prefix: 198.51.100.0/24 and 198.51.100.0/25 at 12:24 overlap: where the longer one is withdrawn the other still brings its packets',
    ],
  },
  {
    name: 'a path of a socket that the kernel has no room for',
    text: BASE + announce('198.51.100.0/24').replace('/run/bird/bird.ctl', `/${'x'.repeat(107)}`),
    problems: [
      `11:9: bird: got "/${'x'.repeat(59)}"... (108 characters), expected the path of the control socket of BIRD, from /, of at most 107 bytes (this one has 108): no socket can have a longer one; use a shorter path or a symbolic link`,
    ],
  },
  {
    name: 'a path of a check that HTTP cannot ask for',
    text: BASE.replace('tcp }', 'tcp, health: { http: "/\u00fc b" } }'),
    problems: [
      '9:81: http: got "/\u00fc b", expected a path of ASCII characters without blanks, the others percent-encoded; did you mean "/%C3%BC%20b"?',
    ],
  },
  {
    name: 'a file whose lines end in CR alone',
    text: BASE.replaceAll('\n', '\r'),
    problems: [
      "1:1: the lines end in CR alone, expected LF or CR LF; convert it: tr '\\r' '\\n' < fleet.yaml",
    ],
  },
]

for (const { name, text, problems } of cases) {
  t.test(`${name} is told where it stands`, async (t) => {
    t.same(problemsOf(text), problems)
  })
}

t.test('one node by itself may be on loopback, and so may its backend', async (t) => {
  t.same(problemsOf(BASE.replace('192.0.2.1', '127.0.0.1').replace('10.0.0.1', '127.0.0.2')), [])
})

t.test('CR LF is as good as LF', async (t) => {
  t.same(problemsOf(BASE.replaceAll('\n', '\r\n')), [])
})

t.test('what is quoted of a file is short, however long it is', async (t) => {
  const long = '!'.repeat(100_000)
  for (const text of [
    long,
    BASE.replace(BACKENDS, long),
    `${long.replaceAll('!', 'k')}: 1\n`.repeat(2),
  ]) {
    for (const problem of problemsOf(text)) t.ok(problem.length < 300, problem.slice(0, 100))
  }
})
