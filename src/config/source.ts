// A YAML text with its positions: where the value at a path stands, where its key stands, and the plain value.
// Called by fleet-file.ts, which adds what is wrong. Guarantees: every path has a position (the nearest thing
// that exists), integers keep all their digits, and neither aliases nor depth can exhaust the process.

import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  Lexer,
  LineCounter,
  type ParsedNode,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml'
import { MAX_YAML_ALIASES, MAX_YAML_DEPTH } from '../fleet/limits.js'
import { FILE_START, type Position, type Problem, show } from './problem.js'

export type Path = readonly (string | number)[]

/** Integers beyond Number's exact range stay bigint, and so does everything under this key. */
const BIG_KEY = 'hash_seed'

/** Of the lexer: document start, flow error, scalar ahead. They stand for no text. */
const CONTROL_TOKENS = ['\u0002', '\u0018', '\u001f']

const TOO_DEEP = `YAML: nested too deeply, expected at most ${MAX_YAML_DEPTH} levels (MAX_YAML_DEPTH)`

/** The parser quotes what it does not understand, however long it is. */
const MAX_YAML_MESSAGE = 160

export class Source {
  readonly value: unknown
  readonly #problems: Problem[] = []
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed<ParsedNode, true> | undefined
  #broken = false

  constructor(
    text: string,
    readonly file: string,
  ) {
    const tooDeep = depthExceeded(text)
    if (tooDeep !== undefined) {
      this.#broken = true
      this.#report('error', tooDeep, TOO_DEEP)
      return
    }
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
      this.value = this.#document.toJS({ maxAliasCount: MAX_YAML_ALIASES, reviver: shrink })
    } catch (error) {
      this.#reportThrown(error)
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
      if (isAlias(node) && this.#document !== undefined) node = node.resolve(this.#document)
      const [key, value] = child(node, segment)
      if (key === undefined && value === undefined) break
      const valuePlace = this.#place(value)
      const keyPlace = this.#place(key) ?? valuePlace ?? found.value
      found = { key: keyPlace, value: isNothing(value) ? keyPlace : (valuePlace ?? keyPlace) }
      node = value
    }
    return found
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
    visit(document, {
      Alias: (_, alias) => {
        if (alias.resolve(document) !== undefined) return
        this.#broken = true
        const message = `alias *${alias.source} has no anchor, expected &${alias.source} further up`
        this.#report('error', this.#place(alias) ?? FILE_START, message)
      },
    })
  }

  #reportDuplicateKeys(document: Document.Parsed): void {
    visit(document, {
      Map: (_, map) => {
        const first = new Map<string, Position>()
        for (const { key } of map.items) {
          const position = this.#place(key) ?? FILE_START
          const name = isScalar(key) ? String(key.value) : String(key)
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
    if (error instanceof RangeError) {
      this.#report('error', FILE_START, TOO_DEEP)
    } else if (error instanceof ReferenceError) {
      const message = `aliases (*name) expand to too much, expected at most ${MAX_YAML_ALIASES} (MAX_YAML_ALIASES)`
      this.#report('error', this.#firstAlias(), message)
    } else throw error
  }

  #firstAlias(): Position {
    let position = FILE_START
    visit(this.#document ?? null, {
      Alias: (_, alias) => {
        position = this.#place(alias) ?? FILE_START
        return visit.BREAK
      },
    })
    return position
  }
}

/** Where brackets, or dashes of one line, nest too deeply: the parser needs memory for each, whatever the file's size. */
function depthExceeded(text: string): Position | undefined {
  let offset = 0
  let brackets = 0
  let dashes = 0
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') brackets++
    else if (token === ']' || token === '}') brackets--
    else if (token === '-' || token === '?') dashes++
    else if (token.trim() !== '') dashes = 0
    if (brackets + dashes > MAX_YAML_DEPTH) {
      const before = text.slice(0, offset).split('\n')
      return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
    }
    if (!CONTROL_TOKENS.includes(token)) offset += token.length
  }
  return undefined
}

function child(node: unknown, segment: string | number): readonly [unknown, unknown] {
  if (isMap(node)) {
    const pair = node.items.find(
      ({ key }) => isScalar(key) && String(key.value) === String(segment),
    )
    return isPair(pair) ? [pair.key, pair.value] : [undefined, undefined]
  }
  const items = (node as { items?: readonly unknown[] } | null | undefined)?.items
  return [undefined, items?.[Number(segment)]]
}

function isNothing(node: unknown): boolean {
  return node === null || node === undefined || (isScalar(node) && node.value === null)
}

function shrink(key: unknown, value: unknown): unknown {
  if (typeof value !== 'bigint' || key === BIG_KEY) return value
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
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
