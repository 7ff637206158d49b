// Runs a test file again within namespaces of its own: network, mounts and processes. Called first by a test file; what
// comes back says which of the two processes this is. Guarantees: the inner one is the first process of its process
// namespace, so that whatever ends it, kill -9 included, ends all that it started, and the kernel takes back the rest.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TAP } from 'tap'

const INSIDE = 'STEADYCAST_TEST_INSIDE'
const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child']
const AS_OWN_ROOT = ['--user', '--map-root-user']

/** Debian's packages of the programs that tests use. */
const PACKAGES = {
  bird: 'bird2',
  exabgp: 'exabgp',
  gobgpd: 'gobgpd',
  vtysh: 'frr',
  curl: 'curl',
  debootstrap: 'debootstrap',
  dig: 'bind9-dnsutils',
  ip: 'iproute2',
  nft: 'nftables',
  nginx: 'nginx-light',
  nsd: 'nsd',
  nsenter: 'util-linux',
  prometheus: 'prometheus',
  python3: 'python3',
  setpriv: 'util-linux',
  'systemd-nspawn': 'systemd-container',
  unshare: 'util-linux',
} as const
type Program = keyof typeof PACKAGES

/** Programs of the system's are in folders that a user's PATH may lack. */
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: 'C',
  NO_COLOR: '1',
  PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
})

export interface Needs {
  /** Not only of a user namespace of its own. */
  readonly root?: boolean
  /** In the outer process, before: what the inner one's environment has besides, or what is missing. */
  readonly prepare?: () => Promise<Readonly<Record<string, string>> | { readonly missing: string }>
}

/** True in the inner process, which has a /run and a /proc of its own. Otherwise the test has been run, or skipped with
 * a line that says what is missing; where nothing may be skipped (STEADYCAST_CI=1) it has failed. */
export async function isolated(
  t: TAP,
  file: string,
  programs: readonly Program[],
  { root = false, prepare = async () => ({}) }: Needs = {},
): Promise<boolean> {
  if (process.env[INSIDE] === '1') {
    mount('-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', '/run')
    mount('-t', 'proc', 'proc', '/proc')
    // The program under test runs without what tap adds to its test processes.
    delete process.env.NODE_OPTIONS
    // Servers and nodes still run: they go with this process.
    t.teardown(() => process.exit(t.passing() ? 0 : 1))
    return true
  }
  const { command, missing: lacking } = preconditions(programs, root)
  const prepared = lacking === undefined ? await prepare() : { missing: lacking }
  const { missing } = prepared
  if (missing !== undefined) {
    if (process.env.STEADYCAST_CI === '1') t.fail(missing)
    else t.plan(0, missing)
    return false
  }
  const [program = '', ...args] = command
  await t.spawn(
    program,
    [...args, process.execPath, ...process.execArgv, fileURLToPath(file)],
    { env: { ...environment(), ...prepared, [INSIDE]: '1' } },
    'in namespaces of its own',
  )
  return false
}

function mount(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr.trim()}`)
}

function preconditions(
  programs: readonly Program[],
  root: boolean,
): {
  readonly command: readonly string[]
  readonly missing?: string
} {
  const needed: readonly Program[] = [...programs, 'ip', 'nsenter', 'setpriv', 'unshare']
  const absent = needed.filter((program) => run('sh', '-c', `command -v ${program}`) !== '')
  if (absent.length > 0) {
    const packages = [...new Set(absent.map((program) => PACKAGES[program]))].join(' ')
    return { command: [], missing: `${absent.join(', ')} missing: apt-get install ${packages}` }
  }
  const reasons: string[] = []
  const isRoot = process.getuid?.() === 0
  if (root && !isRoot) return { command: [], missing: 'run as root: systemd boots machines' }
  for (const privilege of [...(isRoot ? [[]] : []), ...(root ? [] : [AS_OWN_ROOT])]) {
    const command = ['unshare', ...NAMESPACES, ...privilege]
    const reason = run(...command, 'mount', '-t', 'tmpfs', 'tmpfs', '/run')
    if (reason === '') return { command: ['setpriv', '--pdeathsig', 'KILL', ...command] }
    reasons.push(reason)
  }
  const how = 'run as root (in a container: --privileged), or allow user namespaces'
  return { command: [], missing: `no namespaces (${reasons.join('; ')}): ${how}` }
}

/** Why a command failed, or nothing. */
function run(...[command = '', ...args]: readonly string[]): string {
  const { error, status, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    env: environment(),
  })
  if (status === 0) return ''
  return error?.message ?? (stderr.trim().split('\n')[0] || `exit code ${status}`)
}
