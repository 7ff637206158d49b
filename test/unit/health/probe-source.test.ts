// Where a probe connects from, and which backend it is pinned to.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { type Pin, probeSource } from '../../../src/health/probe-source.js'

const VIP = '198.51.100.10'
const TEXT = `fleet:
  key_file: fleet.key
  hash_seed: 77
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.1 }, { name: ams-2, address: 192.0.2.2 }]
      backends: [{ name: l1, deliver: local, node: ams-1 }, { name: l2, deliver: local, node: ams-2 }, { name: g, address: 10.0.0.1 }]
services:
  - { name: web, vip: ${VIP}, ports: [80], protocol: tcp }
  - { name: web6, vip: "2001:db8::10", ports: [80], protocol: tcp }
`
const parsed = parseFleet(TEXT, 'fleet.yaml')
if (!parsed.ok) throw new Error('the fleet of this test is wrong')
const { fleet } = parsed

interface Asked {
  readonly backend: string
  readonly node?: string
  readonly service?: number
  readonly localVips?: readonly string[]
  readonly addresses?: readonly string[]
  readonly pin?: Pin
}

function ask({ backend, node = 'ams-1', service = 0, ...more }: Asked) {
  const { localVips = [], addresses = [], pin = () => true } = more
  const [pop] = fleet.pops
  const self = pop?.nodes.find(({ name }) => name === node)
  const to = pop?.backends.find(({ name }) => name === backend)
  const asked = fleet.services[service]
  if (!pop || !self || !to || !asked) throw new Error('not in the fleet of this test')
  const view = { pop, self, localVips: new Set(localVips) }
  return probeSource(view, asked, to, addresses, pin, Math.random)
}

t.test('ports are tried until one is pinned to the backend, and not for ever', async (t) => {
  const tried: number[] = []
  const pin: Pin = ({ address, port }, service, backend) => {
    tried.push(port)
    t.match([address, service.name, backend.name], ['192.0.2.1', 'web', 'g'])
    return tried.length === 5
  }
  t.same(ask({ backend: 'g', pin }), { kind: 'from', address: '192.0.2.1', port: tried[4] })
  t.ok(tried.every((port) => port >= 32768 && port <= 60999))
  tried.length = 5
  t.same(ask({ backend: 'g', pin }), { kind: 'idle' })
  t.ok(tried.length < 100)
})

t.test('where the VIP is of this machine, only its own backend is probed', async (t) => {
  const localVips = [VIP]
  t.match(ask({ backend: 'l1', localVips }), { kind: 'from' })
  t.same(ask({ backend: 'l2', localVips }), { kind: 'idle' })
  t.same(ask({ backend: 'g', localVips }), { kind: 'idle' })
  t.match(ask({ backend: 'l2' }), { kind: 'from' })
})

t.test("a machine without an address of the VIP's family cannot probe it", async (t) => {
  t.match(ask({ backend: 'g', service: 1 }), {
    kind: 'cannot',
    why: 'this machine has no IPv6 address to connect from',
  })
  t.match(ask({ backend: 'g', service: 1, addresses: ['10.9.9.9', '2001:db8::1'] }), {
    kind: 'from',
    address: '2001:db8::1',
  })
})
