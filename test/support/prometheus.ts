// Reads metrics with a parser that is not ours. Used by tests of /metrics.

import { createRequire } from 'node:module'

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly metrics: readonly {
    readonly value?: string
    readonly labels?: Readonly<Record<string, string>>
  }[]
}

const parser = createRequire(import.meta.url)('parse-prometheus-text-format') as {
  default?: (text: string) => readonly Family[]
} & ((text: string) => readonly Family[])

export function parseMetrics(text: string): readonly Family[] {
  return (parser.default ?? parser)(text)
}

/** The value of the one series of this name whose labels include these; undefined when there is none. */
export function sampleOf(
  families: readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const series = families
    .find((family) => family.name === name)
    ?.metrics.filter((metric) =>
      Object.entries(labels).every(([label, value]) => metric.labels?.[label] === value),
    )
  if (series === undefined || series.length !== 1) return undefined
  return Number(series[0]?.value)
}
