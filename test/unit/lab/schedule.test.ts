// The schedule of route changes and the clients' roles, for every size of lab and for random seeds.

import t from 'tap'
import { CLIENTS, MIN_PHASE_MS } from '../../../src/lab/options.js'
import { initialRouting, moveCatchment, moveClient, popOfClient } from '../../../src/lab/routing.js'
import { FIRST_EVENT_MS, scheduleOf } from '../../../src/lab/schedule.js'
import { topologyOf } from '../../../src/lab/topology.js'
import { trafficOf } from '../../../src/lab/traffic.js'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))

const scheduleFor = (pops: number, clients: number, seed: number, durationMs: number) => {
  const topology = topologyOf(pops, clients)
  return scheduleOf(topology, trafficOf(topology), seed, durationMs)
}

t.test('a seed gives the same events again, another seed gives others', async (t) => {
  t.same(scheduleFor(3, 24, 7, 12_000), scheduleFor(3, 24, 7, 12_000))
  t.notSame(scheduleFor(3, 24, 7, 12_000), scheduleFor(3, 24, 8, 12_000))
})

for (const [pops, clients] of [
  [2, 1],
  [2, 2],
  [3, 2],
  [3, 24],
  [8, 5],
  [8, 500],
] as const) {
  t.test(
    `${pops} PoPs, ${clients} clients: every event goes elsewhere, in order (SEED=${SEED})`,
    async (t) => {
      const topology = topologyOf(pops, clients)
      for (const durationMs of [MIN_PHASE_MS, 12_000]) {
        const events = scheduleOf(topology, trafficOf(topology), SEED, durationMs)
        for (const kind of ['catchment', 'client', 'handshake']) {
          t.ok(
            events.some((event) => event.kind === kind),
            `${kind} in ${durationMs} ms`,
          )
        }
        let routing = initialRouting(topology)
        let last = FIRST_EVENT_MS
        for (const event of events) {
          if (event.atMs < last || event.atMs >= durationMs)
            t.fail(`${event.kind} at ${event.atMs}`)
          last = event.atMs
          if (event.kind === 'split' || event.kind === 'withdraw' || event.kind === 'announce') {
            throw new Error(event.kind)
          }
          if (event.kind === 'catchment') {
            if (routing.catchments.get(event.catchment) === event.pop) t.fail(JSON.stringify(event))
            routing = moveCatchment(topology, routing, event.catchment, event.pop).routing
            continue
          }
          const client = topology.clients[event.client]
          if (client === undefined) throw new Error(`no client ${event.client}`)
          t.not(client.id, topology.alternating)
          t.not(popOfClient(routing, client), event.pop)
          routing = moveClient(routing, client, event.pop).routing
        }
      }
    },
  )
}

t.test('every role is moved alone in a lab of default size and length', async (t) => {
  const topology = topologyOf(3, CLIENTS.default)
  const traffic = trafficOf(topology)
  const moved = new Set(
    scheduleOf(topology, traffic, SEED, 12_000)
      .flatMap((event) => ('client' in event ? [event.client] : []))
      .map((client) => traffic.clients[client]?.role),
  )
  t.same([...moved].sort(), [
    'download',
    'echo',
    'half-closed',
    'handshake',
    'idle',
    'short',
    'upload',
  ])
})

t.test('each catchment has every kind of long connection, and one client alternates', async (t) => {
  const topology = topologyOf(3, CLIENTS.default)
  const { clients } = trafficOf(topology)
  for (const { number } of topology.pops) {
    const roles = topology.clients
      .filter(({ catchment }) => catchment === number)
      .map(({ id }) => clients[id]?.role)
    for (const role of ['download', 'upload', 'echo'] as const) {
      t.ok(roles.includes(role), `catchment ${number}: ${role}`)
    }
  }
  t.same(
    clients.filter(({ role }) => role === 'all').map(({ id }) => id),
    [topology.alternating],
  )
})
