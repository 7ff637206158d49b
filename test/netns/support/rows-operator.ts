// Rows of the failure matrix in which an operator is at work: keys rotate, a file is broken. Called by the matrix's files.

import type { Load } from './load.js'
import type { Row, World } from './row.js'
import { newKey, writeKeys } from './steadycast.js'
import { checkForwarded, EARLY, rotate, seeAll } from './touch.js'

/** The nodes read it one after the other, while packets are forwarded between all of them. */
async function rollOut(world: World, load: Load, ...keys: readonly string[]): Promise<void> {
  writeKeys(...keys)
  for (const { steadycast } of world.fleet.nodes) {
    await steadycast.reload()
    await seeAll(world, load)
  }
}

const keyRotation: Row = {
  name: 'the fleet key rotates in three steps while all packets are forwarded',
  expected: EARLY,
  async event(world, load) {
    const { fleet } = world
    const [old, next] = [fleet.key, newKey(2)]
    await rotate(world, load)
    await rollOut(world, load, old, next)
    await rollOut(world, load, next, old)
    await rollOut(world, load, next)
    fleet.key = next
  },
  happened: checkForwarded,
}

const brokenFile: Row = {
  name: 'a broken fleet file is refused by all, nothing changes, and a good one mends it',
  expected: EARLY,
  async event(world, load) {
    const { fleet } = world
    const everyone = [...fleet.nodes, ...fleet.webs].map(({ steadycast }) => steadycast)
    const success = async () =>
      new Set(
        await Promise.all(
          everyone.map(async (one) => (await one.metrics()).value('config_last_reload_successful')),
        ),
      )
    fleet.breakFile()
    for (const one of everyone) await one.reload(/reload refused, .*more errors\)"/)
    const refused = await success()
    if ([...refused].join() !== '0') throw new Error('a broken file was taken over')
    await rotate(world, load)
    await seeAll(world, load)
    fleet.write()
    for (const one of everyone) await one.reload()
    if ([...(await success())].join() !== '1') throw new Error('a good file was not taken over')
    await seeAll(world, load)
  },
  happened: checkForwarded,
}

export const OPERATOR_ROWS: readonly Row[] = [keyRotation, brokenFile]
