#!/usr/bin/env node
// The entry of the command `steadycast`: the list of its verbs, one file of commands/ each. Run by users, by the
// service units and by the tests, always as dist/cli/main.js.

import { register as backend } from './commands/backend.js'
import { register as check } from './commands/check.js'
import { register as completion } from './commands/completion.js'
import { register as lab } from './commands/lab.js'
import { register as run } from './commands/run.js'
import { createProgram, type Register, runProgram } from './program.js'

const verbs: readonly Register[] = [backend, check, completion, lab, run]

await runProgram(createProgram(verbs), process.argv)
