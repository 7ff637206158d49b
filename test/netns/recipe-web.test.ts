// docs/recipes/nginx.md and redirect.md: nginx with the files of deploy/recipes, clients that are moved between PoPs.

import { mkdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { makeContent } from './support/content.js'
import { VIP4, VIP6 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed } from './support/machine.js'
import { type RecipePop, recipeWorld, startSite } from './support/recipes.js'
import { forwarded, sleep } from './support/traffic.js'

const ROOT = '/run/html'
const BYTES = 20_000_000
const RATE = '3M'
const SWITCH_EVERY_MS = 300
const MIN_SWITCHES = 4
const SERVICES = `  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web6, vip: "${VIP6}", ports: [80], protocol: tcp }`

const site = async (file: string): Promise<string> =>
  (await deployed(`recipes/${file}`)).replaceAll('/var/www/html', ROOT)

const sentOn = async ({ steadycast }: RecipePop): Promise<number> =>
  forwarded(await steadycast.metrics())

async function nginx(t: Test): Promise<void> {
  const { internet, pops } = await recipeWorld('web', 'gue', SERVICES)
  const [ams, nyc] = pops
  const text = await site('nginx.conf')
  for (const { server, name } of pops) await startSite(server, `${name}-web-1`, text)
  await internet.routeVips(ams.node)
  const health = `http://${ams.server.address4}/healthz`
  t.equal(await ams.node.run('curl', '--silent', '--fail', health), 'ok\n')
  // One connection for all: a download, and afterwards requests by the same connection from the other PoP.
  const urls = [`http://${VIP4}/large`, `http://${VIP4}/small`, `http://${VIP4}/small`]
  const format = '%{http_code} %{num_connects} %{header_json}\\n'
  const outputs = urls.flatMap((url) => ['--output', '/dev/null', url])
  const curl = internet.client.start(
    'curl',
    ...['--silent', '--show-error', '--limit-rate', RATE, '--write-out', format],
    ...outputs,
  )
  let over = false
  void curl.ended.then(() => {
    over = true
  })
  const before = internet.switches
  for (let turn = 0; !over; turn++) {
    await sleep(SWITCH_EVERY_MS)
    await internet.routeVips(turn % 2 === 0 ? nyc.node : ams.node)
  }
  const { code, stdout, stderr } = await curl.ended
  t.equal(code, 0, stderr)
  t.ok(internet.switches - before >= MIN_SWITCHES, `${internet.switches - before} switches`)
  const answers = [...stdout.matchAll(/^(\d+) (\d)/gm)].map(([, status, connects]) => [
    status,
    connects,
  ])
  t.same(answers, [
    ['200', '1'],
    ['200', '0'],
    ['200', '0'],
  ])
  const served = [...stdout.matchAll(/"x-served-by":\["([^"]*)"\]/g)].map(([, name]) => name)
  t.same(served, ['ams-web-1', 'ams-web-1', 'ams-web-1'], 'the machine where it began')
  t.ok((await sentOn(nyc)) > 0, 'nyc-1 forwarded')
  await Promise.all(pops.map(({ steadycast }) => steadycast.stop()))
}

async function redirect(t: Test): Promise<void> {
  const { internet, pops } = await recipeWorld('web', 'local', SERVICES)
  const [ams, nyc] = pops
  const text = await site('redirect.conf')
  for (const { server, name } of pops) {
    const host = `${name}-1`
    await startSite(server, host, text.replaceAll('ams-1.example.net', `${host}.example.net`))
  }
  for (const { name, node } of pops) {
    await internet.routeVips(node)
    const own = `${name}-1.example.net`
    const ask = ['--silent', '--dump-header', '-', `http://${VIP4}/files/large`]
    const head = await internet.client.run('curl', ...ask, '--output', '/dev/null')
    t.match(head, /^HTTP\/1\.1 307 /, name)
    t.match(head, `Location: http://${own}/files/large\r\n`, name)
    t.match(head, /Cache-Control: no-store\r\n/)
  }
  await internet.routeVips(ams.node)
  const resolve = pops.map(({ name, node }) => `${name}-1.example.net:80:${node.address4}`)
  const curl = internet.client.start(
    'curl',
    ...['--silent', '--show-error', '--location', '--limit-rate', RATE],
    ...resolve.flatMap((entry) => ['--resolve', entry]),
    ...['--output', '/dev/null', '--write-out', '%{http_code} %{size_download} %{remote_ip}'],
    `http://${VIP4}/files/large`,
  )
  await sleep(SWITCH_EVERY_MS)
  const before = await Promise.all(pops.map(sentOn))
  for (let turn = 0; turn < MIN_SWITCHES; turn++) {
    await internet.routeVips(turn % 2 === 0 ? nyc.node : ams.node)
    await sleep(SWITCH_EVERY_MS)
  }
  const { code, stdout, stderr } = await curl.ended
  t.equal(code, 0, stderr)
  t.equal(stdout, `200 ${BYTES} ${ams.node.address4}`)
  t.same(await Promise.all(pops.map(sentOn)), before, 'no node forwarded any of it')
}

if (await isolated(t, import.meta.url, ['nginx', 'curl'])) {
  mkdirSync(`${ROOT}/files`, { recursive: true })
  await makeContent(`${ROOT}/small`, 1000)
  await makeContent(`${ROOT}/large`, BYTES)
  await makeContent(`${ROOT}/files/large`, BYTES)
  t.test('a connection to nginx lasts through PoP switches, and is used again', nginx)
  t.test('a redirect to the name of a node takes a download out of anycast', redirect)
}
