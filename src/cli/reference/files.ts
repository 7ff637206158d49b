// The files that are made from the table of verbs, by path in this repository. Called by scripts/cli-doc.mjs and the test
// that holds the files against the table.

import type { Command } from 'commander'
import { completion } from './completion.js'
import { manPage } from './man.js'
import { referencePage } from './page.js'
import { verbTable } from './verbs.js'

export function referenceFiles(program: Command): readonly (readonly [string, string])[] {
  const table = verbTable(program)
  return [
    ['deploy/man/steadycast.8', manPage(table)],
    ['deploy/completion/steadycast.bash', completion('bash', table)],
    ['deploy/completion/_steadycast', completion('zsh', table)],
    ['deploy/completion/steadycast.fish', completion('fish', table)],
    ['docs/reference.md', referencePage(table)],
  ]
}
