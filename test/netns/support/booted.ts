// Debian 12 machines with systemd as their first process, all on one network. Called by the tests of the quickstart, in the
// inner process of isolate.ts. Each has a file system of its own over debian.ts's root, and as a network namespace, a
// device policy and cgroups can make it, a host: what it does to its kernel's settings ends at its own network's.
// Guarantees: all of it goes with this process, kill -9 included.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Running, until } from '../net.js'
import { CGROUPS, type Debian, OWN_CGROUPS } from './debian.js'
import { batch } from './machine.js'

const execute = promisify(execFile)
const FOLDER = '/run/machines'
const SOURCE = 'usr/local/src/steadycast'
/** What systemd-nspawn would not give: the first makes the machine's network its own, the others let its systemd enforce
 * what units say of devices. */
const POWERS = ['--capability=CAP_NET_ADMIN,CAP_BPF', '--system-call-filter=bpf']
const ENVIRONMENT = ['-i', 'HOME=/root', 'USER=root', 'LOGNAME=root', 'TERM=dumb', 'LANG=C.UTF-8']

/** What machines have in common. */
export interface Site {
  /** The lower folders of their file systems. */
  readonly lower: string
  readonly cgroup: string
  /** Of their network. */
  readonly router: string
}

/** A network, and a root with the package in it, installed there as `commands` say. */
export async function makeSite(debian: Debian, commands: string, router: string): Promise<Site> {
  await execute('sh', ['-ec', OWN_CGROUPS])
  await batch(`
    link set lo up
    link add lan type bridge mcast_snooping 0
    link set lan up
    address add ${router}/24 dev lan
  `)
  return { lower: await install(debian, commands), cgroup: debian.cgroup, router }
}

async function install(debian: Debian, commands: string): Promise<string> {
  const { upper, root } = await overlay('installed', debian.base)
  mkdirSync(`${root}/${SOURCE}`, { recursive: true })
  const unpack = ['--strip-components=1', '--no-same-owner', '-C', `${root}/${SOURCE}`]
  await execute('tar', ['-xzf', debian.tarball, ...unpack])
  await execute('cp', [debian.tarball, `${root}/${SOURCE}/`])
  const cache = '/var/cache/npm'
  const npm = [`--setenv=npm_config_cache=${cache}`, '--setenv=npm_config_offline=true']
  await execute('systemd-nspawn', [
    ...['--quiet', '--directory', root, '--register=no', '--keep-unit', '--pipe'],
    ...[`--bind=${debian.npm}:${cache}`, ...npm, 'bash', '-lec', commands],
  ])
  await execute('umount', [root])
  return `${upper}:${debian.base}`
}

async function overlay(
  name: string,
  lower: string,
): Promise<{ readonly upper: string; readonly root: string }> {
  const folder = `${FOLDER}/${name}`
  const [upper, work, root] = [`${folder}/upper`, `${folder}/work`, `${folder}/root`] as const
  for (const part of [upper, work, root]) mkdirSync(part, { recursive: true })
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
  await execute('mount', ['-t', 'overlay', '-o', options, 'overlay', root])
  return { upper, root }
}

export class BootedMachine {
  #nspawn: ChildProcess | undefined
  /** Its first process, as this process sees it. */
  #init = 0

  private constructor(
    readonly name: string,
    readonly address: string,
    readonly root: string,
    private readonly cgroup: string,
  ) {}

