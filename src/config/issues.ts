// Turns what zod found wrong with the shape of a fleet file into problems with positions.
// Called by fleet-file.ts. Guarantees: one problem per cause (a mistyped key is not reported missing as well),
// each saying what was found and what was expected.

import type { z } from 'zod'
import { show } from './problem.js'
import { fileShape, MAPPINGS } from './shape.js'
import type { Path, Source } from './source.js'

type Issue = z.core.$ZodIssue

/** The parsed file when its shape has no fault. */
export function checkShape(source: Source): z.output<typeof fileShape> | undefined {
  const result = parseShape(source)
  if (result === undefined) return undefined
  if (result.success) return result.data
  const mistyped = new Set<string>()
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys') reportUnknownKeys(source, issue, mistyped)
  }
  for (const issue of result.error.issues) {
    if (issue.code === 'unrecognized_keys') continue
    if (!mistyped.has(JSON.stringify(issue.path))) reportMisfit(source, issue)
  }
  return undefined
}

/** Zod hands the faults of a list on as arguments, for which the stack has room for some 100,000. */
function parseShape(source: Source) {
  try {
    return fileShape.safeParse(source.value)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    const message =
      'a list has so many faults that none can be told, expected a fleet file; see docs/configuration.md'
    source.error([], message)
    return undefined
  }
}

function reportUnknownKeys(
  source: Source,
  issue: z.core.$ZodIssueUnrecognizedKeys,
  mistyped: Set<string>,
): void {
  const path = plainPath(issue.path)
  const mapping = mappingAt(path)
  const known = Object.keys(mapping.shape.shape)
  const present = valueAt(source.value, path) as Readonly<Record<string, unknown>>
  const absent = known.filter((key) => !Object.hasOwn(present, key))
  for (const key of issue.keys) {
    const guess = source.suggest(key, absent)
    if (guess !== undefined) mistyped.add(JSON.stringify([...path, guess]))
    const hint = guess === undefined ? belongsIn(key) : `; did you mean "${guess}"?`
    const message = `unknown key ${show(key)} in ${mapping.noun}, expected ${known.join(', ')}${hint}`
    source.errorAtKey([...path, key], message)
  }
}

/** For a key at a wrong indentation. */
function belongsIn(key: string): string {
  const homes = Object.values(MAPPINGS).filter(({ shape }) => Object.hasOwn(shape.shape, key))
  return homes.length === 1 && homes[0] !== undefined ? `; it belongs in ${homes[0].noun}` : ''
}

function reportMisfit(source: Source, issue: Issue): void {
  const path = plainPath(issue.path)
  const value = valueAt(source.value, path)
  const expected = expectation(issue, path)
  const last = path.at(-1)
  if (value === undefined && typeof last === 'string') {
    const { noun } = mappingAt(path.slice(0, -1))
    source.error(path, `missing key "${last}" in ${noun}, expected ${expected}`)
  } else {
    source.error(path, `${label(path)}: got ${show(value)}, expected ${expected}`)
  }
}

function expectation(issue: Issue, path: Path): string {
  if (issue.code !== 'invalid_type') return issue.message
  if (issue.expected === 'array') return 'a list'
  return `a mapping of ${Object.keys(mappingAt(path).shape.shape).join(', ')}`
}

/** `port`, `ports[1]`, `the file`. */
function label(path: Path): string {
  const last = path.at(-1)
  if (last === undefined) return 'the file'
  return typeof last === 'string' ? last : `${path.at(-2)}[${last}]`
}

function mappingAt(path: Path) {
  const key = path.findLast((segment) => typeof segment === 'string') ?? ''
  const mapping = MAPPINGS[key]
  if (mapping === undefined) throw new Error(`no mapping stands under ${JSON.stringify(key)}`)
  return mapping
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const segment of path) at = (at as Readonly<Record<string, unknown>> | undefined)?.[segment]
  return at
}

function plainPath(path: readonly PropertyKey[]): Path {
  return path.map((segment) => (typeof segment === 'symbol' ? String(segment) : segment))
}
