// Ids: XXH64 against published values, and ids that must never change, because nodes of two versions share them.

import t from 'tap'
import { backendId, derivedNodeId, derivedPopId, xxh64 } from '../../../src/fleet/ids.js'

t.test('xxh64 gives the published values', async (t) => {
  t.equal(xxh64(''), 0xef46db3751d8e999n)
  t.equal(xxh64('', 2654435761n), 0xac75fda2929b17efn)
  t.equal(xxh64('a'), 0xd24ec4f1a98c6e5bn)
  t.equal(xxh64('abc'), 0x44bc2cf5ad770999n)
})

t.test('ids are what they always were', async (t) => {
  t.equal(derivedPopId('ams'), 624)
  t.equal(derivedPopId('nyc'), 1803)
  t.equal(derivedNodeId('ams-1'), 17570)
  t.equal(derivedNodeId('nyc-1'), 46551)
  t.equal(backendId(624, 'ams-web-1', '10.1.0.11'), 654375108)
  t.equal(backendId(1803, 'nyc-web-1', '203.0.113.21'), 1891507167)
})

t.test('ids stay within their bits and above 0', async (t) => {
  for (let i = 0; i < 20_000; i++) {
    const pop = derivedPopId(`name-${i}`)
    const node = derivedNodeId(`name-${i}`)
    if (!(pop >= 1 && pop <= 4095)) t.fail(`PoP id ${pop} of name-${i}`)
    if (!(node >= 1 && node <= 65535)) t.fail(`node id ${node} of name-${i}`)
  }
  t.pass('20000 names')
})

t.test('a backend id carries its PoP in the high 12 bits, as an unsigned number', async (t) => {
  const id = backendId(4095, 'b', '10.0.0.1')
  t.equal(Math.floor(id / 2 ** 20), 4095)
  t.equal(id & 0xfffff, backendId(1, 'b', '10.0.0.1') & 0xfffff)
})

t.test('a backend id depends on the address, however it is spelled', async (t) => {
  t.equal(backendId(1, 'b', '2001:db8::1'), backendId(1, 'b', '2001:DB8:0::1'))
  t.not(backendId(1, 'b', '2001:db8::1'), backendId(1, 'b', '2001:db8::2'))
})

t.test('a backend hash of 0 becomes 1', async (t) => {
  let name: string | undefined
  for (let i = 0; name === undefined; i++) {
    if ((xxh64(`backend:b${i}@10.0.0.1`) & 0xfffffn) === 0n) name = `b${i}`
  }
  t.equal(backendId(2, name, '10.0.0.1'), (2 << 20) | 1)
})
