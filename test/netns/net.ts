// A small Internet in network namespaces for the tests beside it:
//
//        c (client)
//        | 10.0.0.0/24, 2001:db8:0::/64
//        r (router) ----------- nyc (node, delivers locally)
//        | 10.1.0.0/24          10.2.0.0/24, 2001:db8:2::/64
//       ams (node) ----- web (backend)
//           10.1.1.0/24
//
// Needs root or user namespaces. Guarantees: everything goes with the process that made it, kill -9 included.

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const VIP4 = '198.51.100.10'
export const VIP6 = '2001:db8:ffff::10'

export const FLEET = `fleet:
  key_file: fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  flow_table: 4096
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.1.0.1 }]
      backends: [{ name: ams-web-1, address: 10.1.1.2 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 10.2.0.1 }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }]
services:
  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web6, vip: "${VIP6}", ports: [80], protocol: tcp }
`

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url))
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
const WAIT_MS = 60_000
const POLL_MS = 50

const TOPOLOGY = `
set -e
mount -t tmpfs run /run
ip link set lo up
for n in c ams nyc web; do ip netns add $n; ip -n $n link set lo up; done
wire() { ip link add $2-$3 type veth peer name $3-$2; ip link set $2-$3 \${1:+netns $1} up; ip link set $3-$2 netns $3 up; }
wire '' r c; wire '' r ams; wire '' r nyc; wire ams ams web
ip address add 10.0.0.1/24 dev r-c; ip -n c address add 10.0.0.2/24 dev c-r
ip address add 10.1.0.254/24 dev r-ams; ip -n ams address add 10.1.0.1/24 dev ams-r
ip address add 10.2.0.254/24 dev r-nyc; ip -n nyc address add 10.2.0.1/24 dev nyc-r
ip -n ams address add 10.1.1.1/24 dev ams-web; ip -n web address add 10.1.1.2/24 dev web-ams
ip address add 2001:db8:0::1/64 dev r-c nodad; ip -n c address add 2001:db8:0::2/64 dev c-r nodad
ip address add 2001:db8:1::2/64 dev r-ams nodad; ip -n ams address add 2001:db8:1::1/64 dev ams-r nodad
ip address add 2001:db8:2::2/64 dev r-nyc nodad; ip -n nyc address add 2001:db8:2::1/64 dev nyc-r nodad
ip -n ams address add 2001:db8:11::1/64 dev ams-web nodad; ip -n web address add 2001:db8:11::2/64 dev web-ams nodad
ip -n c route add default via 10.0.0.1; ip -n c route add default via 2001:db8:0::1
ip -n ams route add default via 10.1.0.254; ip -n ams route add default via 2001:db8:1::2
ip -n nyc route add default via 10.2.0.254; ip -n nyc route add default via 2001:db8:2::2
ip -n web route add default via 10.1.1.1; ip -n web route add default via 2001:db8:11::1
ip route add 10.1.1.0/24 via 10.1.0.1; ip route add 2001:db8:11::/64 via 2001:db8:1::1
for n in '' ams nyc; do
  \${n:+ip netns exec $n} sh -c '
    for s in ipv4/conf/all/forwarding=1 ipv6/conf/all/forwarding=1 ipv4/tcp_early_demux=0; do
      echo \${s#*=} > /proc/sys/net/\${s%=*}
    done'
done
`

/** How namespaces can be had here, or undefined. */
function unshareFlags(): readonly string[] | undefined {
  return [['-nm'], ['-Urnm']].find(
    (flags) => spawnSync('unshare', [...flags, 'true'], { stdio: 'ignore' }).status === 0,
  )
}

/** Skips the test where namespaces cannot be had; where they must (STEADYCAST_CI=1), lets it fail. */
export function needsNamespaces(t: Test): boolean {
  if (unshareFlags() !== undefined) return true
  const why = 'needs root or user namespaces (sysctl user.max_user_namespaces)'
  if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.plan(0, why)
  return false
}

/** The ways to have a device here: TUN where it can be opened, the veth pair always. */
export const tunOrNot: readonly boolean[] = canOpenTun() ? [true, false] : [false]

function canOpenTun(): boolean {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
    return true
  } catch {
    return false
  }
}

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A process in a namespace, with what it has said so far. */
export class Running {
  stdout = ''
  stderr = ''
  readonly ended: Promise<Outcome>

