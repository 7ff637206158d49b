// A machine of a test: a network namespace, and processes in it. Called by internet.ts and the test files, inside the
// namespaces of isolate.ts. Guarantees: a command that fails throws with what it said.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Running } from '../net.js'

const execute = promisify(execFile)

export class Machine {
  readonly namespace: string

  constructor(
    readonly name: string,
    readonly address4: string,
    readonly address6: string,
  ) {
    this.namespace = name
  }

  /** Both families at once. */
  get addresses(): readonly [string, string] {
    return [this.address4, this.address6]
  }

  /** What the command prints. */
  async run(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await execute('nsenter', [this.#net, command, ...args], {
      maxBuffer: 16 << 20,
    })
    return stdout
  }

  /** The child is the command itself: its signals and its exit code are the command's. */
  spawn(command: string, ...args: readonly string[]): ChildProcess {
    return spawn('nsenter', [this.#net, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  }

  start(command: string, ...args: readonly string[]): Running {
    return new Running(this.spawn(command, ...args))
  }

  /** Several commands of `ip`, one a line. `family`: of rules, which have no other way to tell. */
  async ip(script: string, family?: 4 | 6): Promise<void> {
    const of = family === undefined ? [] : [`-${family}`]
    await batch(script, [...of, '-n', this.namespace])
  }

  /** `net.ipv4.conf.all.forwarding=1`, one a line, as in /etc/sysctl.d; # starts a comment, - stands before what may be missing. */
  async sysctls(text: string): Promise<void> {
    const script = text
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim().replace(/^-/, ''))
      .filter((line) => line !== '')
      .map((line) => {
        const [key = '', value = ''] = line.split(/\s*=\s*/)
        return `echo ${value} > /proc/sys/${key.replaceAll('.', '/')}`
      })
    await this.run('sh', '-ec', script.join('\n'))
  }

  /** The kernel's counters, such as TcpOutRsts, TcpExtTCPSynRetrans and Icmp6InDestUnreachs. */
  async counters(): Promise<Counters> {
    const [snmp6 = '', ...tables] = (
      await this.run('sh', '-ec', 'cat /proc/net/snmp6; echo; cat /proc/net/snmp /proc/net/netstat')
    ).split('\n\n')
    const found = new Map<string, number>()
    for (const line of snmp6.split('\n')) {
      const [name = '', value] = line.trim().split(/\s+/)
      found.set(name, Number(value))
    }
    const lines = tables.join('\n').split('\n')
    for (let at = 0; at + 1 < lines.length; at += 2) {
      const [kind = '', ...names] = (lines[at] ?? '').split(' ')
      const [, ...values] = (lines[at + 1] ?? '').split(' ')
      names.forEach((name, index) => {
        found.set(`${kind.slice(0, -1)}${name}`, Number(values[index]))
      })
    }
    return new Counters(found)
  }

  get #net(): string {
    return `--net=/run/netns/${this.namespace}`
  }
}

/** `ip -batch`; what fails is named by its text. */
export async function batch(script: string, options: readonly string[] = []): Promise<void> {
  const lines = script
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const file = `/run/ip-batch-${batches++}`
  await writeFile(file, `${lines.join('\n')}\n`)
  await execute('ip', [...options, '-batch', file]).catch((error: { readonly stderr?: string }) => {
    const failed = /:(\d+)\s*$/.exec(error.stderr ?? '')?.[1]
    throw new Error(`ip ${lines[Number(failed ?? 1) - 1]}: ${error.stderr}`)
  })
}
let batches = 0

export class Counters {
  constructor(private readonly counts: ReadonlyMap<string, number>) {}

  /** Throws for a counter that is not there. */
  value(name: string): number {
    const value = this.counts.get(name)
    if (value === undefined || Number.isNaN(value)) throw new Error(`the kernel counts no ${name}`)
    return value
  }

  since(before: Counters): Counters {
    const grown = [...this.counts].map(([name, value]): [string, number] => {
      return [name, value - (before.counts.get(name) ?? 0)]
    })
    return new Counters(new Map(grown))
  }
}

/** The settings that docs and units tell an operator to install. */
export async function deployed(file: string): Promise<string> {
  return await readFile(new URL(`../../../deploy/${file}`, import.meta.url), 'utf8')
}
