// What all nodes compute alike: native/ against the second implementation, and both against literals that pin the page.

import t from 'tap'
import { loadAddon } from '../../../src/dataplane/addon.js'
import { addressBytes } from '../../../src/fleet/address.js'
import { pattern } from '../../vectors/bytes.js'
import {
  type Flow,
  flowId,
  homeOf,
  homeRow,
  maglevSlot,
  rendezvousOrder,
  xxh64,
} from '../../vectors/names.js'
import { HASH_SEED } from '../../vectors/samples.js'

const addon = loadAddon()
const SEEDS = [0n, 1n, HASH_SEED, 2n ** 64n - 1n] as const

t.test('XXH64 in C agrees with xxhash-wasm on every length from 0 to 256', async (t) => {
  for (const seed of SEEDS) {
    for (let length = 0; length <= 256; length++) {
      const bytes = pattern(length, length)
      t.equal(addon.xxh64(bytes, seed), xxh64(bytes, seed), `${length} bytes, seed ${seed}`)
    }
  }
})

t.test('XXH64 gives the values of the reference implementation', async (t) => {
  t.equal(addon.xxh64(new Uint8Array(0), 0n), 0xef46db3751d8e999n)
  t.equal(addon.xxh64(Uint8Array.from(Buffer.from('abc')), 0n), 0x44bc2cf5ad770999n)
})

const FLOWS: readonly Flow[] = [
  { client: '203.0.113.77', vip: '198.51.100.10', sport: 40001, dport: 80, proto: 6 },
  { client: '203.0.113.77', vip: '198.51.100.10', sport: 0, dport: 0, proto: 17 },
  { client: '2001:db8:c11e::77', vip: '2001:db8:100::10', sport: 65535, dport: 443, proto: 6 },
  { client: '0.0.0.0', vip: '255.255.255.255', sport: 1, dport: 2, proto: 1 },
]

const native = (flow: Flow, seed: bigint): bigint =>
  addon.flowId({
    src: addressBytes(flow.client),
    dst: addressBytes(flow.vip),
    sport: flow.sport,
    dport: flow.dport,
    proto: flow.proto,
    seed,
  })

t.test('the flow id in C agrees with the one drawn on the page', async (t) => {
  for (const seed of SEEDS) {
    for (const flow of FLOWS) t.equal(native(flow, seed), flowId(seed, flow))
  }
})

t.test('a flow id changes with every field and with the seed', async (t) => {
  const [flow] = FLOWS
  if (flow === undefined) throw new Error('no flow')
  const others: readonly Flow[] = [
    { ...flow, client: '203.0.113.78' },
    { ...flow, vip: '198.51.100.11' },
    { ...flow, sport: 40002 },
    { ...flow, dport: 81 },
    { ...flow, proto: 17 },
  ]
  const ids = [...others, flow].map((other) => native(other, HASH_SEED))
  ids.push(native(flow, HASH_SEED + 1n))
  t.equal(new Set(ids).size, ids.length)
})

t.test(
  'names stay what they are: an id that changes would break every running fleet',
  async (t) => {
    const ids = FLOWS.map((flow) => flowId(HASH_SEED, flow))
    t.same(ids, [
      0xe58767453a894bc8n,
      0x5cf56695a280643dn,
      0xa3c94931f8333d7cn,
      0xf4ffbb53799aad1dn,
    ])
    t.same(ids.map(homeRow), [1861, 1685, 2353, 2899])
    t.same(
      ids.map((id) => maglevSlot(id, 65537)),
      [58760, 23797, 41929, 62720],
    )
    t.same(
      ids.map((id) => rendezvousOrder(HASH_SEED, [101, 102, 103], homeRow(id))),
      [
        [103, 101, 102],
        [101, 103, 102],
        [102, 103, 101],
        [101, 103, 102],
      ],
    )
  },
)

t.test('the home row is bits 20 to 31 of the flow id from the top', async (t) => {
  t.equal(homeRow(0x00000fff_00000000n), 0xfff)
  t.equal(homeRow(0xfffff000_ffffffffn), 0)
  t.equal(homeRow(0x00000001_ffffffffn), 1)
})

t.test('the Maglev slot is the upper half of the flow id, scaled to the table', async (t) => {
  t.equal(maglevSlot(0n, 65537), 0)
  t.equal(maglevSlot(0xffffffff_00000000n, 65537), 65536)
  t.equal(maglevSlot(0x80000000_00000000n, 655373), 327686)
})

t.test(
  'the rendezvous order spreads rows evenly and moves only the rows of a lost node',
  async (t) => {
    const nodes = [101, 102, 103, 104]
    const counts = new Map<number, number>()
    for (let row = 0; row < 4096; row++) {
      const [first = 0, second = 0] = rendezvousOrder(HASH_SEED, nodes, row)
      counts.set(first, (counts.get(first) ?? 0) + 1)
      const left = nodes.filter((node) => node !== first)
      const [next] = rendezvousOrder(HASH_SEED, left, row)
      t.equal(next, second)
    }
    // 1024 each; six standard deviations of a binomial spread.
    for (const node of nodes) t.ok(Math.abs((counts.get(node) ?? 0) - 1024) < 167, `node ${node}`)
    t.equal(homeOf(HASH_SEED, [7], 5n), 7)
  },
)
