// Where the lab may live: finds out which namespaces this user gets on this machine, and the command that makes them.
// Called by outer.ts before anything else. Guarantees: a missing program or privilege is one sentence that says what
// to do, and looking leaves nothing behind.

import { spawnSync } from 'node:child_process'
import { LabFailure } from './failure.js'

const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child']
const AS_OWN_ROOT = ['--user', '--map-root-user']
const TOOLS = [
  { program: 'ip', package: 'iproute2' },
  { program: 'unshare', package: 'util-linux' },
  { program: 'nsenter', package: 'util-linux' },
  { program: 'setpriv', package: 'util-linux' },
] as const
/** What every later step rests on: a private /run, named namespaces, veth pairs. */
const TRIAL = 'mount -t tmpfs tmpfs /run && ip netns add trial && ip link add trial0 type veth'

/** `ip` is in /usr/sbin or /sbin, which a user's PATH may lack. */
export function labEnv(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` }
}

/** The command to put before the inner process's own. It dies with its parent, and all of the lab dies with it. */
export function isolatingCommand(): readonly string[] {
  for (const { program, package: name } of TOOLS) {
    const found = spawnSync('sh', ['-c', `command -v ${program}`], { env: labEnv() })
    if (found.status === 0) continue
    throw new LabFailure(
      `the lab needs the program "${program}", and it is not installed; ` +
        `install it (Debian, Ubuntu: apt-get install ${name})`,
    )
  }
  const isRoot = process.getuid?.() === 0
  const reasons: string[] = []
  for (const privilege of isRoot ? [[], AS_OWN_ROOT] : [AS_OWN_ROOT]) {
    const command = ['unshare', ...NAMESPACES, ...privilege]
    const trial = spawnSync('unshare', [...command.slice(1), 'sh', '-c', TRIAL], {
      env: labEnv(),
      encoding: 'utf8',
    })
    if (trial.status === 0) return ['setpriv', '--pdeathsig', 'KILL', ...command]
    const [said = ''] = trial.stderr.trim().split('\n')
    reasons.push(said.replace('unshare: unshare failed', 'unshare') || `exit code ${trial.status}`)
  }
  throw new LabFailure(
    isRoot
      ? `the lab needs network namespaces, and root may not make them here (${reasons.join('; ')}): ` +
          'in a container, start it with --privileged'
      : `the lab needs network namespaces, and this user may not make them here (${reasons.join('; ')}): ` +
          'run it as root (sudo), or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, ' +
          'kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces=10000)',
  )
}
