// Whole fleets in virtual time: a connection stays at its backend wherever its packets arrive.

import t, { type Test } from 'tap'
import { MS, SECOND } from '../../vectors/bench.js'
import { Client } from '../../vectors/client.js'
import { VirtualFleet } from '../../vectors/fleet.js'
import { type FleetOptions, nodesOf, sampleFleet } from '../../vectors/samples.js'
import { homeIn } from '../../vectors/vector.js'

const SHAPES: readonly (readonly [string, FleetOptions])[] = [
  ['two PoPs', { pops: 2 }],
  ['three PoPs', { pops: 3 }],
  ['three PoPs of two nodes', { pops: 3, nodesPerPop: 2 }],
  ['four PoPs of three nodes, IPv6 between them', { pops: 4, nodesPerPop: 3, outer: 6 }],
  ['three PoPs with deliver: local', { pops: 3, deliver: 'local' }],
  ['two PoPs of two nodes with deliver: local', { pops: 2, nodesPerPop: 2, deliver: 'local' }],
]

function settled(options: FleetOptions): VirtualFleet {
  const fleet = new VirtualFleet({ fleet: sampleFleet(options) })
  fleet.settle()
  return fleet
}

const names = (fleet: VirtualFleet): readonly string[] =>
  nodesOf(fleet.fleet).map(({ name }) => name)

/** All went to one backend, and every packet of every node is accounted for. */
function intact(t: Test, fleet: VirtualFleet, clients: readonly Client[]): void {
  const split = clients.filter(({ backends }) => backends.size !== 1)
  t.same(
    split.map(({ connection, backends }) => `${connection.sport}: ${[...backends]}`),
    [],
    'every connection has one backend',
  )
  t.same(fleet.unaccounted(), [])
}

for (const [shape, options] of SHAPES) {
  t.test(`a connection begun at one node goes on at every other, ${shape}`, async (t) => {
    const fleet = settled(options)
    const nodes = names(fleet)
    const clients = nodes.flatMap((begun, i) =>
      ([4, 6] as const).map((family) => {
        const client = new Client(fleet, 40000 + i, family)
        t.ok(client.open(begun), `opened at ${begun}`)
        for (const node of nodes) t.ok(client.send(node), `${begun} then ${node}`)
        return client
      }),
    )
    intact(t, fleet, clients)
  })

  t.test(`a connection whose packets alternate between nodes stays whole, ${shape}`, async (t) => {
    const fleet = settled(options)
    const nodes = names(fleet)
    const clients = Array.from({ length: 6 }, (_, i) => new Client(fleet, 41000 + i))
    for (const client of clients) client.open(nodes[client.connection.sport % nodes.length] ?? '')
    let lost = 0
    for (let packet = 0; packet < 60; packet++) {
      for (const [i, client] of clients.entries()) {
        if (!client.send(nodes[(packet + i) % nodes.length] ?? '')) lost++
      }
    }
    t.equal(lost, 0)
    intact(t, fleet, clients)
  })

  t.test(`a handshake that is split between two nodes is completed, ${shape}`, async (t) => {
    const fleet = settled(options)
    const nodes = names(fleet)
    const clients: Client[] = []
    for (const first of nodes) {
      for (const second of nodes) {
        const client = new Client(fleet, 42000 + clients.length)
        t.ok(client.send(first, 'S'), `SYN at ${first}`)
        t.ok(client.send(second, 'A'), `ACK at ${second}`)
        t.ok(client.send(first), `data at ${first}`)
        clients.push(client)
      }
    }
    intact(t, fleet, clients)
  })

  t.test(
    `a repeated SYN and the end of a connection find its backend anywhere, ${shape}`,
    async (t) => {
      const fleet = settled(options)
      const nodes = names(fleet)
      const clients = nodes.map((node, i) => {
        const client = new Client(fleet, 43000 + i)
        t.ok(client.send(node, 'S'))
        for (const other of nodes) t.ok(client.send(other, 'S'), `SYN again at ${other}`)
        t.ok(client.send(node, 'A'))
        for (const other of nodes) t.ok(client.send(other, 'FA'), `FIN at ${other}`)
        for (const other of nodes) t.ok(client.send(other, 'R'), `RST at ${other}`)
        return client
      })
      intact(t, fleet, clients)
    },
  )

  t.test(`an ICMP error finds the connection's backend from every node, ${shape}`, async (t) => {
    const fleet = settled(options)
    const nodes = names(fleet)
    const clients = ([4, 6] as const).map((family) => new Client(fleet, 44000, family))
    for (const client of clients) {
      t.ok(client.open(nodes[0] ?? ''))
      for (const node of nodes) t.ok(client.tooBig(node), node)
    }
    intact(t, fleet, clients)
  })
}

t.test('an ACK that overtakes the publication is lost, and the next one arrives', async (t) => {
  const fleet = settled({ pops: 2 })
  const client = new Client(fleet, 45000)
  const { connection } = client
  fleet.lose = ({ from }) => from === '10.1.0.1'
  t.ok(client.send('a1', 'S'))
  t.notOk(client.send('b1', 'A'), 'b1 knows nothing yet')
  fleet.lose = () => false
  fleet.run(500n * MS)
  t.ok(client.send('b1', 'A'), 'sent again')
  t.ok(client.send('a1'))
  intact(t, fleet, [client])
  t.equal(connection.sport, 45000)
})

t.test('a connection that switches PoPs every second for ten minutes stays whole', async (t) => {
  const fleet = settled({ pops: 3, nodesPerPop: 2 })
  const nodes = names(fleet)
  const client = new Client(fleet, 46000)
  t.ok(client.open('a1'))
  let lost = 0
  for (let second = 0; second < 600; second++) {
    if (!client.send(nodes[(second * 5) % nodes.length] ?? '')) lost++
    fleet.run(980n * MS, 20n * MS)
  }
  t.equal(lost, 0)
  intact(t, fleet, [client])
  t.equal(fleet.total('certain_no'), 0n)
  t.equal(fleet.total('uncertain'), 0n)
})

t.test('what an ingress node was told it forgets after 30 s, and asks again', async (t) => {
  const fleet = settled({ pops: 2, nodesPerPop: 2 })
  const client = new Client(fleet, 47000)
  t.ok(client.open('a1'))
  const ingress = homeIn(fleet.fleet, 'b', client.connection) === 'b1' ? 'b2' : 'b1'
  const asked = () => fleet.count(ingress, 'asked')
  t.ok(client.send(ingress))
  t.equal(asked(), 1n)
  for (let i = 0; i < 10; i++) t.ok(client.send(ingress))
  t.equal(asked(), 1n, 'told, it asks no more')
  fleet.run(31n * SECOND)
  t.ok(client.send(ingress))
  t.equal(asked(), 2n)
  intact(t, fleet, [client])
})
