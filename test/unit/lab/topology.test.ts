// The plan of the lab's Internet: every size that a user may ask for can be laid out.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { parseKeys } from '../../../src/config/keys.js'
import { fleetText, keyText } from '../../../src/lab/fleet-text.js'
import { CLIENTS, POPS } from '../../../src/lab/options.js'
import {
  deviceLines,
  holdAnswers,
  loseAnswers,
  namespaceLines,
  namespacePlans,
  PLAIN_LAYOUT,
  type Pop,
  SCENARIO_LAYOUT,
  splitClient,
  splitterRules,
  topologyOf,
  vipRoutes,
} from '../../../src/lab/topology.js'

const MAX_DEVICE_NAME = 15

const words = (lines: readonly string[], pattern: RegExp): string[] =>
  lines.flatMap((line) => [...line.matchAll(pattern)].map((match) => match[1] ?? ''))

const twice = (items: readonly string[]): string[] =>
  items.filter((item, index) => items.indexOf(item) !== index)

const layouts = { plain: PLAIN_LAYOUT, scenario: SCENARIO_LAYOUT } as const
for (const [pops, clients, name] of [POPS.min, POPS.default, POPS.max].flatMap((pops) =>
  [CLIENTS.min, 2, CLIENTS.default, CLIENTS.max].flatMap((clients) =>
    (['plain', 'scenario'] as const).map((name) => [pops, clients, name] as const),
  ),
)) {
  t.test(
    `${pops} PoPs and ${clients} clients (${name}) have addresses and devices of their own`,
    async (t) => {
      const layout = layouts[name]
      const topology = topologyOf(pops, clients, layout)
      const hosts = layout.nodes + layout.backends + layout.spares
      const plans = namespacePlans(topology)
      t.equal(topology.clients.length, clients)
      t.equal(plans.length, 2 + (1 + hosts) * pops)
      const addresses = plans.flatMap(({ lines }) => words(lines, /^address add (\S+)\//g))
      t.same(twice(addresses), [], 'no address twice')
      // Two for each client and each end of the three kinds of links, two for each PoP's router in its LAN.
      t.equal(addresses.length, 2 * clients + 2 * 2 + pops * (4 * 2 + 2 + hosts * 2))
      const misfits = topology.clients.filter(
        ({ address4, catchment }) =>
          Number(address4.split('.')[3]) > 254 || catchment < 1 || catchment > pops,
      )
      t.same(misfits, [])
      const devices = words(deviceLines(topology), / (?:peer )?name (\S+) netns/g)
      t.same(
        devices.filter((name) => name.length > MAX_DEVICE_NAME),
        [],
      )
      const places = words(deviceLines(topology), /name (\S+ netns \S+)/g)
      t.same(twice(places), [], 'no device twice in one namespace')
      const named = new Set(words(namespaceLines(topology), /^netns add (\S+)$/g))
      for (const place of places) t.ok(named.has(place.split(' ')[2] ?? ''), place)
    },
  )
}

t.test('clients are spread over the catchments as evenly as they go', async (t) => {
  const counts = new Map<number, number>()
  for (const { catchment } of topologyOf(3, 24).clients) {
    counts.set(catchment, (counts.get(catchment) ?? 0) + 1)
  }
  t.same(
    [...counts],
    [
      [1, 8],
      [2, 8],
      [3, 8],
    ],
  )
})

t.test('a lab of one client has no alternating client and no splitter', async (t) => {
  const topology = topologyOf(3, 1)
  t.equal(topology.alternating, undefined)
  t.same(splitterRules(topology), [])
  t.notMatch(deviceLines(topology).join('\n'), /split/)
})

t.test('in scenarios nobody alternates from the start, and everybody can', async (t) => {
  const topology = topologyOf(3, 1, SCENARIO_LAYOUT)
  t.equal(topology.alternating, undefined)
  t.equal(splitterRules(topology).length, 4)
  const [client] = topology.clients
  if (client === undefined) throw new Error('no client')
  t.same(splitClient('add', client), [
    { family: 4, line: 'rule add pref 600 from 10.9.1.1 to 198.51.100.10 lookup 90' },
    { family: 6, line: 'rule add pref 600 from 2001:db8:c000:1::1 to 2001:db8:100::10 lookup 90' },
  ])
})

t.test("a PoP's router sends the VIPs to one hop, spreads them, or drops them", async (t) => {
  const [pop] = topologyOf(3, 1, SCENARIO_LAYOUT).pops
  const [one, two] = pop?.nodes ?? []
  if (one === undefined || two === undefined) throw new Error('no nodes')
  t.same(vipRoutes([{ host: one, weight: 1 }]), [
    'route replace 198.51.100.10 via 10.1.0.11',
    'route replace 2001:db8:100::10 via 2001:db8:1::11',
  ])
  const hops = [
    { host: two, weight: 3 },
    { host: one, weight: 1 },
  ]
  t.same(vipRoutes(hops), [
    'route replace 198.51.100.10 nexthop via 10.1.0.12 weight 3 nexthop via 10.1.0.11',
    'route replace 2001:db8:100::10 nexthop via 2001:db8:1::12 weight 3 nexthop via 2001:db8:1::11',
  ])
  t.same(vipRoutes([]), [
    'route replace blackhole 198.51.100.10',
    'route replace blackhole 2001:db8:100::10',
  ])
})

t.test('answers to one client are held or lost in its own family, and let through', async (t) => {
  const [client] = topologyOf(3, 1).clients
  if (client === undefined) throw new Error('no client')
  t.equal(loseAnswers('add', client, 4), 'route add blackhole 10.9.1.1/32')
  t.equal(loseAnswers('del', client, 6), 'route del blackhole 2001:db8:c000:1::1/128')
  const { begin, release, end } = holdAnswers(client, 6)
  t.same(begin, ['route add 2001:db8:c000:1::1/128 via 2001:db8:b::6 dev to-clients'])
  t.match(release[0], /^neigh replace 2001:db8:b::6 lladdr \S+ dev to-clients nud permanent$/)
  t.match(end.join('; '), /^route del \S+ via .*; neigh del 2001:db8:b::6 dev to-clients$/)
})

t.test('the fleet file and the key file are what `steadycast check` accepts', async (t) => {
  for (const pops of [POPS.min, POPS.max]) {
    const topology = topologyOf(pops, 1, SCENARIO_LAYOUT)
    const weighed = (pop: Pop) => pop.backends.map((host, index) => ({ host, weight: index }))
    const text = fleetText(topology, '/run/fleet.key', weighed)
    const result = parseFleet(text, 'fleet.yaml')
    t.ok(result.ok, JSON.stringify(result.ok || result.problems))
    if (!result.ok) continue
    t.equal(result.fleet.pops.length, pops)
    for (const { nodes, backends } of result.fleet.pops) {
      t.equal(nodes.length, 2)
      t.same(
        backends.map(({ weight }) => weight),
        [0, 1, 2],
      )
    }
    t.equal(result.fleet.services.length, 2)
    t.same(result.warnings, [])
  }
  t.ok(parseKeys(keyText(new Uint8Array(16).fill(7)), 'fleet.key').ok)
})
