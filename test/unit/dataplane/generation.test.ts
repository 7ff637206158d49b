// The generation blob: read back by an independent reader of native/generation.h, and taken in by the data path itself.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { loadAddon } from '../../../src/dataplane/addon.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import { addressBytes } from '../../../src/fleet/address.js'
import { fleetDigest } from '../../../src/fleet/digest.js'
import { MAX_TABLES } from '../../../src/fleet/limits.js'
import type { Fleet } from '../../../src/fleet/model.js'
import type { Readiness } from '../../../src/fleet/readiness.js'

const TEXT = `
fleet:
  key_file: /etc/steadycast/fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  pops:
    - name: ams
      id: 7
      nodes: [{ name: ams-1, id: 300, address: 192.0.2.11 }]
      backends:
        - { name: ams-web-1, address: 10.1.0.11 }
        - { name: ams-web-2, address: 10.1.0.12, weight: 2 }
        - { name: ams-idle, address: 10.1.0.13, weight: 0 }
    - name: nyc
      id: 9
      nodes: [{ name: nyc-1, id: 301, address: 203.0.113.21 }]
      backends:
        - { name: nyc-web-1, deliver: local, node: nyc-1 }
        - { name: nyc-dns-1, address: 10.2.0.5, pool: dns }
services:
  - { name: web, vip: 198.51.100.10, ports: [80, 443], protocol: tcp, timeouts: { idle: 10m } }
  - { name: dns, vip: "2001:db8::53", ports: [53], protocol: udp, pool: dns, fragments: true }
`

const keys = [
  { id: 3, key: Uint8Array.from({ length: 16 }, (_, i) => i) },
  { id: 4, key: new Uint8Array(16).fill(0xee) },
]

const fleet = (): Fleet => parsed(TEXT)

function parsed(text: string): Fleet {
  const result = parseFleet(text, 'fleet.yaml')
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('; '))
  return result.fleet
}

/** Reads the structs of native/generation.h one after the other. */
class Reader {
  at = 0
  readonly view: DataView

  constructor(readonly blob: Uint8Array) {
    this.view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  }

  next(...widths: readonly (1 | 2 | 4)[]): number[] {
    return widths.map((width) => {
      const at = this.at
      this.at += width
      if (width === 1) return this.view.getUint8(at)
      return width === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true)
    })
  }

  bytes(count: number): Uint8Array {
    this.at += count
    return this.blob.slice(this.at - count, this.at)
  }
}

t.test(
  'the blob of a node holds header, keys, nodes, backends, services, pools and slots',
  async (t) => {
    const { pops } = fleet()
    const { blob } = packGeneration(fleet(), { kind: 'node', nodeId: 300, keys }, 1500)
    const r = new Reader(blob)
    const slots = 65537
    t.same(r.next(4, 4, 4, 4, 4, 4, 4), [0x33474353, 2, 2, 5, 3, 2, slots])
    t.same(r.next(2, 2), [300, 1500])
    t.equal(r.view.getBigUint64(r.at, true), 0x9f1c5e7702ab44d1n)
    r.bytes(8)
    t.same(r.next(4, 4), [fleetDigest(fleet()), 0])
    for (const key of keys) {
      t.same(r.next(1, 1, 1, 1, 1, 1, 1, 1), [key.id, 0, 0, 0, 0, 0, 0, 0])
      t.same(r.bytes(16), key.key)
    }
    for (const [address, id, pop] of [
      ['192.0.2.11', 300, 7],
      ['203.0.113.21', 301, 9],
    ] as const) {
      t.same(r.bytes(16), addressBytes(address))
      t.same(r.next(2, 2, 4), [id, pop, 0])
    }
    for (const backend of pops.flatMap(({ backends }) => backends)) {
      t.same(r.bytes(16), addressBytes(backend.address))
      const local = backend.name === 'nyc-web-1'
      t.same(r.next(4, 2, 2), [backend.id, backend.id >>> 20, local ? 301 : 0])
      const draining = backend.weight === 0 ? 1 : 0
      t.same(r.next(1, 1, 2, 4), [local ? 1 : 0, draining, 0, backend.pool === 'dns' ? 1 : 0])
    }
    for (const [vip, port, proto, flags, pool, idle, label] of [
      ['198.51.100.10', 80, 6, 0, 0, 600, 0],
      ['198.51.100.10', 443, 6, 0, 0, 600, 0],
      ['2001:db8::53', 53, 17, 1, 1, 10800, 1],
    ] as const) {
      t.same(r.bytes(16), addressBytes(vip))
      t.same(r.next(2, 1, 1, 2, 2), [port, proto, flags, pool, pool])
      t.same(r.next(4, 4, 4, 4), [65, idle, 60, label])
    }
    t.same(r.next(4, 4), [0, slots], 'pool "default"')
    t.same(r.next(4, 4), [slots, 0], 'pool "dns" has no backend in this PoP')
    const counts = new Map<number, number>()
    for (let i = 0; i < slots; i++) {
      const [row = -1] = r.next(2)
      counts.set(row, (counts.get(row) ?? 0) + 1)
    }
    t.same([...counts.keys()].sort(), [0, 1], 'only backends of this PoP that take new flows')
    t.ok(Math.abs((counts.get(1) ?? 0) / (counts.get(0) ?? 1) - 2) < 0.02, 'by weight')
    t.same(r.next(2), [0], 'an odd number of slots is padded')
    t.equal(r.at, blob.length)
  },
)

