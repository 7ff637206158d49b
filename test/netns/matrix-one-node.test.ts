// A fleet of one node, which nobody can tell what it knew: kill -9 under load, and what its memory is for.

import t from 'tap'
import { isolated } from './support/isolate.js'
import { buildWorld, runRow } from './support/row.js'
import { onlyNode } from './support/rows-nodes.js'

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const world = await buildWorld({ pops: ['ams'], nodes: 1, backends: 2 }, 4)
  t.test(onlyNode.name, (t) => runRow(t, world, onlyNode))
}
