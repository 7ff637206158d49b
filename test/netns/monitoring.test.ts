// What deploy/ has for Prometheus and Grafana against a running fleet: Debian's Prometheus in the router's namespace, by
// prometheus.example.yml with other addresses, asks two nodes and a backend side that carry traffic, check, probe and announce.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import {
  alertsOf,
  type Dashboard,
  deployedText,
  queriesOf,
  selectorsOf,
} from '../support/monitoring.js'
import { FLEET, Net, needsNamespaces, type Running, until, VIP4 } from './net.js'

const PROMETHEUS = 'http://127.0.0.1:9090'
const ADMINS: Readonly<Record<string, string>> = {
  'ams-1': '10.1.0.1:6081',
  'nyc-1': '10.2.0.1:6081',
  'ams-web-1': '10.1.1.2:6081',
}
const FILE = FLEET.replace('10.1.0.1 }', `10.1.0.1, admin: "${ADMINS['ams-1']}" }`)
  .replace('10.2.0.1 }', `10.2.0.1, admin: "${ADMINS['nyc-1']}" }`)
  .replace(
    /(name: web,.*) }/,
    '$1, health: { http: /1, port: 80, interval: 500ms, slow_start: 0s } }',
  )
  .concat(
    `admin: { token_file: admin.token }
announce:
  exec: { command: [/bin/true] }
  prefixes:
    - { prefix: 198.51.100.0/24, up_when: any }
    - { prefix: "2001:db8:ffff::/48", up_when: any }
`,
  )

interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [atS: number, value: string]
}

interface Rule {
  readonly name: string
  readonly state: 'inactive' | 'pending' | 'firing'
  readonly health: 'ok' | 'err' | 'unknown'
  readonly alerts: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly annotations: Readonly<Record<string, string>>
  }[]
}

interface Lab {
  readonly net: Net
  readonly nyc: Running
  readonly web: Running
}

async function startLab(t: Test): Promise<Lab> {
  const net = await Net.make(t)
  net.write('fleet.yaml', FILE)
  net.write('admin.token', `${randomBytes(32).toString('hex')}\n`)
  const node = (name: string) => ['run', '--config', 'fleet.yaml', '--node', name]
  const [web] = await Promise.all([net.serve('web'), net.serve('nyc')])
  const [nyc] = await Promise.all([
    net.up('nyc', ...node('nyc-1'), '--state', '/run/nyc-1'),
    net.up('ams', ...node('ams-1'), '--state', '/run/ams-1'),
    net.up(
      'web',
      ...['backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'],
      ...['--admin', ADMINS['ams-web-1'] ?? ''],
    ),
  ])
  await net.routeVips('ams')
  await until('a fleet that is well', async () => {
    const status = ['status', '--config', 'fleet.yaml', '--state', '/run/ams-1']
    return (await net.steadycast('ams', ...status).ended).code === 0
  })
  return { net, nyc, web }
}

/** The example, with this lab's addresses and folder, and a hurry. */
function writeConfig(net: Net): string {
  const config = parse(deployedText('prometheus/prometheus.example.yml')) as {
    global: object
    rule_files: string[]
    scrape_configs: {
      authorization: { credentials_file: string }
      static_configs: { targets: string[]; labels: { instance: string } }[]
    }[]
  }
  config.global = { scrape_interval: '3s', evaluation_interval: '1s' }
  config.rule_files = [net.write('rules.yml', deployedText('prometheus/steadycast.rules.yml'))]
  for (const scrape of config.scrape_configs) {
    scrape.authorization.credentials_file = `${net.dir}/admin.token`
    scrape.static_configs = scrape.static_configs.flatMap(({ labels }) => {
      const target = ADMINS[labels.instance]
      return target === undefined ? [] : [{ targets: [target], labels }]
    })
  }
  return net.write('prometheus.yml', stringify(config))
}

async function ask<Data>(net: Net, path: string, query?: string): Promise<Data> {
  const form = query === undefined ? [] : ['--get', '--data-urlencode', `query=${query}`]
  const { stdout, stderr } = await net.start('', 'curl', '-sS', ...form, `${PROMETHEUS}${path}`)
    .ended
  const answer = JSON.parse(stdout === '' ? '{}' : stdout) as {
    status?: string
    error?: string
    data: Data
  }
  if (answer.status !== 'success') throw new Error(`${query ?? path}: ${answer.error ?? stderr}`)
  return answer.data
}

async function valuesOf(net: Net, query: string): Promise<readonly number[]> {
  const { result } = await ask<{ result: readonly Series[] }>(net, '/api/v1/query', query)
  return result.map(({ value }) => Number(value[1]))
}

async function rulesOf(net: Net): Promise<readonly Rule[]> {
  const { groups } = await ask<{ groups: readonly { rules: readonly Rule[] }[] }>(
    net,
    '/api/v1/rules',
  )
  return groups.flatMap(({ rules }) => rules)
}

