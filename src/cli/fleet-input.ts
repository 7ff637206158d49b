// Fleet file, key and names for the verbs that start something: read, or refused with every problem. Called by `run` and
// `backend`, at the start and for each reload. Guarantees: all problems are told, each on its line, before the closing
// sentence, which has the first.

import { loadFleetAside } from '../config/aside.js'
import { type FleetResult, loadFleet } from '../config/fleet-file.js'
import { loadKeys } from '../config/keys.js'
import { count, formatProblem, type Problem } from '../config/problem.js'
import { didYouMean } from '../config/suggest.js'
import { loadToken } from '../config/token.js'
import type { Key } from '../dataplane/generation.js'
import type { Fleet, Pop } from '../fleet/model.js'
import { listed } from '../host/host-error.js'
import { UserError } from './errors.js'
import type { Log } from './log.js'

/** Tells what is wrong with a file. */
type Refuse = (path: string, problems: readonly Problem[]) => never

/** At the start. */
export function readFleet(path: string, log: Log): Fleet {
  return accepted(loadFleet(path), path, log, refuseStart)
}

/** At a reload: whatever the file is, the process goes on meanwhile. */
export async function rereadFleet(path: string, log: Log): Promise<Fleet> {
  return accepted(await loadFleetAside(path), path, log, refuseReload(log))
}

function accepted(result: FleetResult, path: string, log: Log, refuse: Refuse): Fleet {
  if (!result.ok) return refuse(path, result.problems)
  for (const warning of result.warnings) log.warn(formatProblem(warning))
  return result.fleet
}

export function readKeys(path: string, log: Log, refuse: Refuse): readonly Key[] {
  const result = loadKeys(path)
  if (!result.ok) return refuse(path, result.problems)
  for (const warning of result.warnings) log.warn(formatProblem(warning))
  return result.keys
}

/** Of the admin interface. */
export function readToken(path: string, log: Log, refuse: Refuse): string {
  const result = loadToken(path)
  if (!result.ok) return refuse(path, result.problems)
  for (const warning of result.warnings) log.warn(formatProblem(warning))
  return result.token
}

/** On stderr, whatever the log is. */
export function refuseStart(path: string, problems: readonly Problem[]): never {
  const [only] = problems
  if (only !== undefined && problems.length === 1) throw new UserError(formatProblem(only))
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`)
  const errors = problems.filter(({ severity }) => severity === 'error')
  throw new UserError(`${path}: ${count(errors.length, 'error')}, nothing was started`)
}

/** In the log of a process that goes on. */
export function refuseReload(log: Log): Refuse {
  return (path, problems) => {
    for (const problem of problems) {
      if (problem.severity === 'error') log.error(formatProblem(problem))
      else log.warn(formatProblem(problem))
    }
    const [first, ...others] = problems.filter(({ severity }) => severity === 'error')
    const rest = others.length === 0 ? '' : ` (and ${count(others.length, 'more error')})`
    throw new UserError(first === undefined ? path : `${formatProblem(first)}${rest}`)
  }
}

/** The one of this name, and its PoP. */
export function findNamed<T extends { readonly name: string }>(
  fleet: Fleet,
  of: (pop: Pop) => readonly T[],
  what: { readonly noun: string; readonly option: string; readonly path: string },
  name: string,
): { readonly found: T; readonly pop: Pop } {
  for (const pop of fleet.pops) {
    const found = of(pop).find((candidate) => candidate.name === name)
    if (found !== undefined) return { found, pop }
  }
  const names = fleet.pops.flatMap((pop) => of(pop).map((candidate) => candidate.name))
  throw new UserError(
    `${what.option}: ${what.path} has no ${what.noun} ${JSON.stringify(name)}, expected one of ${listed(names)}${didYouMean(name, names)}`,
  )
}
