#!/usr/bin/env node
// The entry of the command `steadycast`. Run by users, by the service units and by the tests, always as dist/cli/main.js.

import '../host/no-inspector.js'
import { createProgram, runProgram } from './program.js'
import { VERBS } from './verbs.js'

await runProgram(createProgram(VERBS), process.argv)
