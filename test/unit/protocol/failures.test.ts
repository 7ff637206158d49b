// Whole fleets in virtual time: nodes that die, packets that are lost, flows that nobody knows. A packet of a living
// connection reaches its backend or nobody.

import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { seeded } from '../../../src/lab/random.js'
import { MS, SECOND } from '../../vectors/bench.js'
import { Client } from '../../vectors/client.js'
import { type Transit, VirtualFleet } from '../../vectors/fleet.js'
import { type Received, receiveAtNode } from '../../vectors/receive.js'
import { KEY, nodesOf, sampleFleet } from '../../vectors/samples.js'
import { homeIn } from '../../vectors/vector.js'

const MINUTE = 60n * SECOND

function settled(pops: number, nodesPerPop: number): VirtualFleet {
  const fleet = new VirtualFleet({ fleet: sampleFleet({ pops, nodesPerPop }) })
  fleet.settle()
  return fleet
}

/** What a node would make of a packet between nodes. */
function received(fleet: VirtualFleet, transit: Transit): Received | undefined {
  const self = nodesOf(fleet.fleet).find(({ address }) => address === transit.to)
  if (self === undefined) return undefined
  return receiveAtNode(transit.packet, { fleet: fleet.fleet, self, keys: [KEY] })
}

function isPublish(fleet: VirtualFleet, transit: Transit): boolean {
  const found = received(fleet, transit)
  return found?.kind === 'control' && found.message.verb === 'PUBLISH'
}

function isRelay(fleet: VirtualFleet, transit: Transit): boolean {
  const found = received(fleet, transit)
  return found?.kind === 'private' && found.verb === 'RELAY'
}

/** Connections whose home in PoP a is this node, open there. */
function openAt(fleet: VirtualFleet, home: string, count: number, from = 40000): Client[] {
  const clients: Client[] = []
  for (let sport = from; clients.length < count; sport++) {
    const client = new Client(fleet, sport)
    if (homeIn(fleet.fleet, 'a', client.connection) !== home) continue
    client.open('a1')
    clients.push(client)
  }
  return clients
}

const split = (clients: readonly Client[]): readonly string[] =>
  clients
    .filter(({ backends }) => backends.size !== 1)
    .map(({ connection, backends }) => `${connection.sport}: ${[...backends]}`)

t.test('when a home dies, the next node of the PoP has its flows at once', async (t) => {
  const fleet = settled(2, 2)
  const clients = openAt(fleet, 'a1', 20)
  fleet.run(SECOND)
  fleet.kill('a1')
  fleet.run(350n * MS)
  for (const client of clients) t.ok(client.send('a2'), 'in its own PoP, after three HELLOs')
  fleet.run(4n * SECOND)
  for (const client of clients) {
    t.ok(client.send('b1'), 'from another PoP, after three HELLOs')
    t.ok(client.send('b2'))
    t.ok(client.send('a2'))
  }
  t.same(split(clients), [])
})

t.test('when a home in another PoP dies, the flows are told to the next one', async (t) => {
  const fleet = settled(2, 2)
  const clients = [...openAt(fleet, 'a1', 10), ...openAt(fleet, 'a2', 10, 45000)]
  fleet.kill('b1')
  fleet.run(10n * SECOND)
  for (const client of clients) t.ok(client.send('b2'), 'at the node that is left')
  t.same(split(clients), [])
})

t.test('a node that comes back fills, and then has its part again', async (t) => {
  const fleet = settled(2, 2)
  const clients = openAt(fleet, 'a1', 10)
  fleet.kill('b1')
  fleet.run(10n * SECOND)
  fleet.start('b1')
  fleet.run(10n * SECOND)
  t.equal(fleet.look('b1').certain, true)
  for (const client of clients) {
    t.ok(client.send('b1'))
    t.ok(client.send('b2'))
  }
  t.same(split(clients), [])
})

t.test('a single node that restarts learns its own flows back from the other PoPs', async (t) => {
  const fleet = settled(3, 1)
  const clients = Array.from({ length: 10 }, (_, i) => new Client(fleet, 40000 + i))
  for (const client of clients) client.open('a1')
  fleet.run(2n * SECOND)
  fleet.kill('a1')
  fleet.run(5n * SECOND)
  for (const client of clients) t.notOk(client.send('b1'), 'no node of its PoP lives')
  fleet.start('a1')
  fleet.run(10n * SECOND)
  for (const client of clients) {
    t.ok(client.send('b1'), 'from another PoP')
    t.ok(client.send('c1'))
    t.ok(client.send('a1'), 'at its own')
  }
  t.same(split(clients), [])
})

t.test('a lost publication is sent again, and until then nobody guesses', async (t) => {
  const fleet = settled(2, 1)
  fleet.lose = (transit) => isPublish(fleet, transit) || isRelay(fleet, transit)
  const clients = Array.from({ length: 10 }, (_, i) => new Client(fleet, 40000 + i))
  for (const client of clients) client.open('a1')
  for (let i = 0; i < 10; i++) {
    for (const client of clients) t.notOk(client.send('b1'))
    fleet.run(100n * MS)
  }
  fleet.lose = () => false
  fleet.run(2n * SECOND)
  for (const client of clients) t.ok(client.send('b1'), 'known now')
  t.same(split(clients), [])
  t.equal(fleet.total('certain_no'), 0n)
  t.same(fleet.unaccounted(), [])
})

