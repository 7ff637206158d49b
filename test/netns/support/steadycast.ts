// The program under test, as its units start it: nodes and backend sides on machines, and what their /metrics say. Called
// by the test files.

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseMetrics } from '../../support/prometheus.js'
import { type Running, until } from '../net.js'
import type { Machine } from './machine.js'
import { Metrics } from './metrics.js'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const FLEET_FILE = '/run/fleet.yaml'

/** One fleet at a time; `pops` is the text of fleet.pops, each line indented by four. */
export function writeFleet(pops: string, services: string, hashSeed = newHashSeed()): void {
  writeFileSync(
    FLEET_FILE,
    `fleet:
  key_file: fleet.key
  hash_seed: ${hashSeed}
  flow_table: 65536
  pops:
${pops}
services:
${services}
`,
  )
}

export const newHashSeed = (): string => `0x${randomBytes(8).toString('hex')}`

/** Lines of the fleet's key file. */
export function writeKeys(...keys: readonly string[]): void {
  writeFileSync('/run/fleet.key', `${keys.join('\n')}\n`, { mode: 0o600 })
}

export const newKey = (id: number): string => `${id} ${randomBytes(16).toString('hex')}`

/** `steadycast run` or `steadycast backend`. */
export class Steadycast {
  readonly running: Running

  private constructor(
    readonly machine: Machine,
    private readonly adminPort: number,
    args: readonly string[],
  ) {
    this.running = machine.start(process.execPath, MAIN, ...args)
  }

  static async run(machine: Machine, node: string): Promise<Steadycast> {
    return await Steadycast.start(machine, ['run', '--config', FLEET_FILE, '--node', node])
  }

  static async backend(machine: Machine, name: string): Promise<Steadycast> {
    return await Steadycast.start(machine, ['backend', '--config', FLEET_FILE, '--name', name])
  }

  /** Nothing is asked before it answers: a refused question would be a reset that somebody counts. */
  static async start(machine: Machine, args: readonly string[]): Promise<Steadycast> {
    const started = new Steadycast(machine, args[0] === 'run' ? 6080 : 6081, args)
    await started.running.says(/is running"/)
    return started
  }

  async metrics(): Promise<Metrics> {
    const url = `http://127.0.0.1:${this.adminPort}/metrics`
    return new Metrics(parseMetrics(await this.machine.run('curl', '--silent', '--fail', url)))
  }

  /** Knows all that its peers know, so that it may say of a flow that nobody has it. */
  async certain(): Promise<void> {
    await until(
      `a certain node on ${this.machine.name}: ${this.running.stdout}`,
      async () => (await this.metrics()).value('certain') === 1,
      this.running.ended,
    )
  }

  /** What an operator asks: has the node filled, does it take new connections? */
  async healthy(): Promise<void> {
    const url = `http://127.0.0.1:${this.adminPort}/healthz`
    await until(
      `health of ${this.machine.name}`,
      async () => (await this.machine.run('curl', '--silent', url)).trim() === 'ok',
      this.running.ended,
    )
  }

  /** SIGHUP, and the line in the log that answers it. */
  async reload(answer = /"reloaded: /): Promise<void> {
    const { running } = this
    const from = running.stdout.length
    running.child.kill('SIGHUP')
    const answered = () => answer.test(running.stdout.slice(from))
    await until(`${answer} on ${this.machine.name}`, answered, running.ended).catch(
      ({ message }: Error) => {
        throw new Error(`${message}; it said: ${running.stdout.slice(from)}`)
      },
    )
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.running.stop(signal)
  }
}
