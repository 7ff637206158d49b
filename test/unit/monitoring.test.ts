// deploy/prometheus and deploy/grafana against the table of metrics and docs/runbooks.md; and the alert rules by promtool.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { METRICS } from '../../src/admin/metrics.js'
import {
  alertsOf,
  type Dashboard,
  deployedText,
  queriesOf,
  selectorsOf,
} from '../support/monitoring.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const textOf = (path: string): string => readFileSync(`${root}${path}`, 'utf8')

const ruleTests = ['test/monitoring/rules.test.yml', 'test/monitoring/rules-slow.test.yml']
const dashboard = JSON.parse(deployedText('grafana/steadycast.json')) as Dashboard
const alerts = alertsOf()

interface TestFile {
  readonly tests: readonly {
    readonly promql_expr_test: readonly { readonly expr: string; readonly exp_samples: unknown[] }[]
  }[]
}

function promtool(t: Test, ...args: readonly string[]): void {
  const { error, status, stdout, stderr } = spawnSync('promtool', args, {
    cwd: root,
    encoding: 'utf8',
  })
  const why = 'promtool missing: apt-get install prometheus'
  if (error === undefined) t.equal(status, 0, `${stdout}${stderr}`)
  else if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.plan(0, why)
}

t.test('the alert rules are sound', async (t) => {
  promtool(t, 'check', 'rules', 'deploy/prometheus/steadycast.rules.yml')
})

t.test('the example for Prometheus is sound', async (t) => {
  const file = 'deploy/prometheus/prometheus.example.yml'
  promtool(t, 'check', 'config', '--syntax-only', file)
})

t.test('each alert fires on what its tests say, and on nothing else', async (t) => {
  promtool(t, 'test', 'rules', ...ruleTests)
})

t.test('each alert is tested with what it fires on and with what it does not', async (t) => {
  const files = ruleTests.map((path) => parse(textOf(path)) as TestFile)
  const cases = files.flatMap(({ tests }) => tests.flatMap((one) => one.promql_expr_test))
  for (const { alert } of alerts) {
    const own = cases.filter(({ expr }) => expr.includes(`alertname="${alert}"`))
    t.ok(
      own.some(({ exp_samples }) => exp_samples.length > 0),
      `${alert} fires`,
    )
    t.ok(
      own.some(({ exp_samples }) => exp_samples.length === 0),
      `${alert} is quiet`,
    )
  }
})

t.test('alerts and dashboard name metrics and labels that there are', async (t) => {
  /** Of every scraped series. */
  const common = ['job', 'instance']
  const labels = new Map(METRICS.map((metric) => [metric.name, [...metric.labels, ...common]]))
  const queries = [
    ...alerts.map(({ alert, expr }) => ({ title: alert, expr })),
    ...queriesOf(dashboard),
  ]
  for (const { title, expr } of queries) {
    for (const selector of selectorsOf(expr)) {
      const [name = ''] = selector.split('{')
      const known = labels.get(name)
      t.ok(known, `${title}: ${name}`)
      for (const [, label = ''] of selector.matchAll(/(\w+)\s*(?:=~|!=|!~|=)\s*"/g)) {
        t.ok(known?.includes(label), `${title}: ${label} of ${name}`)
      }
    }
  }
})

t.test('every alert says how urgent it is, and leads to its section of the runbooks', async (t) => {
  const page = textOf('docs/runbooks.md')
  const sections = [...page.matchAll(/^### (\S+)$/gm)].map(([, name]) => name)
  t.same(sections.toSorted(), alerts.map(({ alert }) => alert).toSorted())
  for (const { alert, labels, annotations } of alerts) {
    t.match(labels.severity, /^(critical|warning)$/, alert)
    t.ok(annotations.summary, alert)
    t.ok(annotations.description, alert)
    t.equal(
      annotations.runbook_url,
      `https://steadycast.example/docs/runbooks.md#${alert.toLowerCase()}`,
    )
  }
})

t.test(
  'every panel says what it shows, from the chosen Prometheus, under a number of its own',
  async (t) => {
    const ids = dashboard.panels.map(({ id }) => id)
    t.equal(new Set(ids).size, ids.length)
    for (const panel of dashboard.panels) {
      if (panel.type === 'row') continue
      t.ok(panel.description, panel.title)
      t.match(JSON.stringify(panel.datasource), /"prometheus".*"\$\{datasource\}"/, panel.title)
      t.not(panel.targets?.length ?? 0, 0, panel.title)
    }
  },
)

t.test('every variable that a query uses is there', async (t) => {
  const names = dashboard.templating.list.map(({ name }) => name)
  const text = JSON.stringify(dashboard)
  for (const [, name = ''] of text.matchAll(/\$\{?([a-z]\w*)/g)) t.ok(names.includes(name), name)
})

/** As GitHub and others make them of headings. */
function anchorsOf(page: string): readonly string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

t.test('every link of the pages about monitoring leads somewhere', async (t) => {
  for (const page of ['monitoring.md', 'runbooks.md', 'metrics.md']) {
    const text = textOf(`docs/${page}`)
    for (const [, path = '', anchor] of text.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      const target = path === '' ? page : path
      const found = textOf(`docs/${target}`)
      if (anchor !== undefined) {
        t.ok(anchorsOf(found).includes(anchor), `${page}: ${target}#${anchor}`)
      } else t.ok(found, `${page}: ${target}`)
    }
  }
})