  constructor(readonly child: ChildProcess) {
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.ended = new Promise((resolve) => {
      child.on('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }))
    })
  }

  async says(pattern: RegExp): Promise<void> {
    await until(`"${pattern}" in: ${this.stderr}`, () => pattern.test(this.stdout), this.ended)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> {
    this.child.kill(signal)
    return await this.ended
  }
}

/** Waits for what must come about; throws when it does not, or when `over` comes first. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  over?: Promise<Outcome>,
): Promise<void> {
  let ended: Outcome | undefined
  void over?.then((outcome) => {
    ended = outcome
  })
  const deadline = performance.now() + WAIT_MS
  for (;;) {
    if (await holds()) return
    if (ended !== undefined) {
      throw new Error(`ended with ${ended.code} before ${what}: ${ended.stderr}`)
    }
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

export class Net {
  readonly dir = mkdtempSync(join(tmpdir(), 'steadycast-test-'))
  readonly fleet = this.write('fleet.yaml', FLEET)
  readonly #holder: ChildProcess
  readonly #enter: readonly string[]

  private constructor(flags: readonly string[]) {
    this.write('fleet.key', `1 ${randomBytes(16).toString('hex')}\n`)
    // Holds the namespaces until our end of its stdin closes, whatever kills us.
    const ready = ['sh', '-c', 'echo ready; exec cat']
    this.#holder = spawn('unshare', [...flags, ...ready])
    const user = flags.includes('-Urnm') ? ['-U', '--preserve-credentials'] : []
    this.#enter = [...user, '-n', '-m', `--wd=${this.dir}`]
  }

  /** tun: false hides /dev/net/tun. */
  static async make(t: Test, options: { readonly tun: boolean } = { tun: true }): Promise<Net> {
    const flags = unshareFlags() ?? []
    const net = new Net(flags)
    t.teardown(() => net.#remove())
    await new Promise((resolve) => net.#holder.stdout?.once('data', resolve))
    await net.sh(TOPOLOGY)
    if (!options.tun) await net.sh('mount -t tmpfs none /dev/net')
    return net
  }

  write(name: string, text: string): string {
    const path = join(this.dir, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  /** Runs a script in the router's namespace; its output, trimmed. */
  async sh(script: string): Promise<string> {
    const [command, ...args] = this.#command('', ['sh', '-c', script])
    return await new Promise((resolve, reject) => {
      execFile(command, args, { env: { ...process.env, PATH } }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout.trim())
        else reject(new Error(`${script}: ${stderr}`))
      })
    })
  }

  start(ns: string, ...command: readonly string[]): Running {
    const [program, ...args] = this.#command(ns, command)
    const env = { ...process.env, PATH, NO_COLOR: '1' }
    return new Running(spawn(program, args, { cwd: this.dir, env }))
  }

  steadycast(ns: string, ...args: readonly string[]): Running {
    return this.start(ns, process.execPath, MAIN, ...args)
  }

  /** A node or backend side that is up. */
  async up(ns: string, ...args: readonly string[]): Promise<Running> {
    const running = this.steadycast(ns, ...args)
    await running.says(/is running"/)
    return running
  }

  /** An HTTP server on all addresses, port 80: GET /N answers N bytes, POST the length of what was sent. */
  async serve(ns: string): Promise<Running> {
    const server = this.start(ns, process.execPath, SERVER)
    await server.says(/listening/)
    return server
  }

  /** Routes the VIPs to a PoP's node, as BGP would. */
  async routeVips(to: 'ams' | 'nyc'): Promise<void> {
    const [v4, v6] = to === 'ams' ? ['10.1.0.1', '2001:db8:1::1'] : ['10.2.0.1', '2001:db8:2::1']
    await this.sh(`ip route replace ${VIP4} via ${v4}; ip route replace ${VIP6} via ${v6}`)
  }

  /** Everything that steadycast changes on a host, as text, without what comes and goes by itself (link-local). */
  async state(ns: string): Promise<string> {
    return await this.sh(`
      for f in -4 -6; do ip -n ${ns} $f rule; ip -n ${ns} $f route show table all; done |
        grep -v -e fe80: -e ff00: -e '^multicast'
      ip -n ${ns} -br link
      ip -n ${ns} -br address show | sed 's| fe80:[^ ]*||'`)
  }

  #command(ns: string, command: readonly string[]): [string, ...string[]] {
    const inside = ns === '' ? command : ['ip', 'netns', 'exec', ns, ...command]
    return ['nsenter', '-t', String(this.#holder.pid), ...this.#enter, ...inside]
  }

  async #remove(): Promise<void> {
    // Namespaces live as long as a process does.
    await this.sh('for n in c ams nyc web; do ip netns pids $n | xargs -r kill -9; done').catch(
      () => {},
    )
    const gone = new Promise((resolve) => this.#holder.once('close', resolve))
    this.#holder.stdin?.end()
    await gone
    rmSync(this.dir, { recursive: true })
  }
}
