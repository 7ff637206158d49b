// docs/quickstart.md, steps 1 to 10, followed word for word on four Debian 12 machines that systemd has booted: systemctl,
// useradd, nft, sysctl, hostnamectl, nginx, BIRD and Prometheus are the machines' own; what is typed is the guide's text.
// Then what only systemd can show. Other than the guide says:
// - apt-get and the download of Node.js have happened when the machines begin (debian.ts: the packages that the guide
//   lists, all of them on each; what a machine would not have is not enabled), npm ci and npm pack outside of them;
// - files of Debian's for "sysctl --system" that set what is the whole computer's are not there;
// - /etc/steadycast is copied by cp, and not by scp;
// - the file to download is smaller; "birdc disable ams" and "drain ams" have the name of the place that was chosen.

import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Running, until } from './net.js'
import type { BootedMachine } from './support/booted.js'
import { CannotMake, makeDebian, readGuide } from './support/debian.js'
import { isolated, type Needs } from './support/isolate.js'
import { blocks, changed, NAMES, only, Places, SlowDownload } from './support/places.js'

const FREEZE = fileURLToPath(new URL('support/freeze.py', import.meta.url))
const LARGE = 'head -c 500000000 /dev/urandom'
/** At the guide's 10M a second for all switches of step 8. */
const LONG = 'head -c 300000000 /dev/urandom'
const SHORT = 'head -c 100000000 /dev/urandom'
const FLEET = '/etc/steadycast/fleet.yaml'

const placeOf = ({ name }: BootedMachine): string => name.slice(0, 3)

/** Steps 1 to 5. */
async function prepare(t: Test, places: Places): Promise<void> {
  t.match(readGuide(), 'hostnamectl set-hostname ams-1')
  for (const machine of places.all) await machine.type(`hostnamectl set-hostname ${machine.name}`)
  const [ams] = places.nodes as [BootedMachine]
  t.equal(
    await ams.type('steadycast --version; man --where steadycast'),
    '0.1.0\n/usr/lib/node_modules/steadycast/deploy/man/steadycast.8\n',
  )
  const checked = await places.follow(ams, blocks('fleet.yaml <<EOF', 2)[0] ?? '')
  t.match(checked, /ok: 3 PoPs, 3 nodes, 3 backends, 1 service\n/)
  const folder = (machine: BootedMachine) => `${machine.root}/etc/steadycast`
  for (const other of places.nodes.slice(1)) {
    await new Running(spawn('cp', ['-a', folder(ams), `${other.root}/etc/`])).ended
  }
  mkdirSync(folder(places.client))
  for (const name of ['fleet.yaml', 'admin.token']) {
    cpSync(`${folder(ams)}/${name}`, `${folder(places.client)}/${name}`)
  }
  await places.onNodes(only('sysctl --system'))
  await places.onNodes(only('useradd'))
  await places.onNodes(blocks('nft -f', 2)[0] ?? '')
  await places.onNodes(only('networkd.conf.d'))
  await places.onNodes(changed(only('/var/www/html/large'), LARGE, LONG))
  const [ofNode = '', ofClient = ''] = blocks('bird.conf <<EOF', 2)
  await Promise.all([places.onNodes(ofNode), places.follow(places.client, ofClient)])
  await until('three sessions', async () => {
    const shown = await places.client.type('birdc show protocols')
    return [...shown.matchAll(/Established/g)].length === NAMES.length
  })
  t.equal(await places.route(), '', 'nothing is announced before Steadycast says so')
}

/** Steps 6 and 7. */
async function start(t: Test, places: Places): Promise<void> {
  await places.onNodes(only('enable --now steadycast\n'))
  const [ams] = places.nodes as [BootedMachine]
  const shown = await ams.type(SHOW)
  t.match(shown, 'ActiveState=active\nSubState=running\n')
  t.match(shown, 'StatusText=node ams-1 of PoP ams is running')
  t.match(await ams.type('ip -details link show steady0'), / tun type tun /)
  const closed = 'systemd-run --quiet --wait --property=DevicePolicy=closed sh -c "<>/dev/net/tun"'
  t.equal(await ams.type(`${closed} && echo open || echo denied`), 'denied\n')
  for (const machine of [ams, places.client]) {
    let said = ''
    await until('a fleet that is well', async () => {
      said = await places.follow(machine, `${only('steadycast status').trim()} || true`)
      return said.startsWith('OK')
    }).catch((error: Error) => t.fail(`${error.message}: ${said}`))
  }
  await until('a route', async () => (await places.route()).includes(' via '))
  t.ok((NAMES as readonly string[]).includes(await places.where()))
  t.match(readGuide(), '`steadycast doctor`')
  t.comment(await ams.type('steadycast doctor'))

  await places.follow(places.client, only('prometheus.yml <<EOF'))
  const query = only('query=sum(')
  await until('Prometheus to have asked all three', async () =>
    (await places.follow(places.client, query).catch(() => '')).includes('"6"'),
  )
}

