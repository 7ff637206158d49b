// docs/recipes/dns.md: NSD with the file of deploy/recipes, asked by dig over UDP and TCP on one VIP, and a zone transfer
// that lasts while its route moves between PoPs.

import { mkdirSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VIP4 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed } from './support/machine.js'
import { listening, type RecipePop, type RecipeWorld, recipeWorld } from './support/recipes.js'
import { forwarded, sleep } from './support/traffic.js'

const RECORDS = 100_000
const SWITCH_EVERY_MS = 400
const MIN_SWITCHES = 6
/** A reader that is slower than the sender; together with small buffers it makes the transfer last. */
const READ_EVERY_MS = 12
const SMALL_BUFFERS = `
  net.ipv4.tcp_rmem = 4096 65536 65536
  net.ipv4.tcp_wmem = 4096 65536 65536`
const RECIPE_VIP = '198.51.100.53'
const RECIPE_ADDRESS = '192.0.2.12'

/** The services of the recipe, as a fleet file has them. */
async function services(): Promise<string> {
  const text = await deployed('recipes/dns-services.yaml')
  const lines = text.slice(text.indexOf('services:\n') + 'services:\n'.length)
  return lines.replaceAll(RECIPE_VIP, VIP4)
}

function zone(): string {
  const filler = 'x'.repeat(100)
  const records = Array.from({ length: RECORDS }, (_, at) => `r${at} TXT "${at} ${filler}"`)
  return `$ORIGIN example.net.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A ${VIP4}
large TXT ${Array.from({ length: 20 }, (_, at) => `"${at} ${filler}"`).join(' ')}
${records.join('\n')}
`
}

/** Debian's /etc/nsd/nsd.conf, with folders and no user of its own. */
async function startNsd({ name, server }: RecipePop): Promise<void> {
  const folder = `/run/nsd-${name}`
  mkdirSync(folder)
  const recipe = (await deployed('recipes/nsd.conf'))
    .replaceAll(RECIPE_VIP, VIP4)
    .replaceAll(RECIPE_ADDRESS, server.address4)
    .replaceAll('ams-dns-1', `${name}-dns-1`)
    .replaceAll('/etc/nsd/', '/run/')
  writeFileSync(`${folder}/recipe.conf`, recipe)
  writeFileSync(
    `${folder}/nsd.conf`,
    `server:
  username: ""
  zonesdir: ${folder}
  pidfile: ${folder}/pid
  database: ""
  zonelistfile: ${folder}/zone.list
  xfrdfile: ${folder}/xfrd.state
  xfrdir: ${folder}
  logfile: ${folder}/log
remote-control:
  control-enable: no
include: "${folder}/recipe.conf"
`,
  )
  const nsd = server.start('nsd', '-d', '-c', `${folder}/nsd.conf`)
  await listening(server, 53, nsd)
}

const dig = async ({ internet }: RecipeWorld, ...args: readonly string[]): Promise<string> =>
  await internet.client.run('dig', `@${VIP4}`, '+tries=5', '+time=3', ...args)

/** Both protocols, from whichever PoP the route leads to. */
async function questions(t: Test, world: RecipeWorld): Promise<void> {
  for (const { name, node } of world.pops) {
    await world.internet.routeVips(node)
    for (const by of ['+notcp', '+tcp']) {
      const id = await dig(world, by, '+short', 'CH', 'TXT', 'id.server')
      t.equal(id, `"${name}-dns-1"\n`, `${by} answers at ${name}`)
    }
    const large = await dig(world, 'large.example.net', 'TXT')
    t.match(large, /;; Truncated, retrying in TCP mode/, 'too large for UDP')
    t.match(large, /;; SERVER: .*\(TCP\)/)
    t.match(large, /ANSWER: 1,/)
  }
}

/** By a reader that takes its time, so that the transfer waits for it. */
async function transfer(t: Test, world: RecipeWorld): Promise<void> {
  const { internet, pops } = world
  const [ams, nyc] = pops
  await internet.routeVips(ams.node)
  const child = internet.client.spawn(
    'dig',
    `@${VIP4}`,
    '+noall',
    '+answer',
    '+onesoa',
    'example.net',
    'AXFR',
  )
  let text = ''
  let over = false
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  void ended.then(() => {
    over = true
  })
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    child.stdout?.pause()
    setTimeout(() => child.stdout?.resume(), READ_EVERY_MS)
  })
  const before = internet.switches
  for (let turn = 0; !over; turn++) {
    await sleep(SWITCH_EVERY_MS)
    if (over) break
    await internet.routeVips(turn % 2 === 0 ? nyc.node : ams.node)
    if (turn % 4 === 0) {
      const id = await dig(world, '+notcp', '+short', 'CH', 'TXT', 'id.server')
      t.equal(id, '"nyc-dns-1"\n', 'questions by UDP go where the route leads')
    }
  }
  t.equal(await ended, 0)
  const switches = internet.switches - before
  t.ok(switches >= MIN_SWITCHES, `${switches} switches during the transfer`)
  const records = text
    .split('\n')
    .filter((line) => /\sTXT\s"\d+ x/.test(line) && line.startsWith('r'))
  t.equal(new Set(records).size, RECORDS, 'every record came once')
  t.equal(records.length, RECORDS)
  t.notMatch(text.slice(-2000), /Transfer failed|reset|timed out/)
  t.ok(forwarded(await nyc.steadycast.metrics()) > 0, 'nyc-1 forwarded the rest of it to ams-1')
}

if (await isolated(t, import.meta.url, ['curl', 'nsd', 'dig'])) {
  writeFileSync('/run/example.net.zone', zone())
  const world = await recipeWorld('dns', 'gue', await services())
  for (const { server } of world.pops) await server.sysctls(SMALL_BUFFERS)
  await world.internet.client.sysctls(SMALL_BUFFERS)
  await Promise.all(world.pops.map(startNsd))
  t.test('DNS over UDP and TCP on one VIP', (t) => questions(t, world))
  t.test('a zone transfer lasts through PoP switches', (t) => transfer(t, world))
}
