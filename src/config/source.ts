// A YAML text with its positions: where the value at a path stands, where its key stands, and the plain value.
// Called by fleet-file.ts, which adds what is wrong. Guarantees: every path has a position (the nearest thing
// that exists), integers keep all their digits, and neither aliases nor depth can exhaust the process.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  type Pair,
  type ParsedNode,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml'
import {
  MAX_COMPARED_NAMES,
  MAX_YAML_DEPTH,
  MAX_YAML_TOKENS,
  MAX_YAML_VALUES,
} from '../fleet/limits.js'
import { FILE_START, type Position, type Problem, show } from './problem.js'
import { suggest } from './suggest.js'
import { keyText, plainValue, type Targets, TooDeep, TooMuch, targetsOf } from './yaml-value.js'

export type Path = readonly (string | number)[]

/** Of the lexer: document start, flow error, scalar ahead. They stand for no text. */
const CONTROL_TOKENS = ['\u0002', '\u0018', '\u001f']

const TOO_LONG = `YAML: more than ${MAX_YAML_TOKENS} words and marks, expected at most as many (MAX_YAML_TOKENS)`

const TOO_DEEP = `YAML: nested too deeply, expected at most ${MAX_YAML_DEPTH} levels (MAX_YAML_DEPTH)`

/** The parser quotes what it does not understand, however long it is. */
const MAX_YAML_MESSAGE = 160

export class Source {
  readonly value: unknown
  readonly #problems: Problem[] = []
  readonly #lines = new LineCounter()
  readonly #pairs = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>()
  readonly #document: Document.Parsed<ParsedNode, true> | undefined
  #targets: Targets = new Map()
  #broken = false
  #comparisons = MAX_COMPARED_NAMES

