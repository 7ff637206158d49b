// The failure matrix on real kernels: each event that moves packets between nodes and PoPs, takes nodes away or changes the
// fleet, under downloads, uploads and echo streams that live through all of it. Real nodes, nginx and curl; three PoPs of
// two nodes and three backends.

import t from 'tap'
import { isolated } from './support/isolate.js'
import { buildWorld, runRow } from './support/row.js'
import { FLEET_ROWS } from './support/rows-fleet.js'
import { NODE_ROWS } from './support/rows-nodes.js'
import { OPERATOR_ROWS } from './support/rows-operator.js'
import { REACH_ROWS } from './support/rows-reach.js'
import { ROUTE_ROWS } from './support/rows-routes.js'

const ROWS = [...ROUTE_ROWS, ...NODE_ROWS, ...FLEET_ROWS, ...OPERATOR_ROWS, ...REACH_ROWS]

const SHAPE = { pops: ['ams', 'nyc', 'fra'], nodes: 2, backends: 3 }

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const world = await buildWorld(SHAPE, 4)
  for (const row of ROWS) t.test(row.name, (t) => runRow(t, world, row))
  t.test('the echo streams lived through all of it', async () => await world.streams.end())
}
