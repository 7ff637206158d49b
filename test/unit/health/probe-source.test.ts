// Where a probe connects from, held against an implementation of homes and slots that was written from the wire's page.

import { randomInt } from 'node:crypto'
import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import { homeNode, maglevSlot } from '../../../src/fleet/home.js'
import { type PathView, probeSource } from '../../../src/health/probe-source.js'
import { seeded } from '../../../src/lab/random.js'
import * as page from '../../vectors/names.js'

const VIP = '198.51.100.10'
const TEXT = `fleet:
  key_file: fleet.key
  hash_seed: 77
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.1 }, { name: ams-2, address: 192.0.2.2 }, { name: ams-3, address: 192.0.2.3 }]
      backends: [{ name: l1, deliver: local, node: ams-1 }, { name: l2, deliver: local, node: ams-2 }, { name: g, address: 10.0.0.1 }]
services:
  - { name: web, vip: ${VIP}, ports: [80], protocol: tcp }
  - { name: web6, vip: "2001:db8::10", ports: [80], protocol: tcp }
`
const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
t.comment(`SEED=${seed}`)
const random = seeded(seed)

function view(name: string, localVips: readonly string[], taking?: string): PathView {
  const result = parseFleet(TEXT, 'fleet.yaml')
  if (!result.ok) throw new Error('the fleet of this test is wrong')
  const { fleet } = result
  const [pop] = fleet.pops
  const self = pop?.nodes.find((node) => node.name === name)
  if (pop === undefined || self === undefined) throw new Error(`no ${name}`)
  const generation = packGeneration(fleet, { kind: 'node', nodeId: self.id, keys: [] }, 1500, {
    weightOf: (_, backend) => Number(taking === undefined || backend.name === taking),
    silent: () => false,
    withheld: () => false,
    stateOf: () => 'ready',
  })
  return { fleet, pop, self, generation, localVips: new Set(localVips) }
}

const ask = (of: PathView, service = 0, addresses: readonly string[] = []) => {
  const asked = of.fleet.services[service]
  if (asked === undefined) throw new Error('no such service')
  const idOf = ({
    src,
    dst,
    sport,
    dport,
  }: {
    src: string
    dst: string
    sport: number
    dport: number
  }) =>
    page.flowId(of.fleet.hashSeed, { client: src, vip: dst, sport, dport, proto: page.PROTO.tcp })
  return { source: probeSource(of, asked, addresses, idOf, random.next), idOf }
}

t.test('home and slot are those of the page', async (t) => {
  for (let i = 0; i < 500; i++) {
    const ids = Array.from({ length: random.int(1, 33) }, () => random.int(1, 65536))
    const flow = BigInt(random.int(0, 2 ** 32)) << 32n
    const hashSeed = BigInt(random.int(0, 2 ** 32))
    const [home, same] = [homeNode(hashSeed, ids, flow), page.homeOf(hashSeed, ids, flow)]
    if (home !== same) t.equal(home, same)
    if (maglevSlot(flow, 65537) !== page.maglevSlot(flow, 65537)) t.fail('another slot')
  }
  t.pass('500 flows')
})

t.test('this node is the home of the flow, whichever it is', async (t) => {
  for (const name of ['ams-1', 'ams-2', 'ams-3']) {
    const of = view(name, [])
    for (let i = 0; i < 50; i++) {
      const { source, idOf } = ask(of)
      if (source.kind !== 'from') throw new Error(`${name}: ${source.kind}`)
      const flow = idOf({ src: source.address, dst: VIP, sport: source.port, dport: 80 })
      const ids = of.pop.nodes.map(({ id }) => id)
      if (page.homeOf(of.fleet.hashSeed, ids, flow) !== of.self.id)
        t.fail(`${name}: ${source.port}`)
      if (source.port < 32768 || source.port > 60999) t.fail(`port ${source.port}`)
    }
    t.pass(name)
  }
})

t.test('where the VIP is of this machine, the flow is one of its own backend', async (t) => {
  const of = view('ams-1', [VIP])
  for (let i = 0; i < 50; i++) {
    const { source, idOf } = ask(of)
    if (source.kind !== 'from') throw new Error(source.kind)
    const flow = idOf({ src: source.address, dst: VIP, sport: source.port, dport: 80 })
    const row = of.generation.tables[0]?.slots[page.maglevSlot(flow, 65537)]
    if (of.generation.backendRows[row ?? -1]?.name !== 'l1') t.fail(`port ${source.port}`)
  }
  t.match(ask(view('ams-1', [VIP], 'g')).source, {
    kind: 'cannot',
    why: /^198\.51\.100\.10 is this machine's own/,
  })
  t.match(ask(view('ams-1', [VIP], 'l1')).source, { kind: 'from' })
})

t.test(
  'a table without backends, or an IPv6 VIP on a machine without IPv6, is not probed',
  async (t) => {
    t.same(ask(view('ams-1', [], 'nobody')).source, { kind: 'idle' })
    t.match(ask(view('ams-1', []), 1).source, {
      kind: 'cannot',
      why: 'this machine has no IPv6 address to connect from',
    })
    t.match(ask(view('ams-1', []), 1, ['10.9.9.9', '2001:db8::1']).source, {
      kind: 'from',
      address: '2001:db8::1',
    })
  },
)