/** As Grafana would for all PoPs and nodes. */
function substituted(expr: string): string {
  return expr
    .replaceAll('$job', 'steadycast')
    .replaceAll('$node', '(ams-1|nyc-1)')
    .replaceAll('$__rate_interval', '1m')
}

function hasPrometheus(t: Test): boolean {
  if (spawnSync('prometheus', ['--version'], { stdio: 'ignore' }).status === 0) return true
  const why = 'prometheus missing: apt-get install prometheus'
  if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.plan(0, why)
  return false
}

t.test('alerts and dashboard of a fleet that Prometheus asks', async (t) => {
  if (!needsNamespaces(t) || !hasPrometheus(t)) return
  const { net, nyc, web } = await startLab(t)
  const prometheus = net.start(
    '',
    ...['prometheus', `--config.file=${writeConfig(net)}`, `--storage.tsdb.path=${net.dir}/tsdb`],
    ...['--web.listen-address=127.0.0.1:9090', '--log.level=warn'],
  )
  t.teardown(() => prometheus.stop('SIGKILL'))
  const get = (bytes: number, ...more: readonly string[]) =>
    net.start('c', 'curl', '-gsS', '-m', '60', ...more, `http://${VIP4}/${bytes}`)

  await t.test('all three machines answer it, with the token', async (t) => {
    await until(
      'targets that are up',
      async () => (await valuesOf(net, 'up == 1').catch(() => [])).length === 3,
      prometheus.ended,
    )
    t.same(await valuesOf(net, 'count by (pop) (steadycast_node_info)'), [1, 1])
  })

  await t.test('no alert so much as begins in a fleet that is well', async (t) => {
    for (let turns = 0; turns < 5; turns++) await get(1000, '-o', '/dev/null').ended
    // Two scrapes that a rate can be had from.
    const looked = 'count_over_time(up{job="steadycast"}[1m]) > 2'
    await until('some scrapes', async () => (await valuesOf(net, looked)).length === 2)
    const rules = await rulesOf(net)
    t.same(
      rules.filter(({ state }) => state !== 'inactive').map(({ name, alerts }) => [name, alerts]),
      [],
    )
    t.same(
      rules.filter(({ health }) => health !== 'ok'),
      [],
    )
    t.equal(rules.length, alertsOf().length)
  })

  await t.test('every series that an alert looks at is there', async (t) => {
    for (const { alert, expr } of alertsOf()) {
      for (const selector of selectorsOf(expr)) {
        t.not((await valuesOf(net, selector)).length, 0, `${alert}: ${selector}`)
      }
    }
  })

  await t.test('every query of the dashboard returns numbers', async (t) => {
    const slow = get(3_000_000, '--limit-rate', '300k', '-o', 'slow')
    const received = () => statSync(`${net.dir}/slow`, { throwIfNoEntry: false })?.size ?? 0
    await until('a transfer', () => received() > 0, slow.ended)
    await net.routeVips('nyc')
    const forwarded = 'sum(rate(steadycast_packets_total{exit="forwarded"}[1m])) > 0'
    await until(
      'packets that are forwarded',
      async () => (await valuesOf(net, forwarded)).length > 0,
    )
    const dashboard = JSON.parse(deployedText('grafana/steadycast.json')) as Dashboard
    for (const { title, expr } of queriesOf(dashboard)) {
      for (const selector of selectorsOf(substituted(expr))) {
        t.not((await valuesOf(net, selector)).length, 0, `${title}: ${selector}`)
      }
      const values = await valuesOf(net, substituted(expr))
      t.ok(
        values.some(Number.isFinite),
        `${title}: ${expr} gives ${values.join(', ') || 'nothing'}`,
      )
    }
    t.equal((await slow.ended).code, 0, 'the transfer is whole')
  })

  await t.test('a node and a server that are killed begin their alerts', async (t) => {
    await Promise.all([nyc.stop('SIGKILL'), web.stop('SIGKILL')])
    const expected = ['SteadycastNodeDown', 'SteadycastBackendDown', 'SteadycastNoBackendHere']
    const begun = async () =>
      (await rulesOf(net)).filter(({ state }) => state !== 'inactive').map(({ name }) => name)
    await until('alerts', async () => {
      const names = await begun()
      return expected.every((name) => names.includes(name))
    })
    const texts = (await rulesOf(net)).flatMap(({ alerts }) =>
      alerts.flatMap(({ annotations }) => Object.values(annotations)),
    )
    t.match(texts.join('\n'), /nyc-1 does not answer Prometheus/)
    t.match(texts.join('\n'), /ams-web-1 is down for web/)
    t.notMatch(texts.join('\n'), /error expanding|<no value>/)
  })
})
