// What a node's admin interface has besides /metrics and /healthz: its status, and the words that an operator says to it.
// Made by the verb `run`. Guarantees: a request of words is done whole or not at all; the answer to a change is what is in
// force afterwards.

import { z } from 'zod'
import { didYouMean } from '../config/suggest.js'
import { MAX_BACKENDS } from '../fleet/limits.js'
import type { Backend } from '../fleet/model.js'
import type { WordStore } from '../operator/store.js'
import { STATUS_FRESH_MS, type StatusDocument } from '../status/model.js'
import { type Answer, jsonAnswer, type Pages, refusal } from './answer.js'

export interface NodeSources {
  /** Undefined until the worker runs. */
  readonly status: () => StatusDocument | undefined
  /** Never set back. */
  readonly nowMs: () => number
  readonly words: WordStore
  /** Of this node's PoP, as its fleet file has them. */
  readonly backends: () => readonly Backend[]
  /** Ends the process as SIGTERM does. */
  readonly stop: () => void
}

const wordShape = z.enum(['ready', 'draining', 'maintenance'])
const wordsShape = z.strictObject({
  node: wordShape.optional(),
  /** By name. */
  backends: z.record(z.string(), wordShape).optional(),
})
const nothingShape = z.strictObject({})

/** Words as they are told and answered: by name. */
export type WordsBody = z.infer<typeof wordsShape>

/** The answer reaches whoever asked before the process goes. */
const STOP_AFTER_MS = 100

export function nodePages(sources: NodeSources): Pages {
  let stopping = false
  let last: { readonly answer: Answer; readonly atMs: number } | undefined
  // Who has changed a word sees it.
  sources.words.onChange(() => {
    last = undefined
  })
  return {
    '/status': {
      kind: 'read',
      read: () => {
        const atMs = sources.nowMs()
        if (last !== undefined && atMs - last.atMs < STATUS_FRESH_MS) return last.answer
        const status = sources.status()
        if (status === undefined) return refusal(503, 'starting: the worker does not run yet')
        last = { answer: jsonAnswer(status), atMs }
        return last.answer
      },
    },
    '/words': { kind: 'change', change: (body) => sayWords(sources, body) },
    '/stop': {
      kind: 'change',
      change: (body) => {
        if (!nothingShape.safeParse(body).success) return refusal(400, 'expected the body {}')
        // A second SIGTERM would end the process at once, with nothing taken back.
        if (!stopping) setTimeout(sources.stop, STOP_AFTER_MS)
        stopping = true
        return jsonAnswer({ stopping: true }, 202)
      },
    },
  }
}

function sayWords({ words, backends }: NodeSources, body: unknown): Answer {
  const parsed = wordsShape.safeParse(body)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const where = issue?.path.join('.') || 'the body'
    return refusal(
      400,
      `${where}: ${issue?.message}; expected {"node": WORD, "backends": {NAME: WORD}} with ready, draining or maintenance`,
    )
  }
  const known = backends()
  // Not of what was parsed, which has lost a backend that calls itself __proto__.
  const said = Object.entries((body as WordsBody).backends ?? {})
  if (said.length > MAX_BACKENDS) {
    return refusal(400, `${said.length} backends, expected at most ${MAX_BACKENDS} (MAX_BACKENDS)`)
  }
  const ids = new Map(known.map(({ name, id }) => [name, id]))
  const unknown = said.map(([name]) => name).find((name) => !ids.has(name))
  if (unknown !== undefined) {
    return refusal(
      422,
      `this node's fleet file has no backend ${JSON.stringify(unknown)} in its PoP, expected one of it; nothing was changed${didYouMean(unknown, ids.keys())}`,
    )
  }
  try {
    words.say({
      node: parsed.data.node,
      backends: new Map(
        said.flatMap(([name, word]) => {
          const id = ids.get(name)
          return id === undefined ? [] : [[id, word] as const]
        }),
      ),
    })
  } catch (error) {
    return refusal(
      507,
      `the words cannot be written down, so they are not in force: ${(error as Error).message}`,
    )
  }
  return jsonAnswer(wordsInForce(words, known))
}

/** By name; what is ready is not named. */
export function wordsInForce({ words }: WordStore, known: readonly Backend[]): WordsBody {
  const said = known.flatMap(({ id, name }) => {
    const word = words.backends.get(id)
    return word === undefined ? [] : [[name, word] as const]
  })
  return { node: words.node, backends: Object.fromEntries(said) }
}
