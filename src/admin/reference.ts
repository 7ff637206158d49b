// docs/metrics.md, made from the tables of metrics and counters. Called by scripts/metrics-doc.mjs, which writes it, and
// by the test that holds the file against it.

import type { CounterInfo } from '../dataplane/addon.js'
import { METRICS, type Metric } from './metrics.js'

const HEAD = `# Metrics

Served at \`/metrics\` by \`steadycast run\` (127.0.0.1:6080) and \`steadycast backend\` (127.0.0.1:6081) in the Prometheus text
format. Every series is there from the start, at zero. Besides these there are the \`process_\` and \`nodejs_\` metrics that
Prometheus users know. No client's address is ever a label.

This page is written by \`npm run docs:metrics\` from the tables in the code.
`

export function metricsReference(counters: readonly CounterInfo[]): string {
  const sections = [
    HEAD,
    '## All metrics',
    table(['name', 'type', 'labels', 'served by', 'meaning'], METRICS.map(metricRow)),
    '## Why packets are dropped',
    'The values of `reason` of `steadycast_dropped_packets_total`, in the order of the checks.',
    counterTable('reason', counters, 'drop'),
    '## Where packets go',
    'The values of `exit` of `steadycast_packets_total`.',
    counterTable('exit', counters, 'exit'),
  ]
  return `${sections.join('\n\n').replaceAll('\n\n\n', '\n\n')}\n`
}

function metricRow({ name, kind, labels, sides, help }: Metric): readonly string[] {
  const names = labels.map((label) => `\`${label}\``).join(', ')
  const served = sides === 'node' ? '`run`' : '`run`, `backend`'
  return [`\`${name}\``, kind, names, served, help]
}

function counterTable(
  label: string,
  counters: readonly CounterInfo[],
  kind: CounterInfo['kind'],
): string {
  const rows = counters.filter((row) => row.kind === kind)
  return table(
    [label, 'meaning'],
    rows.map(({ name, help }) => [`\`${name}\``, help]),
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
