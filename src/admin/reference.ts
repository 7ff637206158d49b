// docs/metrics.md, made from the tables of metrics and counters. Called by scripts/metrics-doc.mjs, which writes it, and
// by the test that holds the file against it.

import type { CounterInfo } from '../dataplane/addon.js'
import type { Metric } from './metric.js'
import { METRICS } from './metrics.js'
import { DROPS_TO_DO, METRICS_TO_DO } from './what-to-do.js'

const PREFIX = 'steadycast_'

const HEAD = `# Metrics

Served at \`/metrics\` by \`steadycast run\` (127.0.0.1:6080) and \`steadycast backend\` (127.0.0.1:6081) in the Prometheus text
format. Every series is there from the start, at zero. Besides these there are the \`process_\` and \`nodejs_\` metrics that
Prometheus users know. No client's address is ever a label.

How to scrape them, alerts and a dashboard: [monitoring.md](monitoring.md). Where the last column is empty there is nothing to do:
the metric is traffic, or explains another one. This page is written by \`npm run docs:metrics\` from the tables in the code.
`

export function metricsReference(counters: readonly CounterInfo[]): string {
  const sections = [
    HEAD,
    '## All metrics',
    table(['name', 'type', 'labels', 'served by', 'meaning', 'what to do'], METRICS.map(metricRow)),
    '## Why packets are dropped',
    'The values of `reason` of `steadycast_dropped_packets_total`, in the order of the checks.',
    counterTable('reason', counters, 'drop', DROPS_TO_DO),
    '## Where packets go',
    'The values of `exit` of `steadycast_packets_total`.',
    counterTable('exit', counters, 'exit'),
  ]
  return `${sections.join('\n\n').replaceAll('\n\n\n', '\n\n')}\n`
}

function metricRow({ name, kind, labels, sides, help }: Metric): readonly string[] {
  const names = labels.map((label) => `\`${label}\``).join(', ')
  const served = sides === 'node' ? '`run`' : '`run`, `backend`'
  return [`\`${name}\``, kind, names, served, help, METRICS_TO_DO[name.slice(PREFIX.length)] ?? '']
}

function counterTable(
  label: string,
  counters: readonly CounterInfo[],
  kind: CounterInfo['kind'],
  toDo?: Readonly<Record<string, string>>,
): string {
  const rows = counters.filter((row) => row.kind === kind)
  const last = (cell: string) => (toDo === undefined ? [] : [cell])
  return table(
    [label, 'meaning', ...last('what to do')],
    rows.map(({ name, help }) => [`\`${name}\``, help, ...last(toDo?.[name] ?? '')]),
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
