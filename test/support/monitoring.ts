// What deploy/ has for Prometheus and Grafana, taken apart. Used by tests of monitoring.

import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

export interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly description?: string
  readonly datasource?: object
  readonly targets?: readonly { readonly expr: string }[]
}

export interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: unknown }[]
  }
}

export interface Query {
  readonly title: string
  readonly expr: string
}

export function deployedText(path: string): string {
  return readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8')
}

export function alertsOf(): readonly Alert[] {
  const { groups } = parse(deployedText('prometheus/steadycast.rules.yml')) as {
    readonly groups: readonly { readonly rules: readonly Alert[] }[]
  }
  return groups.flatMap(({ rules }) => rules)
}

export function queriesOf({ panels }: Dashboard): readonly Query[] {
  return panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })))
}

/** `steadycast_x{label="value"}`: what an expression reads of ours. */
export function selectorsOf(expr: string): readonly string[] {
  return [...expr.matchAll(/\bsteadycast_\w+(?:\{[^}]*\})?/g)].map(([selector]) => selector)
}
