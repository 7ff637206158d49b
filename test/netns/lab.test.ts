// The lab end to end, as its user runs it: the built program, as root and as an ordinary user, to its verdict and to
// every kind of early end. What is left behind is looked for among all that it started.

import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { needsNamespaces, until } from './net.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = `${ROOT}dist/cli/main.js`
const NOBODY = 65534
const AS_NOBODY = ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups']
const isRoot = process.getuid?.() === 0

interface Phase {
  readonly connections: number
  readonly switches: number
  readonly broken: number
}

interface Result extends Phase {
  readonly bytes: number
  readonly alternations: number
  readonly switched: Readonly<Record<string, number>>
  readonly hash_only: Phase
  readonly duration_s: number
}

/** Without what tap hands down to every Node process: the lab has many. */
const NODE = ['env', '-u', 'NODE_OPTIONS', process.execPath]

function start(args: readonly string[], options: SpawnOptions): ChildProcess {
  const [file = '', ...rest] = [...NODE, MAIN, ...args]
  return spawn(file, rest, options)
}

function run(command: readonly string[], ...args: readonly string[]) {
  const [file = '', ...rest] = [...command, ...args]
  return spawnSync(file, rest, { encoding: 'utf8' })
}

function checkVerdict(t: Test, { status, stdout, stderr }: ReturnType<typeof run>): Result {
  t.equal(status, 0, stderr)
  const lines = stdout.trimEnd().split('\n')
  t.equal(lines.length, 1, 'exactly one JSON object')
  const result = JSON.parse(lines[0] ?? '') as Result
  t.equal(result.broken, 0)
  for (const phase of [result, result.hash_only]) {
    t.ok(phase.connections > 0)
    t.ok(phase.switches > 0)
  }
  t.ok(result.hash_only.broken > 0, 'plain hashing breaks connections')
  t.ok(result.bytes > 0)
  t.ok(result.alternations > 0)
  t.ok(result.duration_s > 0)
  return result
}

t.test('connections live through PoP switches with Steadycast and die without', async (t) => {
  if (!needsNamespaces(t)) return
  const { switched } = checkVerdict(t, run([...NODE, MAIN], 'lab', '--json', '--seconds', '12'))
  for (const activity of ['connecting', 'downloading', 'uploading', 'echoing']) {
    t.ok((switched[activity] ?? 0) > 0, `PoP switches while ${activity}`)
  }
})

interface ScenariosResult {
  readonly scenarios: readonly (Phase & {
    readonly scenario: string
    readonly in_events: number
    readonly longest_pause_ms: number
    readonly events: Readonly<
      Record<string, { readonly events: number; readonly connections: number }>
    >
    readonly hash_only: Phase | null
    readonly unproven: readonly string[]
  })[]
}

t.test('connections live through PoP switches while nodes die by kill -9', async (t) => {
  if (!needsNamespaces(t)) return
  const args = ['lab', '--scenario', 'pop-switch+node-crash', '--json', '--seconds', '8']
  const { status, stdout, stderr } = run([...NODE, MAIN], ...args)
  t.equal(status, 0, stderr)
  const { scenarios } = JSON.parse(stdout) as ScenariosResult
  t.equal(scenarios.length, 1)
  const [result] = scenarios
  if (result === undefined) return
  const { scenario, broken, in_events, longest_pause_ms, events, hash_only, unproven } = result
  t.same(
    { scenario, broken, unproven },
    { scenario: 'pop-switch+node-crash', broken: 0, unproven: [] },
  )
  t.ok(in_events > 0)
  t.ok(longest_pause_ms > 0)
  t.equal(events.crash?.events, 3)
  t.ok((events.crash?.connections ?? 0) > 0)
  t.ok((events.catchment?.connections ?? 0) > 0)
  t.ok((hash_only?.broken ?? 0) > 0, 'PoP switches break connections of a hash alone')
})

t.test('--scenario list names every scenario, and so does the refusal of another', async (t) => {
  const { status, stdout, stderr } = run([...NODE, MAIN], 'lab', '--scenario', 'list')
  t.same({ status, stderr }, { status: 0, stderr: '' })
  const names = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ +/)[1] ?? '')
  t.equal(names.length, 12)
  const refused = run([...NODE, MAIN], 'lab', '--scenario', 'pop-crash')
  t.equal(refused.status, 1)
  t.equal(refused.stdout, '')
  t.match(
    refused.stderr,
    /^steadycast: .*--scenario.* expected all, list or one of .*"pop-crash".*\n$/,
  )
  for (const name of names) t.ok(refused.stderr.includes(name), name)
})

