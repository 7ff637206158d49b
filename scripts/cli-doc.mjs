// Writes what is made from the table of verbs: the man page, the completions and docs/reference.md. What
// "npm run docs:man" does after a build. A test holds the files against the same table.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../dist/cli/program.js'
import { referenceFiles } from '../dist/cli/reference/files.js'
import { VERBS } from '../dist/cli/verbs.js'

for (const [path, text] of referenceFiles(createProgram(VERBS))) {
  const target = fileURLToPath(new URL(`../${path}`, import.meta.url))
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, text)
}
