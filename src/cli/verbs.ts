// Every verb of the command, one file of commands/ each. Read by main.ts, and by whatever lists them: a program that
// createProgram() makes of these has each verb's name, description, arguments and options.

import { register as backend } from './commands/backend.js'
import { register as check } from './commands/check.js'
import { register as completion } from './commands/completion.js'
import { register as doctor } from './commands/doctor.js'
import { register as drain } from './commands/drain.js'
import { register as explain } from './commands/explain.js'
import { register as lab } from './commands/lab.js'
import { register as observe } from './commands/observe.js'
import { register as run } from './commands/run.js'
import { register as status } from './commands/status.js'
import { register as top } from './commands/top.js'
import { register as undrain } from './commands/undrain.js'
import type { Register } from './program.js'

export const VERBS: readonly Register[] = [
  backend,
  check,
  completion,
  doctor,
  drain,
  explain,
  lab,
  observe,
  run,
  status,
  top,
  undrain,
]
