// The failure matrix over IPv6: nodes and backends talk to each other in IPv6 outer packets, clients in both families. One
// combination of events stands for all; matrix.test.ts has them one by one over IPv4.

import t from 'tap'
import { isolated } from './support/isolate.js'
import { buildWorld, runRow } from './support/row.js'
import { switchesAndDeaths } from './support/rows-nodes.js'

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const world = await buildWorld({ pops: ['ams', 'nyc', 'fra'], nodes: 2, backends: 1 }, 6)
  t.test(switchesAndDeaths.name, (t) => runRow(t, world, switchesAndDeaths))
}
