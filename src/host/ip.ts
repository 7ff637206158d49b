// Runs iproute2's `ip`, the only program that steadycast needs on a host. Called by the rest of src/host. Guarantees: no
// shell, no locale, a time limit; a command that fails becomes a sentence with the command and the kernel's answer.

import { execFile, spawn } from 'node:child_process'
import { HostError } from './host-error.js'

const TIMEOUT_MS = 10_000
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024

export type Family = 4 | 6

/** `ip` is in /usr/sbin or /sbin, which a user's PATH may lack. */
export const ipEnv: NodeJS.ProcessEnv = {
  ...process.env,
  LC_ALL: 'C',
  PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
}

export class IpError extends HostError {
  constructor(
    command: readonly string[],
    /** What ip said. */
    readonly answer: string,
  ) {
    super(`"ip ${command.join(' ')}" failed: ${answer}`)
  }
}

export function ip(...args: readonly string[]): Promise<string> {
  return run(args, undefined)
}

/** Runs `ip -j`; a table that does not exist yet is empty. */
export async function ipJson<T>(...args: readonly string[]): Promise<readonly T[]> {
  const text = await ip('-j', ...args).catch((error: unknown) => {
    if (error instanceof IpError && error.answer.includes('FIB table does not exist')) return ''
    throw error
  })
  const trimmed = text.trim()
  return trimmed === '' ? [] : (JSON.parse(uniqueKeys(trimmed)) as readonly T[])
}

/** RTN_*, linux/rtnetlink.h: what `ip -N` says of a route that is not unicast. */
const ROUTE_TYPES: Readonly<Record<string, string>> = {
  1: 'unicast',
  2: 'local',
  3: 'broadcast',
  4: 'anycast',
  5: 'multicast',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
  9: 'throw',
  10: 'nat',
}

/** A table's routes; tables and protocols as numbers, whatever /etc/iproute2 calls them, types by name. */
export async function ipRoutes<T extends { readonly type?: string }>(
  family: Family,
  table: number,
): Promise<readonly T[]> {
  const rows = await ipJson<T>('-N', `-${family}`, 'route', 'show', 'table', String(table))
  return rows.map((row) =>
    row.type === undefined ? row : { ...row, type: ROUTE_TYPES[row.type] ?? row.type },
  )
}

/** Runs many commands of one family in one process; stops at the first that fails. */
export async function ipBatch(family: Family, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return
  await run([`-${family}`, '-batch', '-'], `${commands.join('\n')}\n`)
}

/** Whether there is an `ip` that this user can run. */
export async function ipIsPresent(): Promise<boolean> {
  return ip('-V').then(
    () => true,
    () => false,
  )
}

/** An encapsulated route has the key "dst" twice, the tunnel's behind the route's own: JSON.parse() takes the last. */
function uniqueKeys(json: string): string {
  return json.replaceAll(/("encap":[^{}[\]]*?)"dst":/g, '$1"encap_dst":')
}

function run(args: readonly string[], input: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'ip',
      args,
      { env: ipEnv, timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout)
        const answer = stderr.trim().replaceAll(/\s*\n\s*/g, '; ')
        reject(new IpError(args, answer === '' ? error.message : answer))
      },
    )
    // An ip that has given up closes its end first; what it said comes with its exit.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input ?? '')
  })
}

/** `ip -N -o monitor` for as long as this process lives, and no longer, whatever kills it. */
export interface Monitor {
  readonly exited: Promise<void>
  stop(): void
}

// The shell outlives nothing: when its stdin closes (our end, by exit or kill -9), it kills the monitor. A Ctrl-C of the
// terminal reaches the whole group and must not end either before we have cleaned up.
const MONITOR = `trap '' INT; ip -N -o monitor "$@" & pid=$!; exec >&- 2>&-; read -r _; kill -9 "$pid"`

export function ipMonitor(objects: readonly string[], onLine: (line: string) => void): Monitor {
  const child = spawn('sh', ['-c', MONITOR, 'sh', ...objects], {
    env: ipEnv,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  let rest = ''
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
  const exited = new Promise<void>((resolve) => {
    // The monitor alone holds stdout.
    child.stdout.on('close', () => {
      child.stdin.end()
      resolve()
    })
    child.on('error', () => resolve())
  })
  return { exited, stop: () => child.stdin.end() }
}
