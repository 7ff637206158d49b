// A Debian 12 root from which booted.ts starts machines: Debian's packages that the quickstart lists, this computer's own
// Node.js. Called by quickstart.test.ts, outside of the namespaces, since it needs the network. Guarantees: a root is
// made once, and belongs to root alone; what is half made is never used; no mirror is asked but the one of apt's sources.

import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const SOURCE = fileURLToPath(new URL('../../..', import.meta.url))
const RELEASE = 'bookworm'
/** What an image of Debian's has, and debootstrap's smallest variant has not. */
const OF_AN_IMAGE = ['dbus', 'procps', 'systemd-sysv']
/** Arguments of setpriv: what it mounts and starts goes with this process. */
const ENDS_WITH_US = '--pdeathsig KILL unshare --mount --pid --fork --kill-child'.split(' ')
export const CGROUPS = '/sys/fs/cgroup'
/** A view of cgroups of its own, whatever versions of them this computer has there. */
export const OWN_CGROUPS = `umount --recursive --lazy ${CGROUPS} || true; mount -t cgroup2 none ${CGROUPS}`
const FOLDER = 'STEADYCAST_TEST_DEBIAN'

/** Where things are, for both sides of isolate.ts. */
export interface Debian {
  /** The root, which nobody writes to. */
  readonly base: string
  /** npm's cache with all that the package depends on. */
  readonly npm: string
  readonly tarball: string
  /** Below the root of cgroups; to be made. */
  readonly cgroup: string
}

/** In the inner process. */
export function debian(): Debian {
  return JSON.parse(process.env[FOLDER] ?? '') as Debian
}

export class CannotMake extends Error {}

/** The environment for the inner process. Throws CannotMake where this computer has no such root. */
export async function makeDebian(guide: string): Promise<Readonly<Record<string, string>>> {
  const scratch = mkdtempSync(join(tmpdir(), 'steadycast-test-'))
  const cgroup = `steadycast-test-${process.pid}`
  removeAfterwards(scratch, cgroup)
  const made = await makeRoot(packagesOf(guide), join(scratch, 'debian'))
  const tarball = await packed(scratch)
  // Dependencies come into the cache from here: the machines reach nobody.
  const npm = join(made, 'npm')
  const options = ['--global', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await execute('npm', [
    'install',
    ...options,
    ...['--cache', npm, '--prefix', join(scratch, 'prefix'), tarball],
  ])
  const found: Debian = { base: join(made, 'root'), npm, tarball, cgroup }
  return { [FOLDER]: JSON.stringify(found) }
}

/** Another process does, when this one has ended, however it did. */
function removeAfterwards(folder: string, cgroup: string): void {
  const script = `${OWN_CGROUPS}; cat; rm -rf ${folder}; cd ${CGROUPS}
    for i in $(seq 100); do [ -e ${cgroup} ] || exit
    find ${cgroup} -depth -type d -exec rmdir {} \\;; sleep 0.1; done`
  const child = spawn('unshare', ['--mount', 'sh', '-c', script], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  ;(child.stdin as Socket).unref()
}

/** The packages of all the guide's machines: each gets all, since one root serves them. */
function packagesOf(guide: string): readonly string[] {
  const lists = [...guide.matchAll(/apt-get install -y --no-install-recommends ([^\n`]+)/g)]
  if (lists.length !== 2) throw new Error(`expected two lists of packages, not ${lists.length}`)
  return [...new Set([...lists.flatMap(([, list = '']) => list.split(' ')), ...OF_AN_IMAGE])].sort()
}

/** `npm pack` of what is built: its scripts would build again, in a folder that other tests run from. */
async function packed(folder: string): Promise<string> {
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder]
  const { stdout } = await execute('npm', args, { cwd: SOURCE })
  return join(folder, stdout.trim())
}

/** `partial`: where it is while it is not whole. */
async function makeRoot(packages: readonly string[], partial: string): Promise<string> {
  const mirror = await mirrorOf(RELEASE)
  const how = readFileSync(fileURLToPath(import.meta.url), 'utf8')
  const parts = [how, mirror, packages, process.version, process.arch]
  const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)
  const made = join(tmpdir(), `steadycast-debian-${key}`)
  if (existsSync(made)) {
    const { uid, mode } = lstatSync(made)
    if (uid !== 0 || (mode & 0o170077) !== 0o040000) {
      throw new CannotMake(`${made} is not a folder of root's alone: remove it`)
    }
    return made
  }
  mkdirSync(partial, { mode: 0o700 })
  const root = join(partial, 'root')
  const include = `--include=${packages.join(',')}`
  const command = ['debootstrap', '--variant=minbase', include, RELEASE, root, mirror]
  await execute('setpriv', [...ENDS_WITH_US, ...command], { maxBuffer: 16 << 20 }).catch(
    ({ stdout = '' }: { readonly stdout?: string }) => {
      throw new CannotMake(`debootstrap: ${stdout.trim().split('\n').slice(-3).join('; ')}`)
    },
  )
  await asAnImage(root)
  addNode(join(root, 'usr/local'))
  try {
    renameSync(partial, made)
  } catch (error) {
    // Another run was faster.
    if (!existsSync(made)) throw error
  }
  return made
}

/** The archive that this computer itself installs from. */
async function mirrorOf(release: string): Promise<string> {
  const args = ['indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)']
  const { stdout } = await execute('apt-get', [...args, 'Created-By: Packages'])
  const lines = stdout.split('\n').map((line) => line.split(' '))
  const found = lines.find(([, of, component]) => of === release && component === 'main')
  if (found?.[0] === undefined) {
    throw new CannotMake(`apt's sources here have no ${release} main of Debian's`)
  }
  return found[0]
}

/** What the image of a provider differs in from what debootstrap leaves. */
async function asAnImage(root: string): Promise<void> {
  rmSync(join(root, 'etc/resolv.conf'))
  const archives = join(root, 'var/cache/apt/archives')
  for (const name of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
    rmSync(join(archives, name))
  }
  // They set what machines that share a kernel may only read.
  const settings = join(root, 'usr/lib/sysctl.d')
  for (const name of readdirSync(settings)) rmSync(join(settings, name))
  await execute('systemctl', [`--root=${root}`, 'enable', 'systemd-networkd'])
}

/** The running Node.js and its npm, where the guide unpacks one. */
function addNode(prefix: string): void {
  const module = join(dirname(process.execPath), '../lib/node_modules/npm')
  if (!existsSync(module)) throw new CannotMake(`no npm at ${module}, beside ${process.execPath}`)
  cpSync(process.execPath, join(prefix, 'bin/node'), { dereference: true })
  cpSync(module, join(prefix, 'lib/node_modules/npm'), { recursive: true })
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(prefix, 'bin/npm'))
}

/** The guide's shell commands, block by block, in its order. */
export function blocksOf(guide: string): readonly string[] {
  return [...guide.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = '']) => text)
}

export const readGuide = (): string => readFileSync(join(SOURCE, 'docs/quickstart.md'), 'utf8')
