// The metrics of health: what src/health knows of backends, services and the node's own path. Part of the one table in
// metrics.ts.

import type { Service } from '../fleet/model.js'
import type { Checked } from '../health/checker.js'
import { RESULTS, type Result } from '../health/outcome.js'
import type { HealthReport } from '../health/report.js'

/** Where the values come from. */
export interface HealthSource {
  report(): HealthReport
  readonly checks: readonly Checked[]
  readonly probeCounts: readonly {
    readonly service: Service
    readonly counts: ReadonlyMap<Result, number>
  }[]
}

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number]

export interface HealthMetric {
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  readonly labels: readonly string[]
  readonly help: string
  readonly read: (source: HealthSource) => readonly Sample[]
}

function ofChecks(value: (checked: Checked) => number): HealthMetric['read'] {
  return ({ checks }) =>
    checks.map((one) => [{ backend: one.backend.name, service: one.service.name }, value(one)])
}

function counted(labels: Labels, counts: ReadonlyMap<Result, number>): readonly Sample[] {
  return RESULTS.map((result) => [{ ...labels, result }, counts.get(result) ?? 0])
}

export const HEALTH_METRICS: readonly HealthMetric[] = [
  {
    name: 'backend_up',
    kind: 'gauge',
    labels: ['backend', 'service'],
    help: '1 when this node finds the backend up for the service, 0 when down or not known yet. Backends of this PoP, services with health.',
    read: ofChecks(({ status }) => Number(status.state === 'up')),
  },
  {
    name: 'backend_path_up',
    kind: 'gauge',
    labels: ['backend', 'service'],
    help: "0 when this node's own connections through the VIP do not reach the backend, though its check succeeds; 1 when they do or there is nothing to tell.",
    read: (source) => {
      const { backends } = source.report()
      return source.checks.map(({ backend, service }, row) => [
        { backend: backend.name, service: service.name },
        Number(backends[row]?.path !== 'down'),
      ])
    },
  },
  {
    name: 'backend_share_ratio',
    kind: 'gauge',
    labels: ['backend', 'service'],
    help: 'What part of its weight the backend takes new connections of the service by: 1 is all, less a slow start, 0 none.',
    read: (source) => {
      const { backends } = source.report()
      return source.checks.map(({ backend, service }, row) => [
        { backend: backend.name, service: service.name },
        backends[row]?.share ?? 0,
      ])
    },
  },
  {
    name: 'backend_check_duration_seconds',
    kind: 'gauge',
    labels: ['backend', 'service'],
    help: 'How long the last check took; 0 until there was one.',
    read: ofChecks(({ status }) => (status.durationMs ?? 0) / 1000),
  },
  {
    name: 'backend_checks_total',
    kind: 'counter',
    labels: ['backend', 'service', 'result'],
    help: 'Checks by what they came to: success, or how they failed (docs/health.md).',
    read: ({ checks }) =>
      checks.flatMap(({ backend, service, counts }) =>
        counted({ backend: backend.name, service: service.name }, counts),
      ),
  },
  {
    name: 'service_backends_ready',
    kind: 'gauge',
    labels: ['service'],
    help: 'Backends of this PoP that take new connections of the service; 0: they go to other PoPs, or, where none is known to be up, to all backends here.',
    read: (source) => source.report().services.map(({ service, ready }) => [{ service }, ready]),
  },
  {
    name: 'service_backends',
    kind: 'gauge',
    labels: ['service'],
    help: 'Backends of this PoP in the pool of the service, whatever their state.',
    read: (source) =>
      source.report().services.map(({ service, configured }) => [{ service }, configured]),
  },
  {
    name: 'probe_up',
    kind: 'gauge',
    labels: ['service'],
    help: "0 when this node's own connections through the VIP do not reach the service, 1 when they do or there is nothing to tell: this node's data path loses packets, or the backends do not answer on the VIP.",
    read: (source) => {
      const probes = source.report().probes
      return source.probeCounts.map(({ service }) => {
        const down = probes.some((probe) => probe.service === service.name && !probe.ok)
        return [{ service: service.name }, down ? 0 : 1]
      })
    },
  },
  {
    name: 'probes_total',
    kind: 'counter',
    labels: ['service', 'result'],
    help: "This node's own connections through the VIP, by what they came to.",
    read: ({ probeCounts }) =>
      probeCounts.flatMap(({ service, counts }) => counted({ service: service.name }, counts)),
  },
]
