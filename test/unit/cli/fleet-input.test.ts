// What a refused fleet file is told by.

import t from 'tap'
import { refuseReload } from '../../../src/cli/fleet-input.js'
import type { Log } from '../../../src/cli/log.js'
import type { Problem } from '../../../src/config/problem.js'

const problem = (line: number, severity: Problem['severity'] = 'error'): Problem => {
  return { file: 'fleet.yaml', line, column: 3, severity, message: `fault ${line}` }
}

t.test(
  'the sentence about a refused reload has the first error and how many more there are',
  async (t) => {
    const lines: string[] = []
    const log = {
      error: (line: string) => lines.push(line),
      warn: (line: string) => lines.push(line),
    }
    const refuse = refuseReload(log as unknown as Log)
    t.throws(
      () => refuse('fleet.yaml', [problem(1, 'warning'), problem(2), problem(4), problem(6)]),
      {
        message: 'fleet.yaml:2:3: fault 2 (and 2 more errors)',
      },
    )
    t.equal(lines.length, 4)
    t.throws(() => refuse('fleet.yaml', [problem(2)]), { message: 'fleet.yaml:2:3: fault 2' })
  },
)
