// The verb `completion`: prints a completion for the user's shell. Called by main.ts. Guarantees: it offers the verbs and
// options of this very program.

import { Argument, type Command } from 'commander'
import { completion, SHELLS, type Shell } from '../reference/completion.js'
import { verbTable } from '../reference/verbs.js'

export function register(program: Command): void {
  program
    .command('completion')
    .description('print the completion of this command for a shell')
    .addArgument(new Argument('<shell>', 'whose completion').choices(SHELLS))
    .action((shell: Shell) => {
      process.stdout.write(completion(shell, verbTable(program)))
    })
}
