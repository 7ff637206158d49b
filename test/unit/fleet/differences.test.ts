// What a reload says has changed.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { fleetDifferences, keyDifferences } from '../../../src/fleet/differences.js'

const TEXT = `
fleet:
  key_file: fleet.key
  hash_seed: 1
  flow_table: 4096
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.0.0.1 }]
      backends: [{ name: web-1, address: 10.0.1.1 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 10.1.0.1 }]
      backends: [{ name: web-2, address: 10.1.1.1 }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80], protocol: tcp }
`

function differences(...edits: readonly (readonly [string, string])[]): readonly string[] {
  const fleet = (text: string) => {
    const result = parseFleet(text, 'fleet.yaml')
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    return result.fleet
  }
  const edited = edits.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`no ${from} in the file`)
    return text.replace(from, to)
  }, TEXT)
  return fleetDifferences(fleet(TEXT), fleet(edited))
}

t.test(
  'the same file has no differences, nor has one that is only written otherwise',
  async (t) => {
    t.same(differences(), [])
    t.same(differences(['[80], protocol: tcp }', '[ 80 ], protocol: tcp } # as ever']), [])
  },
)

t.test('every change has its words', async (t) => {
  const web1 = '{ name: web-1, address: 10.0.1.1 }'
  t.same(differences([web1, `${web1}, { name: web-3, address: 10.0.1.3 }`]), [
    'backend web-3 of PoP ams, pool default added',
  ])
  t.same(differences([web1, '{ name: web-9, address: 10.0.1.1 }']), [
    'backend web-9 of PoP ams, pool default added',
    'backend web-1 of PoP ams, pool default removed',
  ])
  t.same(differences(['10.0.1.1 }', '10.0.1.9, weight: 0 }']), [
    'backend web-1 of PoP ams, pool default: weight 1 to 0, address 10.0.1.1 to 10.0.1.9',
  ])
  t.same(differences(['10.0.0.1', '10.0.0.7']), [
    'node ams-1 of PoP ams: address 10.0.0.1 to 10.0.0.7',
  ])
  t.same(differences(['[80]', '[80, 443]']), ['service web on 198.51.100.10: ports 80 to 80,443'])
  t.same(differences(['hash_seed: 1', 'hash_seed: 2'], ['4096', '8192']), [
    'hash_seed 1 to 2',
    'flow_table 4096 to 8192',
  ])
  const other = '\n  - { name: mail, vip: 198.51.100.11, ports: [25], protocol: tcp }\n'
  t.same(differences(['tcp }\n', `tcp }${other}`]), ['service mail on 198.51.100.11 added'])
  const pop = /.*- name: nyc\n.*\n.*\n/.exec(TEXT)?.[0] ?? ''
  t.same(differences([pop, '']), [
    'PoP nyc removed',
    'node nyc-1 of PoP nyc removed',
    'backend web-2 of PoP nyc, pool default removed',
  ])
})

t.test('keys are told by their ids, and nothing of what they are', async (t) => {
  const key = (id: number, byte = id) => ({ id, key: new Uint8Array(16).fill(byte) })
  const said = [
    keyDifferences([key(1)], [key(1)]),
    keyDifferences([key(1)], [key(1), key(2)]),
    keyDifferences([key(1), key(2)], [key(2), key(1)]),
    keyDifferences([key(2), key(1)], [key(2)]),
    keyDifferences([key(1)], [key(1, 200)]),
  ]
  t.same(said, [
    [],
    ['key 2 added'],
    ['key 2 signs, before it was key 1'],
    ['key 1 removed'],
    ['key 1 replaced by another under the same id'],
  ])
})
