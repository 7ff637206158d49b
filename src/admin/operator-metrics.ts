// The metrics of what the operator said: part of the one table in metrics.ts. Guarantees: every word has its series from the
// start.

import type { Word, Words } from '../operator/words.js'
import type { Metric, MetricsInput } from './metrics.js'

const WORDS: readonly Word[] = ['ready', 'draining', 'maintenance']

/** One series for each word, 1 for the one that holds. */
function series(labels: Readonly<Record<string, string>>, said: Word) {
  return WORDS.map((word) => [{ ...labels, word }, Number(word === said)] as const)
}

const gauge = (
  name: string,
  labels: readonly string[],
  help: string,
  read: (input: MetricsInput, words: Words) => ReturnType<typeof series>,
): Metric => ({
  name: `steadycast_${name}`,
  kind: 'gauge',
  labels,
  help,
  sides: 'node',
  events: [],
  read: (input) => (input.words === undefined ? [] : read(input, input.words())),
})

export const OPERATOR_METRICS: readonly Metric[] = [
  gauge(
    'node_word',
    ['word'],
    '1 for what the operator said of this node: ready, draining or maintenance (docs/drain.md).',
    (_, words) => series({}, words.node),
  ),
  gauge(
    'backend_word',
    ['backend', 'word'],
    "1 for what the operator said of a backend of this node's PoP: ready, draining or maintenance.",
    ({ generation, self }, words) =>
      generation.backendRows
        .filter(({ popId }) => popId === self?.popId)
        .flatMap(({ id, name }) => series({ backend: name }, words.backends.get(id) ?? 'ready')),
  ),
]
