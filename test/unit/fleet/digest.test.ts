// What makes two fleet files the same for operators, and what does not.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { digestText, fleetDigest } from '../../../src/fleet/digest.js'

const TEXT = `fleet:
  key_file: fleet.key
  hash_seed: 1
  flow_table: 4096
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.11 }]
      backends: [{ name: ams-web-1, address: 10.1.0.11 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 192.0.2.21 }]
      backends: [{ name: nyc-web-1, address: 10.2.0.11 }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80, 443], protocol: tcp }
  - { name: dns, vip: 198.51.100.10, ports: [53], protocol: udp }
announce:
  bird: /run/bird.ctl
  prefixes: [{ prefix: 198.51.100.0/24, up_when: any }]
`

function digest(from = '', to = ''): number {
  const result = parseFleet(TEXT.replace(from, to), 'fleet.yaml')
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('; '))
  return fleetDigest(result.fleet)
}

t.test('whatever changes what a node does changes the digest', async (t) => {
  const changes = [
    ['hash_seed: 1', 'hash_seed: 2'],
    ['192.0.2.21', '192.0.2.22'],
    ['10.1.0.11 }', '10.1.0.11, weight: 2 }'],
    ['ports: [80, 443]', 'ports: [80]'],
    ['ports: [53], protocol: udp', 'ports: [53], protocol: udp, health: { tcp: true, port: 53 }'],
    ['up_when: any', 'up_when: all'],
    ['address: 192.0.2.11 }', 'address: 192.0.2.11, scope: local }'],
  ] as const
  const digests = changes.map(([from, to]) => digest(from, to))
  t.equal(new Set([digest(), ...digests]).size, changes.length + 1)
})

t.test('order, comments, paths and the size of the table do not', async (t) => {
  const [, first = '', second = ''] =
    /( {4}- name: ams[\s\S]*?)( {4}- name: nyc[\s\S]*?)services/.exec(TEXT) ?? []
  t.equal(digest(first + second, second + first), digest())
  t.equal(digest('fleet.key', 'other.key   # elsewhere'), digest())
  t.equal(digest('4096', '8192'), digest())
})

t.test('it is 32 bits, as eight digits', async (t) => {
  t.match(digestText(digest()), /^[0-9a-f]{8}$/)
  t.equal(digestText(1), '00000001')
})
