// Writes what is made from the table of verbs: the man page, the completions and docs/reference.md. What
// "npm run docs:man" does after a build. A test holds the files against the same table.

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../dist/cli/program.js'
import { referenceFiles } from '../dist/cli/reference/files.js'

const commands = new URL('../dist/cli/commands/', import.meta.url)
const names = readdirSync(commands).filter((name) => name.endsWith('.js'))
const verbs = await Promise.all(names.map((name) => import(new URL(name, commands))))
const program = createProgram(verbs.map(({ register }) => register))

for (const [path, text] of referenceFiles(program)) {
  const target = fileURLToPath(new URL(`../${path}`, import.meta.url))
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, text)
}
