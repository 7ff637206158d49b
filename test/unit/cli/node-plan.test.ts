// What a running node does not take over.

import t from 'tap'
import { type NodeFiles, requireSameNode } from '../../../src/cli/node-plan.js'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { FLEET_TEXT } from '../status/fixture.js'

function filesOf(text: string): NodeFiles {
  const result = parseFleet(text, 'fleet.yaml')
  const [pop] = result.ok ? result.fleet.pops : []
  const [self] = pop?.nodes ?? []
  if (!result.ok || pop === undefined || self === undefined) throw new Error('no fleet')
  return { fleet: result.fleet, keys: [], self, pop }
}

t.test(
  'a changed hash_seed is told in hexadecimal, and nobody is advised to restart a node for it',
  async (t) => {
    const seed = (text: string) => filesOf(FLEET_TEXT.replace('hash_seed: 1', `hash_seed: ${text}`))
    t.throws(() => requireSameNode(seed('0xdcf5acb8b1b1e5ac'), seed('0x7cf3')), {
      message:
        /^hash_seed was 0xdcf5acb8b1b1e5ac and is now 0x7cf3, .* put 0xdcf5acb8b1b1e5ac back/,
    })
    t.throws(
      () => requireSameNode(seed('1'), filesOf(FLEET_TEXT.replace('10.0.0.1,', '10.0.0.9,'))),
      {
        message:
          "this node's address was 10.0.0.1 and is now 10.0.0.9, which a running node cannot take over: restart it",
      },
    )
    requireSameNode(seed('1'), seed('0x1'))
  },
)
