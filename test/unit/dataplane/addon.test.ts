// The binding without privilege: its errors, its tables and hashes, a node in memory, and what the addon does with
// arguments that the binding would never pass. Devices and threads are test/netns/port.test.ts's.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadAddon, loadRaw, MAX_PACKET_BYTES, NativeError } from '../../../src/dataplane/addon.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import { addressBytes } from '../../../src/fleet/address.js'
import { flowId, PROTO, xxh64 } from '../../vectors/names.js'
import { tcp } from '../../vectors/packets.js'
import { CLIENT4, KEY, nodeNamed, sampleFleet, VIP4 } from '../../vectors/samples.js'

const ADDON = fileURLToPath(new URL('../../../native/build/steadycast.node', import.meta.url))
const addon = loadAddon()
const fleet = sampleFleet()
const side = { kind: 'node', nodeId: nodeNamed(fleet, 'a1').id, keys: [KEY] } as const
const generation = packGeneration(fleet, side, 1500).blob
const settings = { generation, bootId: 1n, flowEntries: 1024 }

/** `n` bytes that repeat nowhere near. */
const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i * 7 + (i >> 8))

function errorOf(call: () => unknown): Error {
  try {
    call()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('expected an exception')
}

t.test('an addon that is missing or of another build says what to run', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'steadycast-addon-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const remedy = /; run "npm run build" in the folder of steadycast$/

  const missing = errorOf(() => loadRaw(join(dir, 'none.node'))).message
  t.match(missing, /none\.node is missing/)
  t.match(missing, remedy)
  const broken = errorOf(() => loadRaw(write('broken.node', 'not an addon'))).message
  t.match(broken, /broken\.node does not load: /)
  t.match(broken, remedy)
  for (const [exported, found] of [
    ['{ abi: 0 }', '0'],
    ['{}', 'none'],
  ]) {
    const message = errorOf(() =>
      loadRaw(write(`abi-${found}.cjs`, `module.exports = ${exported}`)),
    ).message
    t.match(message, new RegExp(`is of another build: its interface is ${found}, expected \\d+`))
    t.match(message, remedy)
  }
})

t.test(
  'the counter table holds drops, exits and events in this order, each with a help',
  async (t) => {
    const table = addon.counterTable()
    const kinds = table.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1])
    t.same(kinds, ['drop', 'exit', 'event'])
    t.equal(table[0]?.name, 'truncated')
    t.equal(new Set(table.map(({ name }) => name)).size, table.length)
    t.same(
      table.filter(({ help }) => help === ''),
      [],
    )
  },
)

t.test('hashes are those of the specification', async (t) => {
  for (const length of [0, 1, 3, 4, 7, 8, 31, 32, 33, 100]) {
    for (const seed of [0n, 1n, 2n ** 64n - 1n]) {
      t.equal(addon.xxh64(bytes(length), seed), xxh64(bytes(length), seed))
    }
  }
  const [src, dst] = [addressBytes(CLIENT4), addressBytes(VIP4)]
  const flow = { sport: 40001, dport: 80, proto: PROTO.tcp }
  t.equal(
    addon.flowId({ ...flow, src, dst, seed: 5n }),
    flowId(5n, { ...flow, client: CLIENT4, vip: VIP4 }),
  )
})

t.test(
  'a SYN that goes into a node in memory comes out for a backend, and is counted',
  async (t) => {
    const node = addon.newNode(settings)
    t.same(node.forward([], 1n), [])
    node.timers(2n)
    const flags = 'S'
    const syn = (sport: number) => tcp({ from: CLIENT4, to: VIP4, sport, dport: 80, flags })
    // More than one burst.
    const out = node.forward(
      Array.from({ length: 150 }, (_, i) => syn(1000 + i)),
      1_000_000n,
    )
    t.equal(out.length, 150)
    for (const [i, { data, egress }] of out.entries()) {
      t.equal(egress, 'wire')
      t.same(data.subarray(32), syn(1000 + i))
    }
    const of = (name: string) => addon.counterTable().findIndex((row) => row.name === name)
    t.equal(node.counters[of('flows_new')], 150n)
    t.equal(node.counters[of('delivered_gue')], 150n)
    t.match(node.look(1_000_001n), { flowsHalfOpen: 150, flowCapacity: 1024, peers: [] })
  },
)

