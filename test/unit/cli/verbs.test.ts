// The one table of verbs: all that a man page or a shell completion needs of a verb can be read from it.

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createProgram } from '../../../src/cli/program.js'
import { VERBS } from '../../../src/cli/verbs.js'

const program = createProgram(VERBS)

t.test('every file of commands/ is a verb in the table', async (t) => {
  const files = readdirSync(fileURLToPath(new URL('../../../src/cli/commands', import.meta.url)))
  t.same(
    program.commands.map((command) => `${command.name()}.ts`),
    files.sort(),
  )
})

t.test('every verb, argument and option says what it is', async (t) => {
  for (const verb of program.commands) {
    t.ok(verb.description().length > 10, verb.name())
    for (const argument of verb.registeredArguments) {
      t.ok(argument.description.length > 5, `${verb.name()} ${argument.name()}`)
    }
    for (const option of verb.options) {
      t.ok(option.description.length > 5, `${verb.name()} ${option.flags}`)
      t.match(option.flags, /^--[a-z-]+( <[a-z:|]+>)?$/, `${verb.name()} ${option.flags}`)
    }
  }
})
