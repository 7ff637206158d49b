// The plan of the lab's Internet: every size that a user may ask for can be laid out.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { parseKeys } from '../../../src/config/keys.js'
import { fleetText, keyText } from '../../../src/lab/fleet-text.js'
import { CLIENTS, POPS } from '../../../src/lab/options.js'
import {
  deviceLines,
  namespaceLines,
  namespacePlans,
  plainHashingRoutes,
  splitRules,
  steadycastRoutes,
  topologyOf,
} from '../../../src/lab/topology.js'

const MAX_DEVICE_NAME = 15

const words = (lines: readonly string[], pattern: RegExp): string[] =>
  lines.flatMap((line) => [...line.matchAll(pattern)].map((match) => match[1] ?? ''))

const twice = (items: readonly string[]): string[] =>
  items.filter((item, index) => items.indexOf(item) !== index)

for (const pops of [POPS.min, POPS.default, POPS.max]) {
  for (const clients of [CLIENTS.min, 2, CLIENTS.default, CLIENTS.max]) {
    t.test(
      `${pops} PoPs and ${clients} clients have addresses and devices of their own`,
      async (t) => {
        const topology = topologyOf(pops, clients)
        const plans = namespacePlans(topology)
        t.equal(topology.clients.length, clients)
        t.equal(plans.length, 2 + 4 * pops)
        const addresses = plans.flatMap(({ lines }) => words(lines, /^address add (\S+)\//g))
        t.same(twice(addresses), [], 'no address twice')
        // Two for each client and each end of the two kinds of links, two for each PoP's router in its LAN.
        t.equal(addresses.length, 2 * clients + 2 * 2 + pops * (2 * 2 + 2 + 3 * 2))
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
  t.same(splitRules(topology), [])
  t.notMatch(deviceLines(topology).join('\n'), /split/)
})

t.test("a PoP's router sends the VIPs to its node, or hashes over its backends", async (t) => {
  const [pop] = topologyOf(3, 1).pops
  if (pop === undefined) throw new Error('no PoP')
  t.same(steadycastRoutes(pop), [
    'route replace 198.51.100.10 via 10.1.0.11',
    'route replace 2001:db8:100::10 via 2001:db8:1::11',
  ])
  t.same(plainHashingRoutes(pop), [
    'route replace 198.51.100.10 nexthop via 10.1.0.21 nexthop via 10.1.0.22',
    'route replace 2001:db8:100::10 nexthop via 2001:db8:1::21 nexthop via 2001:db8:1::22',
  ])
})

t.test('the fleet file and the key file are what `steadycast check` accepts', async (t) => {
  for (const pops of [POPS.min, POPS.max]) {
    const result = parseFleet(fleetText(topologyOf(pops, 1), '/run/fleet.key'), 'fleet.yaml')
    t.ok(result.ok, JSON.stringify(result.ok || result.problems))
    if (!result.ok) continue
    t.equal(result.fleet.pops.length, pops)
    t.equal(result.fleet.services.length, 2)
    t.same(result.warnings, [])
  }
  t.ok(parseKeys(keyText(new Uint8Array(16).fill(7)), 'fleet.key').ok)
})
