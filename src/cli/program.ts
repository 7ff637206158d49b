// The command line around the verbs: name, version, and what every error looks like to the person who typed it. Called
// by main.ts with the verbs to offer. Guarantees that nothing a verb does wrong ends in exit code 0 or in silence.

import { Command } from 'commander'
import { VERSION } from '../version.js'
import { endingOf, plainLine } from './errors.js'
import { helpEnd } from './reference/examples.js'

/** Adds one verb; every file of commands/ exports one as `register`. */
export type Register = (program: Command) => void

/** Verbs are added with `program.command(...)`, which inherits the settings made here. */
export function createProgram(verbs: readonly Register[]): Command {
  const program = new Command('steadycast')
    .description('Keeps TCP connections alive over anycast.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(plainLine(usageError(message))),
    })
  for (const register of verbs) register(program)
  for (const verb of program.commands) verb.addHelpText('after', helpEnd(verb.name()))
  return program
}

export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  process.on('uncaughtException', end)
  // The reader of a pipe has seen enough ("steadycast check | head"): ended as SIGPIPE would, 128 and 13, so that
  // what it missed does not pass for a success.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(141)
    end(error)
  })
  try {
    await program.parseAsync(argv)
  } catch (error) {
    end(error)
  }
}

function usageError(message: string): string {
  return `${message.replace(/^error: /, '').trim()}; "steadycast --help" lists what there is`
}

function end(error: unknown): never {
  const { text, exitCode } = endingOf(error)
  process.stderr.write(text)
  process.exit(exitCode)
}