  /** Not booted yet. `without`: services of packages that this machine would not have. */
  static async make(
    { lower, cgroup, router }: Site,
    name: string,
    address: string,
    without: readonly string[],
  ): Promise<BootedMachine> {
    const { root } = await overlay(name, lower)
    writeFileSync(`${root}/etc/machine-id`, `${randomBytes(16).toString('hex')}\n`)
    writeFileSync(`${root}/etc/hostname`, 'debian\n')
    // As udev's rules leave it, which is not everywhere on the machine that runs the tests.
    if ((statSync('/dev/net/tun').mode & 0o666) !== 0o666) {
      writeFileSync(`${root}/etc/tmpfiles.d/tun.conf`, 'z /dev/net/tun 0666\n')
    }
    writeFileSync(`${root}/etc/hosts`, `127.0.0.1 localhost\n127.0.1.1 ${name}\n`)
    writeFileSync(
      `${root}/etc/systemd/network/eth0.network`,
      `[Match]\nName=eth0\n[Network]\nAddress=${address}/24\nGateway=${router}
LinkLocalAddressing=no\nIPv6AcceptRA=no\n`,
    )
    if (without.length > 0) await execute('systemctl', [`--root=${root}`, 'disable', ...without])
    return new BootedMachine(name, address, root, `${CGROUPS}/${cgroup}/${name}`)
  }

  /** With a new network: rules, routes, firewall and settings of the one before are gone. */
  async boot(): Promise<void> {
    const { name, root, cgroup } = this
    mkdirSync(cgroup, { recursive: true })
    await batch(`
      netns add ${name}
      link add ${name} type veth peer name eth0 netns ${name}
      link set ${name} master lan up
    `)
    const options = [
      ...['--quiet', `--directory=${root}`, `--machine=${name}`, '--boot', '--console=pipe'],
      ...['--register=no', '--keep-unit', '--resolv-conf=off', '--link-journal=no', ...POWERS],
      `--network-namespace-path=/run/netns/${name}`,
    ]
    const script = `echo $$ > ${cgroup}/cgroup.procs; exec systemd-nspawn ${options.join(' ')}`
    // Settings of its own network, and no others, are its own.
    const env = { ...process.env, SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network' }
    const nspawn = new Running(spawn('sh', ['-ec', script], { env }))
    this.#nspawn = nspawn.child
    const payload = `${cgroup}/payload/init.scope/cgroup.procs`
    await until(
      `the first process of ${name}: ${nspawn.stderr}`,
      () => existsSync(payload) && readFileSync(payload, 'utf8') !== '',
      nspawn.ended,
    )
    this.#init = Number(readFileSync(payload, 'utf8').split('\n')[0])
    await until(`${name} to boot`, async () => {
      const state = await this.type('systemctl is-system-running || true').catch(() => '')
      return /^(running|degraded)/.test(state)
    })
  }

  /** As its own switch does; its network goes as well. */
  async powerOff(): Promise<void> {
    const nspawn = this.#nspawn
    if (nspawn === undefined) throw new Error(`${this.name} is not on`)
    const off = new Promise((resolve) => nspawn.once('close', resolve))
    await this.type('systemctl poweroff').catch(() => {})
    await off
    this.#nspawn = undefined
    await batch(`
      link delete ${this.name}
      netns delete ${this.name}
    `)
  }

  /** Typed by root, who has just logged in; what it prints. A command that fails ends it. */
  async type(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.start(script).ended
    if (code !== 0) throw new Error(`${this.name}: ${code} from\n${script}\n${stdout}${stderr}`)
    return stdout
  }

  start(script: string): Running {
    return new Running(this.spawn(script))
  }

  spawn(script: string): ChildProcess {
    const shell = ['bash', '-lec', `cd\n${script}`]
    const enter = ['--target', `${this.#init}`, '--all', 'env', ...ENVIRONMENT]
    return spawn('nsenter', [...enter, ...shell])
  }

  /** Processes of a service, as this process sees them. */
  processesOf(unit: string): readonly number[] {
    const file = `${this.cgroup}/payload/system.slice/${unit}/cgroup.procs`
    return readFileSync(file, 'utf8').trim().split('\n').map(Number)
  }

  async journal(): Promise<string> {
    const script = 'journalctl --boot --no-pager --no-hostname --lines=120'
    return await this.type(script).catch((error: Error) => error.message)
  }
}
