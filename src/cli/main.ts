#!/usr/bin/env node
// The entry of the command `steadycast`: the list of its verbs, one file of commands/ each. Run by users, by the
// service units and by the tests, always as dist/cli/main.js.

import { register as backend } from './commands/backend.js'
import { register as check } from './commands/check.js'
import { register as doctor } from './commands/doctor.js'
import { register as explain } from './commands/explain.js'
import { register as lab } from './commands/lab.js'
import { register as observe } from './commands/observe.js'
import { register as run } from './commands/run.js'
import { createProgram, type Register, runProgram } from './program.js'

const verbs: readonly Register[] = [backend, check, doctor, explain, lab, observe, run]

await runProgram(createProgram(verbs), process.argv)
