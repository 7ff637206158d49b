// What a verb throws to tell its user something, and how any error becomes text and an exit code. Verbs throw
// UserError, or anything that carries message and exitCode; program.ts alone prints and exits. Guarantees one plain
// line for what the user can mend, and a stack with a request to report for what only the authors can.

import { CommanderError } from 'commander'
import { VERSION } from '../version.js'

export const EXIT_FAILURE = 1
/** The fault is the program's own: EX_SOFTWARE of sysexits.h. */
export const EXIT_BUG = 70

/** The message says what was wrong, where, what was expected, and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError'

  constructor(
    message: string,
    readonly exitCode: number = EXIT_FAILURE,
  ) {
    super(message)
  }
}

export interface Ending {
  /** For stderr, with its newline; empty when everything has been said already. */
  readonly text: string
  readonly exitCode: number
}

/** `steadycast: ...` on a single line, whatever the message's own lines were. */
export function plainLine(message: string): string {
  return `steadycast: ${message.trim().replace(/\s*\n\s*/g, ' ')}\n`
}

export function endingOf(error: unknown): Ending {
  // Commander has printed its own message, help or version by now, and gives those two exit code 0.
  if (error instanceof CommanderError) return { text: '', exitCode: error.exitCode }
  if (carriesExitCode(error)) {
    return { text: plainLine(error.message), exitCode: error.exitCode || EXIT_FAILURE }
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  const place = `steadycast ${VERSION}, node ${process.version}, ${process.platform} ${process.arch}`
  const request = plainLine(`this is a bug (${place}): please report it with the lines above`)
  return { text: `${stack}\n${request}`, exitCode: EXIT_BUG }
}

function carriesExitCode(error: unknown): error is { message: string; exitCode: number } {
  return (
    typeof error === 'object' &&
    error !== null &&
    'message' in error &&
    typeof error.message === 'string' &&
    'exitCode' in error &&
    typeof error.exitCode === 'number'
  )
}
