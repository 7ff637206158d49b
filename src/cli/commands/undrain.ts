// The verb `undrain`: what was drained takes its part again. Called by main.ts. Guarantees: every node that can be reached
// is told, whatever becomes of the others, and who was not told is named.

import type { Command } from 'commander'
import { askDoor } from '../../admin/client.js'
import { findTarget, ordersFor, targetText } from '../../drain/targets.js'
import { tell } from '../../drain/tell.js'
import { listed } from '../../host/host-error.js'
import { UserError } from '../errors.js'
import { type FleetOptions, operatedFleet, withFleetOptions } from '../operated-fleet.js'
import { sentences } from './drain.js'

interface Options extends FleetOptions {
  readonly json?: true
}

export function register(program: Command): void {
  withFleetOptions(
    program
      .command('undrain')
      .description('put a node, a backend or a PoP back into service')
      .argument('<name>', 'as with drain'),
  )
    .option('--json', 'print one JSON object')
    .action(async (name: string, options: Options) => {
      const { fleet, doorOf } = await operatedFleet(options)
      const target = findTarget(fleet, name)
      const { told, failures } = await tell(ordersFor(target, 'ready'), askDoor, doorOf)
      const names = told.map(({ node }) => node.name)
      const what = targetText(target)
      if (options.json) process.stdout.write(`${JSON.stringify({ told: names, failures })}\n`)
      else if (names.length > 0) process.stdout.write(`${what} is ready: told ${listed(names)}\n`)
      if (failures.length > 0) {
        throw new UserError(
          `not told that ${what} is ready: ${sentences(failures)}; mend that and say it again`,
        )
      }
    })
}