/** Step 8. */
async function survive(t: Test, places: Places): Promise<void> {
  const download = await places.download()
  const turns = changed(only('birdc disable ams'), ' ams', ` ${placeOf(download.from)}`)
  const heard = await places.follow(places.client, turns)
  const answers = heard.split('\n').filter((line) => (NAMES as readonly string[]).includes(line))
  t.equal(answers.length, 6, heard)
  for (const [at, name] of answers.entries()) {
    t.equal(name === download.from.name, at % 2 === 1, `${name} answered in half-turn ${at}`)
  }
  await download.whole(t, 'a download through switches')
  await until('a forwarded packet in Prometheus', async () =>
    /"value":\[[\d.]+,"[1-9]/.test(await places.follow(places.client, only('exit="forwarded"'))),
  )
}

interface Draining {
  readonly from: BootedMachine
  readonly command: Running
}

/** Step 9. A flow counts for a minute after its connection was closed: the steps after this one need not wait for it. */
async function drain(t: Test, places: Places): Promise<Draining> {
  await places.onNodes(changed(only('/var/www/html/large'), LARGE, SHORT))
  const download = await places.download()
  const { from } = download
  const block = changed(only('steadycast drain'), ' ams ', ` ${placeOf(from)} `)
  const command = places.start(from, block)
  await places.untilAt(places.nodes.filter((node) => node !== from))
  await download.whole(t, 'a download through a drain')
  return { from, command }
}

async function drained(t: Test, places: Places, { from, command }: Draining): Promise<void> {
  const { code, stdout, stderr } = await command.ended
  t.equal(code, 0, stderr)
  t.match(stdout, /safe to stop\n$/)
  t.not(await places.where(), from.name)
  await places.follow(from, changed(only('steadycast undrain'), ' ams ', ` ${placeOf(from)} `))
  await places.untilAt([from])
}

/** Step 10. */
async function die(t: Test, places: Places): Promise<void> {
  const download = await places.download()
  const { from } = download
  const elsewhere = places.nodes.filter((node) => node !== from)
  await places.follow(from, only('systemctl kill'))
  await places.untilAt(elsewhere)
  await download.whole(t, 'a download through a death')
  await startedAgain(from, 1)
  await places.untilAt([from])

  t.match(readGuide(), '`systemctl stop nginx`')
  const before = await places.route()
  await from.type('systemctl stop nginx')
  await places.untilAt(elsewhere)
  t.equal(await places.route(), before, 'before any route has moved')
  await from.type('systemctl start nginx')
  await places.untilAt([from])
}

const SHOW = 'systemctl show --property=ActiveState,SubState,NRestarts,StatusText steadycast'

async function startedAgain(machine: BootedMachine, times: number): Promise<void> {
  await until(`systemd to have started ${machine.name} again`, async () => {
    const shown = await machine.type(SHOW)
    return shown.includes('ActiveState=active') && shown.includes(`NRestarts=${times}\n`)
  })
}

/** The worker's thread alone: JavaScript goes on. */
async function freeze(t: Test, machine: BootedMachine): Promise<void> {
  const ofWorker = machine
    .processesOf('steadycast.service')
    .find((pid) => threadsOf(pid).includes('sc-node'))
  const freezer = new Running(spawn('python3', [FREEZE, `${ofWorker}`, 'sc-node']))
  await freezer.says(/frozen/)
  const journal = 'journalctl --unit=steadycast --no-pager --output=cat'
  const barked = async () => /Watchdog timeout/.test(await machine.type(journal))
  await until('the watchdog', barked, freezer.ended)
  freezer.child.stdin?.end()
  await startedAgain(machine, 1)
  t.match(await machine.type(journal), "Failed with result 'watchdog'")
}

const threadsOf = (pid: number): readonly string[] =>
  readdirSync(`/proc/${pid}/task`).map((task) =>
    readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8').trim(),
  )

async function refuse(t: Test, machine: BootedMachine): Promise<void> {
  const before = await machine.type('systemctl show --property=MainPID steadycast')
  await machine.type(`cp ${FLEET} /root/; sed -i 's/rise: 2/rise: two/' ${FLEET}`)
  const refused = await machine.start('systemctl reload steadycast').ended
  t.not(refused.code, 0, 'systemctl itself fails')
  await machine.type('systemctl kill --signal=HUP --kill-whom=main steadycast')
  await until('the refusal', async () => (await machine.type(SHOW)).includes('last reload failed'))
  const said = await machine.type('systemctl status --full steadycast')
  t.match(said, /Status: ".* is running; the last reload failed: .*fleet\.yaml:\d+:\d+: rise: got /)
  t.match(said, /steadycast\[\d+\]: .*fleet\.yaml:\d+:\d+: rise: got /, 'and the journal')
  await machine.type(`cp /root/fleet.yaml ${FLEET}; systemctl reload steadycast`)
  t.match(await machine.type(SHOW), / is running\n/)
  t.equal(await machine.type('systemctl show --property=MainPID steadycast'), before)
}

async function restartNetwork(t: Test, places: Places): Promise<void> {
  const download = new SlowDownload(places)
  await download.from()
  const look = () =>
    Promise.all(places.nodes.map((node) => node.type('ip rule; ip route show table all; ip -br a')))
  const before = await look()
  await places.onNodes('systemctl restart systemd-networkd; networkctl --json=short')
  await download.whole(t, 'a download through a restart of systemd-networkd')
  t.same(await look(), before, 'rules and routes are there as before')
}

/** A download from one place, whose packets come by another that goes. */
async function powerCycle(t: Test, places: Places): Promise<void> {
  const download = new SlowDownload(places)
  const from = await download.from()
  await places.client.type(`birdc disable ${placeOf(from)}`)
  await places.untilAt(places.nodes.filter((node) => node !== from))
  const second = places.node(await places.where())
  await second.powerOff()
  await places.untilAt(places.nodes.filter((node) => ![from, second].includes(node)))
  await second.boot()
  await until('its announcement', async () => {
    const shown = await places.client.type(`birdc show route protocol ${placeOf(second)}`)
    return shown.includes('198.51.100.0/24')
  })
  await download.whole(t, 'a download through a power cycle')
  t.match(await second.type(SHOW), 'NRestarts=0\n')
  await places.client.type(`birdc enable ${placeOf(from)}`)
}

async function follow(t: Test, places: Places): Promise<void> {
  const step = async <T>(title: string, run: (t: Test) => Promise<T>) =>
    await places.step(t, title, run)
  await step('the guide prepares three machines and a client', (t) => prepare(t, places))
  await step('nodes start, are well, and Prometheus sees them', (t) => start(t, places))
  await step('a download survives switches of routes', (t) => survive(t, places))
  const draining = await step('a download survives a drain', (t) => drain(t, places))
  const other = places.nodes.find((node) => node !== draining.from) as BootedMachine
  await step('a broken file is refused, and why is said', (t) => refuse(t, other))
  await step('a download survives a new systemd-networkd', (t) => restartNetwork(t, places))
  await step('the drained place is safe to stop', (t) => drained(t, places, draining))
  await step('a download survives the death of its node', (t) => die(t, places))
  await step('a worker that stands still is killed', (t) => freeze(t, other))
  await step('a machine that was off comes back by itself', (t) => powerCycle(t, places))
}

const needs: Needs = {
  root: true,
  prepare: async () =>
    await makeDebian(readGuide()).catch((error: Error) => {
      if (error instanceof CannotMake) return { missing: error.message }
      throw error
    }),
}

if (await isolated(t, import.meta.url, ['debootstrap', 'systemd-nspawn', 'python3'], needs)) {
  const places = await Places.make()
  t.test('the quickstart, on machines that systemd boots', (t) => follow(t, places))
}