t.test('until a publication arrives its packets are handed to the PoP that may know', async (t) => {
  const fleet = settled(2, 1)
  fleet.lose = (transit) => isPublish(fleet, transit)
  const clients = Array.from({ length: 10 }, (_, i) => new Client(fleet, 40000 + i))
  for (const client of clients) client.open('a1')
  fleet.run(1100n * MS) // The HELLO that tells of the batch.
  for (let i = 0; i < 3; i++) for (const client of clients) t.ok(client.send('b1'))
  t.equal(
    fleet.count('b1', 'relayed'),
    10n,
    'the first packet; the OWNER that answers tells the rest',
  )
  t.equal(fleet.count('b1', 'forwarded'), 20n)
  t.same(split(clients), [])
  t.equal(fleet.total('certain_no'), 0n)
  t.same(fleet.unaccounted(), [])
})

t.test('a network that loses a third of all that nodes say breaks nothing', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const fleet = settled(3, 2)
  const nodes = nodesOf(fleet.fleet).map(({ name }) => name)
  fleet.lose = (transit) => received(fleet, transit)?.kind === 'control' && random.next() < 0.33
  const clients = Array.from({ length: 40 }, (_, i) => new Client(fleet, 40000 + i))
  for (const client of clients) while (!client.open(random.pick(nodes))) fleet.run(SECOND)
  let arrived = 0
  for (let round = 0; round < 30; round++) {
    for (const client of clients) if (client.send(random.pick(nodes))) arrived++
    fleet.run(200n * MS)
  }
  t.same(split(clients), [])
  t.ok(arrived > 600, `${arrived} of 1200 packets arrived`)
  t.same(fleet.unaccounted(), [])
})

/** Sends a packet of an unknown flow again and again; the times (ms) at which it was delivered. */
function deliveredAt(client: Client, node: string, forMs: number, everyMs = 100): number[] {
  const times: number[] = []
  for (let ms = 0; ms < forMs; ms += everyMs) {
    if (client.send(node)) times.push(ms)
    client.fleet.run(BigInt(everyMs - 20) * MS)
  }
  return times
}

t.test(
  'an unknown flow is given to the Maglev choice after two refusals 500 ms apart',
  async (t) => {
    for (const [pops, nodes] of [
      [1, 1],
      [2, 1],
      [3, 2],
    ] as const) {
      const fleet = settled(pops, nodes)
      const client = new Client(fleet, 40000)
      const [first = 0, ...others] = deliveredAt(client, 'a1', 3000)
      t.ok(first >= 500 && first <= 2000, `first after ${first} ms`)
      t.ok(others.length >= 9, 'and from then on')
      t.equal(client.backends.size, 1)
      t.ok(fleet.total('certain_no') > 0n)
      t.equal(fleet.total('flows_new'), 0n, 'nothing is recorded')
    }
  },
)

t.test('an unknown flow meets silence while any configured node is not heard', async (t) => {
  for (const dead of ['a2', 'b1', 'c2']) {
    const fleet = settled(3, 2)
    fleet.kill(dead)
    fleet.run(5n * SECOND)
    const client = new Client(fleet, 40000)
    for (const node of ['a1', 'b2', 'c1']) {
      t.same(deliveredAt(client, node, 2000), [], `${dead} is dead, asked at ${node}`)
    }
    t.equal(fleet.total('certain_no'), 0n)
  }
})

t.test('an unknown flow meets silence at nodes that have not filled', async (t) => {
  const fleet = new VirtualFleet({ fleet: sampleFleet({ pops: 2, nodesPerPop: 2 }) })
  const client = new Client(fleet, 40000)
  t.notOk(client.send('a1'))
  t.notOk(client.send('b1'))
  t.ok(fleet.total('uncertain') >= 2n)
})

t.test(
  'a node that has been dead for longer than copies live is no reason for silence',
  async (t) => {
    const fleet = settled(2, 1)
    const [known] = [new Client(fleet, 41000)]
    t.ok(known?.open('b1'))
    fleet.run(SECOND)
    fleet.kill('b1')
    fleet.run(10n * MINUTE, 50n * MS)
    t.same(deliveredAt(new Client(fleet, 40000), 'a1', 1500), [], 'after 10 minutes')
    t.notOk(known?.send('a1'), 'its PoP is dead')
    fleet.run(8n * MINUTE, 50n * MS)
    const client = new Client(fleet, 40000)
    t.ok(deliveredAt(client, 'a1', 3000).length > 0, 'after 18 minutes')
    t.ok(fleet.count('a1', 'certain_no') > 0n)
  },
)

function partition(t: Test, fleet: VirtualFleet, clients: readonly Client[]): void {
  for (const client of clients) {
    t.ok(client.send('a1'), 'where its backend is')
    t.notOk(client.send('b1'), 'where its backend cannot be reached')
  }
  t.equal(fleet.total('certain_no'), 0n)
}

t.test(
  'a connection survives a partition between PoPs, and goes on everywhere after it',
  async (t) => {
    const fleet = settled(2, 1)
    const clients = Array.from({ length: 10 }, (_, i) => new Client(fleet, 40000 + i))
    for (const client of clients) client.open('a1')
    fleet.run(SECOND)
    fleet.lose = () => true
    fleet.run(5n * SECOND)
    partition(t, fleet, clients)
    const during = Array.from({ length: 10 }, (_, i) => new Client(fleet, 41000 + i))
    for (const client of during) t.ok(client.open('a1'), 'begun meanwhile')
    for (const client of during) t.notOk(client.send('b1'))
    fleet.lose = () => false
    fleet.run(10n * SECOND)
    for (const client of [...clients, ...during]) t.ok(client.send('b1'), 'after it')
    t.same(split([...clients, ...during]), [])
  },
)
