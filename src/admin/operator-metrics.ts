// The metrics of what the operator said: part of the one table in metrics.ts. Guarantees: every word has its series from the
// start.

import type { Word, Words } from '../operator/words.js'
import { gauge, type Metric, type MetricsInput } from './metric.js'

const WORDS: readonly Word[] = ['ready', 'draining', 'maintenance']

/** One series for each word, 1 for the one that holds. */
function series(labels: Readonly<Record<string, string>>, said: Word) {
  return WORDS.map((word) => [{ ...labels, word }, Number(word === said)] as const)
}

const ofWords =
  (read: (input: MetricsInput, words: Words) => ReturnType<typeof series>): Metric['read'] =>
  (input) =>
    input.words === undefined ? [] : read(input, input.words())

export const OPERATOR_METRICS: readonly Metric[] = [
  gauge(
    'node_word',
    ['word'],
    '1 for what the operator said of this node: ready, draining or maintenance (docs/drain.md).',
    ofWords((_, words) => series({}, words.node)),
  ),
  gauge(
    'backend_word',
    ['backend', 'word'],
    "1 for what the operator said of a backend of this node's PoP: ready, draining or maintenance.",
    ofWords(({ generation, self }, words) =>
      generation.backendRows
        .filter(({ popId }) => popId === self?.popId)
        .flatMap(({ id, name }) => series({ backend: name }, words.backends.get(id) ?? 'ready')),
    ),
  ),
]
