// Which known word a mistyped one means, and when it is better to say nothing.

import t from 'tap'
import { didYouMean, editDistance, suggest } from '../../../src/config/suggest.js'

t.test('an edit is an insertion, a deletion, a substitution or a swap of neighbours', async (t) => {
  const distances: readonly (readonly [string, string, number])[] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['same', 'same', 0],
    ['adress', 'address', 1],
    ['weigth', 'weight', 1],
    ['tpc', 'tcp', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ]
  for (const [a, b, distance] of distances) {
    t.equal(editDistance(a, b), distance, `${a} to ${b}`)
    t.equal(editDistance(b, a), distance, `${b} to ${a}`)
  }
})

t.test('near words are suggested', async (t) => {
  const keys = ['key_file', 'hash_seed', 'flow_table', 'pops', 'address', 'ports']
  t.equal(suggest('key-file', keys), 'key_file')
  t.equal(suggest('Hash_Seed', keys), 'hash_seed')
  t.equal(suggest('addr', keys), 'address')
  t.equal(suggest('pop', keys), 'pops')
  t.equal(suggest('port', keys), 'ports')
  t.equal(didYouMean('floow_tabel', keys), '; did you mean "flow_table"?')
})

t.test('far words are not', async (t) => {
  t.equal(suggest('x', ['a', 'b']), undefined)
  t.equal(suggest('timeout', ['address', 'ports']), undefined)
  t.equal(suggest('anything', []), undefined)
  t.equal(didYouMean('', ['a', 'ab']), '')
})

t.test('the nearest wins, and of two equally near ones the first', async (t) => {
  t.equal(suggest('ams-12', ['ams-11', 'ams-1', 'ams-12x']), 'ams-11')
  t.equal(suggest('nodes', ['node', 'nodse', 'nodes_']), 'node')
})
