// The long-running processes of the lab: nodes, backends, web servers, the clients, the splitter. Called by inner.ts.
// Guarantees: all start in parallel, none is used before it is ready, and one that ends by itself fails the lab with
// the last lines of its log.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inNamespace, runCommand } from './commands.js'
import { LabFailure } from './failure.js'
import { START_LIMIT_MS } from './options.js'
import type { Host, Pop, Topology } from './topology.js'
import { CLIENTS_NAMESPACE, INTERNET_NAMESPACE } from './topology.js'

export const ADMIN_PORT = 6080
const LOG_TAIL_LINES = 15

export const scriptPath = (name: string): string =>
  fileURLToPath(new URL(`./${name}.js`, import.meta.url))
const cliPath = fileURLToPath(new URL('../cli/main.js', import.meta.url))

export interface Started {
  readonly what: string
  readonly child: ChildProcess
  readonly logFile: string
}

export interface StartSpec {
  /** For messages: "node ams-1". */
  readonly what: string
  readonly namespace: string
  /** Arguments of node. */
  readonly args: readonly string[]
}

export class Processes {
  readonly #started: Started[] = []
  #onFailure: (failure: LabFailure) => void = () => undefined
  /** Rejects when a process ends that should not. */
  readonly failed: Promise<never>

  constructor(
    private readonly folder: string,
    private readonly fleetFile: string,
  ) {
    this.failed = new Promise((_, reject) => {
      this.#onFailure = reject
    })
    this.failed.catch(() => undefined)
  }

  start(spec: StartSpec): Started {
    const logFile = `${this.folder}/${spec.what.replaceAll(' ', '-')}.log`
    const log = openSync(logFile, 'a')
    const { file, args } = inNamespace(spec.namespace, [process.execPath, ...spec.args])
    const child = spawn(file, args, { stdio: ['ignore', log, log, 'ipc'] })
    closeSync(log)
    const started = { what: spec.what, child, logFile }
    this.#started.push(started)
    child.on('error', (error) => this.#fail(started, `did not start: ${error.message}`))
    child.on('exit', (code, signal) =>
      this.#fail(started, signal === null ? `ended with exit code ${code}` : `ended by ${signal}`),
    )
    return started
  }

  startNode(pop: Pop): Promise<void> {
    this.start({
      what: `node ${pop.node.name}`,
      namespace: pop.node.namespace,
      args: [cliPath, 'run', '--config', this.fleetFile, '--node', pop.node.name],
    })
    const { file, args } = inNamespace(pop.node.namespace, [
      process.execPath,
      scriptPath('probe'),
      `http://127.0.0.1:${ADMIN_PORT}/healthz`,
      String(START_LIMIT_MS),
    ])
    return runCommand(file, args).then(
      () => undefined,
      (error: unknown) => {
        throw this.notReady(`node ${pop.node.name}`, error)
      },
    )
  }

  startBackend(backend: Host): void {
    this.start({
      what: `backend ${backend.name}`,
      namespace: backend.namespace,
      args: [cliPath, 'backend', '--config', this.fleetFile, '--name', backend.name],
    })
  }

  startServer(pop: Pop, backend: Host): Promise<void> {
    const server = this.start({
      what: `web server of ${backend.name}`,
      namespace: backend.namespace,
      args: [scriptPath('http-server'), backend.name, pop.name],
    })
    return this.message(server, (message) => message === 'ready').then(() => undefined)
  }

  async startClients(): Promise<Started> {
    const args = [scriptPath('clients')]
    const clients = this.start({ what: 'clients', namespace: CLIENTS_NAMESPACE, args })
    await this.message(clients, () => true)
    return clients
  }

  startSplitter(): Started {
    const args = [scriptPath('splitter')]
    return this.start({ what: 'splitter', namespace: INTERNET_NAMESPACE, args })
  }

  startRelay(name: string, namespace: string): Started {
    return this.start({ what: `relay of ${name}`, namespace, args: [scriptPath('relay')] })
  }

  /** The next message that fits. */
  message<T>(from: Started, fits: (message: T) => boolean): Promise<T> {
    const arrived = new Promise<T>((resolve) => {
      const listener = (message: unknown): void => {
        if (!fits(message as T)) return
        from.child.off('message', listener)
        resolve(message as T)
      }
      from.child.on('message', listener)
    })
    return Promise.race([arrived, this.failed])
  }

  notReady(what: string, error: unknown): LabFailure {
    const started = this.#started.find((candidate) => candidate.what === what)
    const why = error instanceof Error ? error.message : String(error)
    return new LabFailure(`${what} is not ready: ${why}`, started ? tail(started.logFile) : [])
  }

  #fail(started: Started, how: string): void {
    this.#onFailure(new LabFailure(`${started.what} ${how}`, tail(started.logFile)))
  }
}

/** Everything that both phases need. */
export async function startAll(processes: Processes, topology: Topology): Promise<void> {
  const started: Promise<void>[] = []
  for (const pop of topology.pops) {
    for (const backend of pop.backends) {
      processes.startBackend(backend)
      started.push(processes.startServer(pop, backend))
    }
    started.push(processes.startNode(pop))
  }
  await Promise.race([Promise.all(started), processes.failed])
}

function tail(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    return lines.filter((line) => line !== '').slice(-LOG_TAIL_LINES)
  } catch {
    return []
  }
}