  constructor(
    text: string,
    readonly file: string,
  ) {
    const excess = excessOf(text)
    if (excess !== undefined) {
      this.#broken = true
      this.#report('error', excess.position, excess.message)
      return
    }
    // An error of the parser for each of a million places: their stacks would take most of the time.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      this.#document = parseDocument(text, {
        intAsBigInt: true,
        lineCounter: this.#lines,
        prettyErrors: false,
        uniqueKeys: false,
      })
      this.#reportSyntax(this.#document)
      if (this.#broken) return
      this.#reportDuplicateKeys(this.#document)
      this.value = plainValue(this.#document, this.#targets)
    } catch (error) {
      this.#reportThrown(error)
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  }

  /** The text is no YAML, and `value` means nothing. */
  get broken(): boolean {
    return this.#broken
  }

  get problems(): readonly Problem[] {
    return this.#problems
  }

  get hasErrors(): boolean {
    return this.#problems.some((problem) => problem.severity === 'error')
  }

  error(path: Path, message: string): void {
    this.#report('error', this.positionOf(path), message)
  }

  errorAtKey(path: Path, message: string): void {
    this.#report('error', this.keyPositionOf(path), message)
  }

  warnAtKey(path: Path, message: string): void {
    this.#report('warning', this.keyPositionOf(path), message)
  }

  /** `; did you mean "x"?` or nothing. */
  didYouMean(word: string, known: readonly string[]): string {
    const nearest = this.suggest(word, known)
    return nearest === undefined ? '' : `; did you mean "${nearest}"?`
  }

  /** Silent when the file's other faults have used the comparisons up. */
  suggest(word: string, known: readonly string[]): string | undefined {
    if (known.length > this.#comparisons) return undefined
    this.#comparisons -= known.length
    return suggest(word, known)
  }

  /** `line:col` of a value, to be named in a message about another. */
  whereIs(path: Path): string {
    const { line, column } = this.positionOf(path)
    return `${line}:${column}`
  }

  positionOf(path: Path): Position {
    return this.#find(path).value
  }

  keyPositionOf(path: Path): Position {
    return this.#find(path).key
  }

  #find(path: Path): { key: Position; value: Position } {
    let node: unknown = this.#document?.contents
    let found = { key: FILE_START, value: this.#place(node) ?? FILE_START }
    for (const segment of path) {
      if (isAlias(node)) node = this.#targets.get(node)
      const [key, value] = this.#child(node, segment)
      if (key === undefined && value === undefined) break
      const valuePlace = this.#place(value)
      const keyPlace = this.#place(key) ?? valuePlace ?? found.value
      found = { key: keyPlace, value: isNothing(value) ? keyPlace : (valuePlace ?? keyPlace) }
      node = value
    }
    return found
  }

  #child(node: unknown, segment: string | number): readonly [unknown, unknown] {
    if (isMap(node)) {
      const pair = this.#pairsOf(node).get(String(segment))
      return [pair?.key, pair?.value]
    }
    const items = (node as { items?: readonly unknown[] } | null | undefined)?.items
    return [undefined, items?.[Number(segment)]]
  }

  /** Kept, because a file may have as many problems as a mapping has keys. Of equal keys the first. */
  #pairsOf(map: YAMLMap): ReadonlyMap<string, Pair> {
    const kept = this.#pairs.get(map)
    if (kept !== undefined) return kept
    const pairs = new Map<string, Pair>()
    for (const pair of map.items) {
      const name = keyText(pair.key)
      if (!pairs.has(name)) pairs.set(name, pair)
    }
    this.#pairs.set(map, pairs)
    return pairs
  }

  #place(node: unknown): Position | undefined {
    const range = (node as { range?: readonly number[] | null } | null | undefined)?.range
    return range?.[0] === undefined ? undefined : this.#offset(range[0])
  }

  #offset(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset)
    return line < 1 || col < 1 ? FILE_START : { line, column: col }
  }

  #report(severity: Problem['severity'], position: Position, message: string): void {
    this.#problems.push({ file: this.file, ...position, severity, message })
  }

  #reportSyntax(document: Document.Parsed): void {
    const tabs = document.errors.filter(({ code }) => code === 'TAB_AS_INDENT')
    // A tab confuses the parser about all that follows.
    for (const error of tabs.length > 0 ? tabs : document.errors) {
      this.#broken = true
      this.#report('error', this.#offset(error.pos[0]), syntaxMessage(error))
    }
    for (const warning of document.warnings) {
      this.#report('error', this.#offset(warning.pos[0]), syntaxMessage(warning))
    }
    if (this.#broken) return
    this.#targets = targetsOf(document)
    for (const [alias, target] of this.#targets) {
      if (target !== undefined || !isAlias(alias)) continue
      this.#broken = true
      const message = `alias *${alias.source} has no anchor, expected &${alias.source} further up`
      this.#report('error', this.#place(alias) ?? FILE_START, message)
    }
  }

  #reportDuplicateKeys(document: Document.Parsed): void {
    visit(document, {
      Map: (_, map) => {
        const first = new Map<string, Position>()
        for (const { key } of map.items) {
          const position = this.#place(key) ?? FILE_START
          const name = keyText(key)
          const earlier = first.get(name)
          if (earlier === undefined) first.set(name, position)
          else {
            const place = `${earlier.line}:${earlier.column}`
            this.#report(
              'error',
              position,
              `key ${show(name)} again, expected once; the first is at ${place}`,
            )
          }
        }
      },
    })
  }

  #reportThrown(error: unknown): void {
    this.#broken = true
    if (error instanceof TooDeep) this.#report('error', FILE_START, TOO_DEEP)
    else if (error instanceof RangeError) {
      const message =
        'YAML: nested too deeply, or too many faults in a row, expected a fleet file; see docs/configuration.md'
      this.#report('error', FILE_START, message)
    } else if (error instanceof TooMuch) {
      const [alias] = this.#targets.keys()
      const message =
        alias === undefined
          ? `YAML: more than ${MAX_YAML_VALUES} keys and values, expected at most as many (MAX_YAML_VALUES)`
          : `aliases (*name) expand to too much, expected at most ${MAX_YAML_VALUES} values in all (MAX_YAML_VALUES)`
      this.#report('error', this.#place(alias) ?? FILE_START, message)
    } else throw error
  }
}

interface Excess {
  readonly position: Position
  readonly message: string
}

/** What the parser would need too much time for, or, with brackets or dashes of one line that nest, memory. */
function excessOf(text: string): Excess | undefined {
  let offset = 0
  let tokens = 0
  let brackets = 0
  let dashes = 0
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') brackets++
    else if (token === ']' || token === '}') brackets--
    else if (token === '-' || token === '?') dashes++
    else if (token.trim() !== '') dashes = 0
    if (brackets + dashes > MAX_YAML_DEPTH) {
      return { position: positionAt(text, offset), message: TOO_DEEP }
    }
    if (CONTROL_TOKENS.includes(token)) continue
    if (++tokens > MAX_YAML_TOKENS) return { position: positionAt(text, offset), message: TOO_LONG }
    offset += token.length
  }
  return undefined
}

function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
}

function isNothing(node: unknown): boolean {
  return node === null || node === undefined || (isScalar(node) && node.value === null)
}

function syntaxMessage({ code, message }: YAMLError): string {
  if (code === 'TAB_AS_INDENT') return 'YAML: a tab as indentation, expected spaces'
  if (message.includes('call stack')) return TOO_DEEP
  if (code === 'MULTIPLE_DOCS') return 'YAML: a second document (---), expected one'
  return `YAML: ${oneLine(message)}`
}

function oneLine(message: string): string {
  const line = message.trim().replace(/\s*\n\s*/g, ' ')
  return line.length > MAX_YAML_MESSAGE ? `${line.slice(0, MAX_YAML_MESSAGE)}...` : line
}
