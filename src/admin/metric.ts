// What a row of the table of metrics is, and how the usual kinds of rows are made. Used by metrics.ts and the files of rows
// beside it.

import type { AnnounceReport } from '../announce/report.js'
import type { CounterInfo, WorkerStatus } from '../dataplane/addon.js'
import type { Generation } from '../dataplane/generation.js'
import type { Fleet, FleetNode } from '../fleet/model.js'
import type { Words } from '../operator/words.js'
import type { HealthSource } from './health-metrics.js'

/** Everything a value can come from. */
export interface MetricsInput {
  readonly side: 'node' | 'backend'
  readonly table: readonly CounterInfo[]
  readonly counters: BigUint64Array
  readonly generation: Generation
  readonly fleet: Fleet
  /** The fleet's other nodes; none on a backend machine. */
  readonly peers: readonly FleetNode[]
  /** This node, and what the operator said of it; absent on a backend machine. */
  readonly self?: FleetNode
  readonly words?: () => Words
  readonly worker: () => Pick<WorkerStatus, 'busyUs' | 'loops' | 'view'>
  /** Of the configuration. */
  readonly reload: { readonly successful: boolean; readonly lastSuccessMs: number }
  /** Of a node. */
  readonly health?: HealthSource
  /** Of a node that announces. */
  readonly announcements?: () => AnnounceReport | undefined
}

export type Labels = Readonly<Record<string, string | number>>
export type Sample = readonly [labels: Labels, value: number]

export interface Metric {
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  readonly labels: readonly string[]
  readonly help: string
  /** Where it is served: by `run` alone, or by `backend` too. */
  readonly sides: 'node' | 'both'
  /** The events of native/reason.h that it shows. */
  readonly events: readonly string[]
  readonly read: (input: MetricsInput) => Iterable<Sample>
}

type Sides = Metric['sides']

export function at(input: MetricsInput, kind: CounterInfo['kind'], name: string): number {
  const index = input.table.findIndex((row) => row.kind === kind && row.name === name)
  if (index < 0) throw new Error(`the data path has no counter ${kind} ${name}`)
  return Number(input.counters[index] ?? 0n)
}

/** A counter without labels that shows one event. */
export function event(name: string, of: string, sides: Sides, help: string): Metric {
  return {
    name: `steadycast_${name}_total`,
    kind: 'counter',
    labels: [],
    help,
    sides,
    events: [of],
    read: (input) => [[{}, at(input, 'event', of)]],
  }
}

/** A counter with one label, each value of which shows one event. */
export function events(
  name: string,
  label: string,
  of: Readonly<Record<string, string>>,
  help: string,
): Metric {
  return {
    name: `steadycast_${name}_total`,
    kind: 'counter',
    labels: [label],
    help,
    sides: 'node',
    events: Object.values(of),
    read: (input) =>
      Object.entries(of).map(([value, from]) => [{ [label]: value }, at(input, 'event', from)]),
  }
}

/** A counter with one label whose values are all rows of one kind. */
export function kind(name: string, label: string, of: 'drop' | 'exit', help: string): Metric {
  return {
    name: `steadycast_${name}_total`,
    kind: 'counter',
    labels: [label],
    help,
    sides: 'both',
    events: [],
    read: (input) =>
      input.table
        .filter((row) => row.kind === of)
        .map((row) => [{ [label]: row.name }, at(input, of, row.name)]),
  }
}

export function gauge(
  name: string,
  labels: readonly string[],
  help: string,
  read: Metric['read'],
): Metric {
  return {
    name: `steadycast_${name}`,
    kind: 'gauge',
    labels,
    help,
    sides: 'node',
    events: [],
    read,
  }
}
