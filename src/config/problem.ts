// What is wrong with a configuration file and where: one line each, for people and for editors that jump to
// file:line:col. Made by everything in src/config; printed by the verbs. Guarantees: a message is one line.

export interface Problem {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly severity: 'error' | 'warning'
  readonly message: string
}

export interface Position {
  readonly line: number
  readonly column: number
}

export const FILE_START: Position = { line: 1, column: 1 }

const MAX_SHOWN = 60

export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, message } = problem
  return `${file}:${line}:${column}: ${severity === 'warning' ? 'warning: ' : ''}${message}`
}

/** By position, errors before warnings, and nothing twice. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>()
  return [...problems]
    .sort((a, b) => a.line - b.line || a.column - b.column || a.severity.localeCompare(b.severity))
    .filter((problem) => {
      const text = formatProblem(problem)
      return !seen.has(text) && seen.add(text)
    })
}

/** A value of a file, as a message shows it: short, on one line. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value !== 'string') return String(value)
  if (value.length <= MAX_SHOWN) return JSON.stringify(value)
  return `${JSON.stringify(value.slice(0, MAX_SHOWN))}... (${value.length} characters)`
}

/** `3 PoPs`, `1 PoP`. */
export function count(n: number, noun: string): string {
  return n === 1 ? `1 ${noun}` : `${n} ${noun}s`
}
