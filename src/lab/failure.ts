// What a step of the lab throws when it cannot go on. Carried to the outer process as a message and printed as one
// plain sentence; exit code 2 tells it from connections that broke (1).

export const EXIT_LAB_FAILED = 2

export class LabFailure extends Error {
  override readonly name = 'LabFailure'
  readonly exitCode = EXIT_LAB_FAILED

  constructor(
    message: string,
    /** The last lines of the log that explains it. */
    readonly log: readonly string[] = [],
  ) {
    super(message)
  }
}
