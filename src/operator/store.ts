// The words that the operator said of this node and of its PoP's backends, kept in the state folder so that they outlive
// the process. Made by the verb `run`; told by the admin interface. Guarantees: written whole or not at all, and before they
// are in force; what cannot be trusted is nothing, with a reason; whoever listens hears of every change once.

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { MAX_BACKENDS } from '../fleet/limits.js'
import { NO_WORDS, type Word, type Words } from './words.js'

const LAYOUT = 1
/** A PoP with as many backends as there may be, each with a word. */
const MAX_WORDS_FILE_BYTES = 1024 * 1024

const wordShape = z.enum(['ready', 'draining', 'maintenance'])
const sinceShape = z.int().min(0)
const fileShape = z.strictObject({
  layout: z.literal(LAYOUT),
  node: z.strictObject({ word: wordShape, sinceMs: sinceShape }),
  backends: z
    .array(
      z.strictObject({
        id: z.int().min(1).max(0xffffffff),
        word: wordShape.exclude(['ready']),
        sinceMs: sinceShape,
      }),
    )
    .max(MAX_BACKENDS),
})

export interface Said {
  readonly word: Word
  /** In milliseconds since 1970. */
  readonly sinceMs: number
}

/** What is to be said now; what it does not name stays. */
export interface Saying {
  readonly node?: Word | undefined
  /** By backend id. */
  readonly backends?: ReadonlyMap<number, Word> | undefined
}

export type WordsListener = (words: Words) => void

interface State {
  readonly node: Said
  readonly backends: ReadonlyMap<number, Said>
}

export class WordStore {
  readonly #path: string
  readonly #nowMs: () => number
  readonly #listeners: WordsListener[] = []
  #state: State
  #words: Words = NO_WORDS

  private constructor(path: string, state: State, nowMs: () => number) {
    this.#path = path
    this.#nowMs = nowMs
    this.#state = state
    this.#words = wordsOf(state)
  }

  /** `doubt`: why what is there is not believed; then nothing has been said. */
  static read(
    path: string,
    nowMs: () => number = Date.now,
  ): { readonly store: WordStore; readonly doubt?: string } {
    const silent: State = { node: { word: 'ready', sinceMs: nowMs() }, backends: new Map() }
    const found = readState(path, nowMs())
    if (typeof found === 'object') return { store: new WordStore(path, found, nowMs) }
    const store = new WordStore(path, silent, nowMs)
    return found === undefined ? { store } : { store, doubt: found }
  }

  get words(): Words {
    return this.#words
  }

  /** Of this node, and since when. */
  get ofNode(): Said {
    return this.#state.node
  }

  /** Undefined: nobody said anything. */
  ofBackend(id: number): Said | undefined {
    return this.#state.backends.get(id)
  }

  /** Throws when it cannot be written down; then nothing has been said. */
  say({ node, backends = new Map() }: Saying): void {
    const now = this.#nowMs()
    const next = new Map(this.#state.backends)
    for (const [id, word] of backends) {
      if (word === 'ready') next.delete(id)
      else if (next.get(id)?.word !== word) next.set(id, { word, sinceMs: now })
    }
    const same = node === undefined || node === this.#state.node.word
    this.#become({
      node: same ? this.#state.node : { word: node, sinceMs: now },
      backends: next,
    })
  }

  /** Backends that are not configured any more have no word. How many there were. */
  keepOnly(ids: ReadonlySet<number>): number {
    const left = new Map([...this.#state.backends].filter(([id]) => ids.has(id)))
    const dropped = this.#state.backends.size - left.size
    if (dropped > 0) this.#become({ ...this.#state, backends: left })
    return dropped
  }

  onChange(listener: WordsListener): void {
    this.#listeners.push(listener)
  }

  #become(state: State): void {
    const before = this.#words
    const words = wordsOf(state)
    if (sameWords(before, words)) return
    writeState(this.#path, state)
    this.#state = state
    this.#words = words
    for (const listener of this.#listeners) listener(words)
  }
}

function wordsOf({ node, backends }: State): Words {
  return { node: node.word, backends: new Map([...backends].map(([id, { word }]) => [id, word])) }
}

function sameWords(one: Words, other: Words): boolean {
  if (one.node !== other.node || one.backends.size !== other.backends.size) return false
  return [...one.backends].every(([id, word]) => other.backends.get(id) === word)
}

/** Undefined: there is none. Text: why it is not believed. */
function readState(path: string, nowMs: number): State | string | undefined {
  let value: unknown
  try {
    const bytes = readFileSync(path)
    if (bytes.length > MAX_WORDS_FILE_BYTES) return `it has more than ${MAX_WORDS_FILE_BYTES} bytes`
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return 'it is not JSON'
    const code = (error as NodeJS.ErrnoException).code
    return code === 'ENOENT' ? undefined : `it cannot be read (${code})`
  }
  const parsed = fileShape.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return `${issue?.path.join('.') || 'the whole'}: ${issue?.message}`
  }
  // A clock that was set back must not make a word older than it is.
  const sane = (sinceMs: number) => Math.min(sinceMs, nowMs)
  const { node, backends } = parsed.data
  const ids = new Set(backends.map(({ id }) => id))
  if (ids.size !== backends.length) return 'it names a backend twice'
  return {
    node: { ...node, sinceMs: sane(node.sinceMs) },
    backends: new Map(
      backends.map(({ id, word, sinceMs }) => [id, { word, sinceMs: sane(sinceMs) }]),
    ),
  }
}

function writeState(path: string, { node, backends }: State): void {
  const list = [...backends].map(([id, said]) => ({ id, ...said }))
  const next = `${path}.new`
  writeFileSync(next, `${JSON.stringify({ layout: LAYOUT, node, backends: list })}\n`, {
    mode: 0o600,
  })
  renameSync(next, path)
}