t.test('a packet of nonsense is dropped and the input left alone', async (t) => {
  const node = addon.newNode(settings)
  const nonsense = bytes(MAX_PACKET_BYTES)
  t.same(node.forward([nonsense, new Uint8Array()], 1n), [])
  t.same(nonsense, bytes(MAX_PACKET_BYTES))
})

t.test('a generation that does not load is refused with its reason', async (t) => {
  const call = (blob: Uint8Array) => errorOf(() => addon.newNode({ ...settings, generation: blob }))
  for (const blob of [new Uint8Array(), bytes(40), generation.subarray(0, -2)]) {
    const error = call(blob)
    t.ok(error instanceof NativeError)
    t.match(error, { code: 'EINVAL', step: /^generation: \S/ })
    t.match(error.message, /^generation: .+ \(EINVAL\)$/)
  }
})

t.test('a device that is not there is refused with the name of the error', async (t) => {
  const error = errorOf(() => addon.openPort({ kind: 'packet', name: 'sc-none', peer: 'lo' }))
  const code = process.getuid?.() === 0 ? 'ENODEV' : 'EPERM'
  t.match(error, { name: 'NativeError', code, step: 'packet socket' })
})

t.test('a wrong argument is named, with what was expected', async (t) => {
  const address = new Uint8Array(16)
  const port = { close: () => {} }
  const socket = { port, address, udpPort: 6080, memoryPath: null }
  const flow = { src: address, dst: address, sport: 1, dport: 1, proto: 6, seed: 0n }
  const wrong: readonly (readonly [() => unknown, RegExp])[] = [
    [() => addon.newNode({ ...settings, bootId: 0n }), /^bootId: got 0, expected a bigint from 1/],
    [() => addon.newNode({ ...settings, bootId: 2n ** 64n }), /^bootId: /],
    [() => addon.newNode({ ...settings, flowEntries: 1.5 }), /^flowEntries: got 1\.5, expected/],
    [() => addon.startNode({ ...settings, ...socket, udpPort: 0 }), /^udpPort: got 0, /],
    [
      () => addon.startNode({ ...settings, ...socket, address: new Uint8Array(4) }),
      /^address: got 4 bytes, expected 16$/,
    ],
    [() => addon.startBackend({ ...socket, generation, popId: 4096 }), /^popId: got 4096, /],
    [() => addon.openPort({ kind: 'tun', name: 'sixteen-letters-' }), /^name: got "sixteen/],
    [() => addon.openPort({ kind: 'packet', name: 'a', peer: 'a/b' }), /^peer: got "a\/b"/],
    [() => addon.flowId({ ...flow, sport: 65536 }), /^sport: got 65536, /],
    [() => addon.flowId({ ...flow, seed: -1n }), /^seed: got -1, /],
    [
      () => addon.newNode(settings).forward([bytes(MAX_PACKET_BYTES + 1)], 1n),
      /^packet: got 9217 bytes, expected at most 9216$/,
    ],
    [() => addon.newNode(settings).timers(0n), /^nowUs: got 0, /],
  ]
  for (const [call, pattern] of wrong) t.match(errorOf(call).message, pattern)
})

t.test('time that runs backwards is refused', async (t) => {
  const node = addon.newNode(settings)
  node.timers(10n)
  t.throws(() => node.timers(9n), /^nowUs: got 9, expected a bigint from 10/)
})

t.test('the raw addon throws at whatever it is given, and stands', async (t) => {
  type Call = (...args: readonly unknown[]) => unknown
  const raw = loadRaw(ADDON)
  const node = raw.newNode(generation, 1n, 1024)
  const junk = [undefined, null, -1, 1e9, Number.NaN, '', 'x'.repeat(99), -1n, 2n ** 70n, {}, []]
  const things: readonly unknown[] = [...junk, node, new Uint8Array(16), generation, () => {}]
  const members: readonly unknown[] = [...Object.values(raw), ...Object.values(node)]
  const calls = members.filter((member): member is Call => typeof member === 'function')
  t.ok(calls.length > 10)
  for (const call of calls) {
    for (let i = 0; i < things.length ** 2; i++) {
      const args = [i, i / things.length, i + 3, i * 7, i * 5, i * 11, i * 13].map(
        (n) => things[Math.floor(n) % things.length],
      )
      const self = i % 2 ? things[i % things.length] : node
      try {
        call.apply(self, args)
      } catch (error) {
        if (!(error instanceof Error)) t.fail('throws what is no error')
      }
    }
  }
  t.same(Array.from(node.forward([], 1n << 40n)), [])
})