t.test('on a terminal the view is drawn in place, and Ctrl-C gives the cursor back', async (t) => {
  if (!needsNamespaces(t)) return
  const command = [...NODE, MAIN, 'lab', '--seconds', '60', '--pops', '2', '--clients', '6'].join(
    ' ',
  )
  const terminal = spawn('script', ['-qefc', `stty rows 24 columns 80; ${command}`, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => terminal.kill('SIGKILL'))
  const exited = new Promise<number | null>((resolve) => terminal.on('exit', resolve))
  let shown = ''
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
  })
  const [hide, show, up] = ['\x1b[?25l', '\x1b[?25h', /\[\d+A/]
  // Drawn twice: a second frame over the first.
  while (!up.test(shown) && terminal.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.match(shown, /PoP switch.*packets between PoPs/)
  t.match(shown, / {2}from ams {2}1 /)
  t.notMatch(shown, /\[3\dm/, 'no colours')
  t.ok(shown.lastIndexOf(hide) > shown.lastIndexOf(show))
  terminal.stdin.write('\x03')
  t.equal(await exited, 130)
  t.ok(shown.lastIndexOf(show) > shown.lastIndexOf(hide))
})

t.test('an ordinary user needs no root where user namespaces are allowed', async (t) => {
  if (!isRoot) return t.plan(0, 'the tests run as an ordinary user already')
  const trial = ['unshare', '--user', '--map-root-user', '--net', 'true']
  if (run(AS_NOBODY, ...trial).status !== 0 && process.env.STEADYCAST_CI !== '1') {
    return t.plan(0, 'ordinary users may not make user namespaces here')
  }
  // The program where everyone may read it, whatever the folders above it allow, and only until it ends.
  const script = `mount -t tmpfs tmpfs /mnt
    cp "$0/package.json" /mnt/
    for folder in dist native node_modules; do
      mkdir /mnt/$folder && mount --bind "$0/$folder" /mnt/$folder
    done
    cd / && exec "$@"`
  const command = ['unshare', '--mount', 'sh', '-ec', script, ROOT, ...AS_NOBODY, ...NODE]
  const args = ['/mnt/dist/cli/main.js', 'lab', '--json', '--seconds', '8']
  checkVerdict(t, run(command, ...args))
})

/** Process ids below this one, as /proc knows them. */
function descendants(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = parentOf(Number(name))
    if (parent !== undefined) parents.set(Number(name), parent)
  }
  const found = [pid]
  for (const ancestor of found) {
    for (const [child, parent] of parents) if (parent === ancestor) found.push(child)
  }
  return found.slice(1)
}

function parentOf(pid: number): number | undefined {
  try {
    // "pid (name) state parent ...": the name may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}

const isAlive = (pid: number): boolean => parentOf(pid) !== undefined

/** What of the machine a lab could leave something in. */
function machine(): Record<string, string> {
  const of = (...command: readonly string[]): string => run(command).stdout
  return {
    namespaces: of('ip', 'netns', 'list'),
    devices: of('ip', '-o', 'link', 'show'),
    rules: of('ip', 'rule'),
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
  }
}

interface Ending {
  readonly name: string
  readonly code: number | null
  readonly end: (outer: ChildProcess, inner: number) => void
}

const endings: readonly Ending[] = [
  { name: 'Ctrl-C', code: 130, end: (outer) => outer.kill('SIGINT') },
  {
    name: 'Ctrl-C to the whole group',
    code: 130,
    end: (o) => process.kill(-(o.pid ?? 0), 'SIGINT'),
  },
  { name: 'SIGTERM', code: 143, end: (outer) => outer.kill('SIGTERM') },
  { name: 'kill -9', code: null, end: (outer) => outer.kill('SIGKILL') },
  {
    name: 'kill -9 of the inner process',
    code: 2,
    end: (_, inner) => process.kill(inner, 'SIGKILL'),
  },
  {
    name: 'kill -9 while the inner process hangs',
    code: null,
    end: (outer, inner) => {
      process.kill(inner, 'SIGSTOP')
      outer.kill('SIGKILL')
    },
  },
]

for (const { name, code, end } of endings) {
  t.test(`${name} leaves no process, namespace, device, mount or file behind`, async (t) => {
    if (!needsNamespaces(t)) return
    const before = machine()
    const temporary = t.testdir()
    const outer = start(['lab', '--seconds', '60', '--pops', '2'], {
      env: { ...process.env, TMPDIR: temporary },
      stdio: 'ignore',
      detached: true,
    })
    t.teardown(() => outer.kill('SIGKILL'))
    const exited = new Promise((resolve) => outer.on('exit', resolve))
    // Nodes, backends, servers, clients: some 10 processes, each behind a program that enters its namespace.
    let started: number[] = []
    await until('the lab has started its processes', () => {
      started = descendants(outer.pid ?? 0)
      return started.length > 8
    })
    const [unshare = 0, inner = 0] = started
    t.equal(parentOf(inner), unshare)
    end(outer, inner)
    t.equal(await exited, code)
    await until('all its processes are gone', () => !started.some(isAlive))
    t.same(machine(), before)
    t.same(readdirSync(temporary), [])
  })
}

t.test('--keep answers a plain curl until Ctrl-C', async (t) => {
  if (!needsNamespaces(t)) return
  const args = ['lab', '--seconds', '8', '--pops', '2', '--clients', '4', '--keep']
  const outer = start(args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => outer.kill('SIGKILL'))
  let said = ''
  outer.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const exited = new Promise<number | null>((resolve) => outer.on('exit', resolve))
  let over = false
  void exited.then(() => {
    over = true
  })
  while (!said.includes('until Ctrl-C') && !over) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.match(said, /^Steadycast: .* 0 broken\.$/m)
  t.match(said, /^Plain hashing: /m)
  const [vip = '', ...metrics] = [...said.matchAll(/curl (http:\S+)/g)].map(([, url]) => url ?? '')
  t.match(await (await fetch(vip)).text(), /^backend \S+-web-\d in PoP /)
  t.equal(metrics.length, 2)
  for (const url of metrics) t.match(await (await fetch(url)).text(), /^steadycast_/m)
  outer.kill('SIGINT')
  t.equal(await exited, 0)
  await t.rejects(fetch(vip))
})

t.test('a number out of range is one line that says what was expected', async (t) => {
  for (const [option, text] of [
    ['--pops', '9'],
    ['--clients', '0'],
    ['--seconds', '7'],
    ['--seed', 'x'],
  ] as const) {
    const { status, stdout, stderr } = run([...NODE, MAIN], 'lab', option, text)
    t.not(status, 0)
    t.equal(stdout, '')
    t.match(stderr, new RegExp(`^steadycast: .*${option}.* expected a whole number from .*\n$`))
  }
})

t.test('a missing program is one line that names the package to install', async (t) => {
  const bin = t.testdir({ sh: t.fixture('symlink', '/bin/sh'), ip: '#!/bin/sh\n' })
  chmodSync(`${bin}/ip`, 0o755)
  const command = ['env', `PATH=${bin}`, process.execPath, MAIN]
  const { status, stdout, stderr } = run(command, 'lab')
  t.same({ status, stdout }, { status: 2, stdout: '' })
  t.match(
    stderr,
    /^steadycast: the lab needs the program "unshare".*apt-get install util-linux\)\n$/,
  )
})

t.test('a user without any way to namespaces gets one line that says what to do', async (t) => {
  if (!needsNamespaces(t)) return
  // A user namespace that allows no other, and in it a user who is not root and has no capability.
  const script = `echo 0 > /proc/sys/user/max_user_namespaces
    exec setpriv --bounding-set=-all --inh-caps=-all --securebits=+noroot,+no_setuid_fixup "$0" "$@"`
  const command = ['unshare', '--user', '--map-root-user', 'sh', '-ec', script, ...NODE, MAIN]
  const { status, stdout, stderr } = run(command, 'lab')
  t.same({ status, stdout }, { status: 2, stdout: '' })
  t.match(stderr, /^steadycast: the lab needs network namespaces, and .*\n$/)
})