t.test('what is told of a generation names the rows and slots that are in it', async (t) => {
  const { serviceRows, backendRows, tables } = packGeneration(
    fleet(),
    { kind: 'node', nodeId: 300, keys },
    1500,
  )
  t.same(
    serviceRows.map(({ name }) => name),
    ['web', 'web', 'dns'],
  )
  t.same(
    backendRows.map(({ name }) => name),
    ['ams-web-1', 'ams-web-2', 'ams-idle', 'nyc-web-1', 'nyc-dns-1'],
  )
  t.same(
    tables.map(({ service, slots, held }) => [
      service.name,
      slots.length,
      held.map(({ backend }) => backend.name),
    ]),
    [
      ['web', 65537, ['ams-web-1', 'ams-web-2', 'ams-idle']],
      ['dns', 0, []],
    ],
  )
  const held = tables[0]?.held.map(({ slots }) => slots) ?? []
  t.equal(
    held.reduce((sum, slots) => sum + slots, 0),
    65537,
  )
  t.equal(held[2], 0, 'weight 0 holds no slot')
})

t.test(
  'services of one pool have tables of their own where other backends are ready',
  async (t) => {
    const text = TEXT.replace(
      '  - { name: dns,',
      `  - { name: api, vip: 198.51.100.10, ports: [81], protocol: tcp }
  - { name: web2, vip: 198.51.100.10, ports: [82], protocol: tcp }
  - { name: dns,`,
    )
    const all = parsed(text)
    const side = { kind: 'node', nodeId: 300, keys } as const
    const readiness: Readiness = {
      weightOf: ({ name }, backend) =>
        name === 'api' && backend.name === 'ams-web-1' ? 0 : backend.weight * 10,
      silent: () => false,
      withheld: ({ name }) => name === 'web2',
      stateOf: ({ name }) => (name === 'ams-web-2' ? 'down' : 'ready'),
    }
    const { blob, tables, backendRows } = packGeneration(all, side, 1500, readiness)
    const view = new DataView(blob.buffer)
    t.equal(view.getUint32(20, true), 3, 'two pools, and a table more')
    t.equal(view.getUint32(24, true), 2 * 65537, 'the table of web and web2 is there once')
    const atBackends = 48 + 2 * 24 + 2 * 24
    t.same(
      backendRows.map((_, row) => view.getUint8(atBackends + row * 32 + 25)),
      [0, 2, 0, 0, 0],
      'states',
    )
    const atServices = atBackends + 5 * 32
    t.same(
      [0, 1, 2, 3, 4].map((row) => [
        view.getUint8(atServices + row * 40 + 19),
        view.getUint16(atServices + row * 40 + 20, true),
        view.getUint16(atServices + row * 40 + 22, true),
      ]),
      [
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 2],
        [2, 0, 0],
        [1, 1, 1],
      ],
      'flags, pool and table of each service row',
    )
    t.same(
      tables.map(({ held }) => held.map(({ slots }) => slots > 0)),
      [[true, true, true].map((_, i) => i < 2), [false, true, false], [true, true, false], []],
    )
    t.equal(
      loadAddon().newNode({ generation: blob, bootId: 1n, flowEntries: 1024 }).counters.length > 0,
      true,
    )
  },
)

t.test(
  'more different tables than there is room for: the rest go by that of their pool',
  async (t) => {
    const services = Array.from(
      { length: MAX_TABLES + 1 },
      (_, i) => `  - { name: s${i}, vip: 198.51.100.10, ports: [${i + 1}], protocol: tcp }`,
    )
    const backends = Array.from(
      { length: 200 },
      (_, i) => `{ name: b${i}, address: 10.1.1.${i + 1} }`,
    )
    const text = TEXT.replace(/services:[\s\S]*/, `services:\n${services.join('\n')}\n`).replace(
      /backends:\n +- \{ name: ams-web-1[\s\S]*?ams-idle.*\n/,
      `backends: [${backends.join(', ')}]\n`,
    )
    const readiness: Readiness = {
      weightOf: ({ name }, backend) => (`b${name.slice(1)}` === backend.name ? 0 : 1),
      silent: () => false,
      withheld: ({ name }) => name === 'web2',
      stateOf: () => 'ready',
    }
    const side = { kind: 'node', nodeId: 300, keys } as const
    const { blob, tables, sharing } = packGeneration(parsed(text), side, 1500, readiness)
    t.same(sharing, [`s${MAX_TABLES - 1}`, `s${MAX_TABLES}`], 'pool dns of nyc takes one')
    t.same(tables.at(-1)?.slots, tables[0]?.slots)
    t.ok(loadAddon().newNode({ generation: blob, bootId: 1n, flowEntries: 1024 }))
  },
)

t.test("the blob of a backend machine holds neither keys nor a node's tables", async (t) => {
  const { blob } = packGeneration(fleet(), { kind: 'backend' }, 1400)
  const r = new Reader(blob)
  t.same(r.next(4, 4, 4, 4, 4, 4, 4), [0x33474353, 0, 2, 5, 3, 2, 0])
  t.same(r.next(2, 2), [0, 1400])
  t.equal(blob.length, 48 + 2 * 24 + 5 * 32 + 3 * 40 + 2 * 8)
})

t.test(
  'the data path takes the blob of every node, and refuses one that is cut short',
  async (t) => {
    for (const nodeId of [300, 301]) {
      const { blob } = packGeneration(fleet(), { kind: 'node', nodeId, keys }, 1500)
      const start = (generation: Uint8Array) =>
        loadAddon().newNode({ generation, bootId: 1n, flowEntries: 1024 })
      const { counters } = start(blob)
      t.equal(counters.length, loadAddon().counterTable().length + 3 * 3 + 5 * (3 + 4) + 2 * 2)
      t.throws(() => start(blob.subarray(0, blob.length - 2)))
    }
  },
)
