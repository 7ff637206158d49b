// Runs other programs inside the lab: `ip` in batches, sysctls, and a program within a namespace. Called by inner.ts,
// processes.ts and moves.ts. Guarantees that a command which fails becomes a LabFailure that names it and quotes it.

import { type SpawnOptions, spawn } from 'node:child_process'
import { LabFailure } from './failure.js'
import type { IpLine, Sysctl } from './topology.js'

const NETNS_FOLDER = '/run/netns'

/** `command` becomes the program itself: the process id is its own. */
export function inNamespace(
  namespace: string,
  command: readonly string[],
): { readonly file: string; readonly args: readonly string[] } {
  return { file: 'nsenter', args: [`--net=${NETNS_FOLDER}/${namespace}`, ...command] }
}

/** The command's stdout. */
export function runCommand(
  file: string,
  args: readonly string[],
  input = '',
  options: SpawnOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
    const quoted = [file, ...args].join(' ')
    let stdout = ''
    let stderr = ''
    child.stdout?.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr?.on('data', (chunk) => {
      stderr += chunk
    })
    child.on('error', (error) =>
      reject(new LabFailure(`"${quoted}" did not run: ${error.message}`)),
    )
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(stdout)
      const why = stderr.trim() || (signal === null ? `exit code ${code}` : `ended by ${signal}`)
      reject(new LabFailure(`"${quoted}" failed: ${why.replace(/\s*\n\s*/g, '; ')}`))
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** One `ip -batch`; on failure the line that failed is named instead of its number. */
export async function ipBatch(
  lines: readonly string[],
  where: { readonly namespace?: string; readonly family?: 4 | 6 } = {},
): Promise<void> {
  if (lines.length === 0) return
  const options = [
    ...(where.family === undefined ? [] : [`-${where.family}`]),
    ...(where.namespace === undefined ? [] : ['-n', where.namespace]),
  ]
  try {
    await runCommand('ip', [...options, '-batch', '-'], `${lines.join('\n')}\n`)
  } catch (error) {
    if (!(error instanceof LabFailure)) throw error
    const line = lines[Number(/Command failed -:(\d+)/.exec(error.message)?.[1]) - 1]
    if (line === undefined) throw error
    throw new LabFailure(`${error.message} (the line: "${['ip', ...options, line].join(' ')}")`)
  }
}

/** Rules know no family by themselves: one batch for each, at the same time. */
export async function ipLines(namespace: string, lines: readonly IpLine[]): Promise<void> {
  const of = (family: 4 | 6): readonly string[] =>
    lines.filter((line) => line.family === family).map(({ line }) => line)
  await Promise.all([
    ipBatch(of(4), { namespace, family: 4 }),
    ipBatch(of(6), { namespace, family: 6 }),
  ])
}

/** /proc/sys/net shows the namespace of the process that looks. */
export async function writeSysctls(namespace: string, sysctls: readonly Sysctl[]): Promise<void> {
  const script = sysctls
    .map(({ path, value }) => `echo ${value} > /proc/sys/${path} || exit 1`)
    .join('\n')
  const { file, args } = inNamespace(namespace, ['sh'])
  await runCommand(file, args, `${script}\n`)
}
