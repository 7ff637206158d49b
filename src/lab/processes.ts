// The long-running processes of the lab: nodes, backends, web servers, the clients, the splitter. Called by inner.ts.
// Guarantees: all start in parallel, none is used before it is ready, and one that ends by itself, not by stopNode, fails
// the lab with the last lines of its log.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inNamespace, runCommand } from './commands.js'
import { LabFailure } from './failure.js'
import { START_LIMIT_MS } from './options.js'
import {
  CLIENTS_NAMESPACE,
  type Host,
  INTERNET_NAMESPACE,
  machinesOf,
  type Pop,
  type Topology,
} from './topology.js'

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
  readonly #stopped = new Set<Started>()
  #onFailure: (failure: LabFailure) => void = () => undefined
  /** Rejects when a process ends that should not. */
  readonly failed: Promise<never>

  constructor(
    private readonly folder: string,
    private readonly fleetFile: string,
    /** Machines that are to become backends are in it already. */
    private readonly backendsFile: string,
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
    child.on('error', (error) => this.#ended(started, `did not start: ${error.message}`))
    child.on('exit', (code, signal) =>
      this.#ended(started, signal === null ? `ended with exit code ${code}` : `ended by ${signal}`),
    )
    return started
  }

  /** Resolves when its /healthz says ok. */
  startNode(node: Host): Promise<void> {
    const what = nodeLabel(node)
    this.start({
      what,
      namespace: node.namespace,
      args: [
        cliPath,
        'run',
        '--config',
        this.fleetFile,
        '--node',
        node.name,
        '--state',
        `${this.folder}/${node.name}`,
      ],
    })
    const { file, args } = inNamespace(node.namespace, [
      process.execPath,
      scriptPath('probe'),
      `http://127.0.0.1:${ADMIN_PORT}/healthz`,
      String(START_LIMIT_MS),
    ])
    return runCommand(file, args).then(
      () => undefined,
      (error: unknown) => {
        throw this.notReady(what, error)
      },
    )
  }

  /** Resolves when its process is gone. */
  stopNode(node: Host, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const started = this.#running(nodeLabel(node))
    this.#stopped.add(started)
    const gone = new Promise<void>((resolve) => started.child.once('exit', () => resolve()))
    started.child.kill(signal)
    return Promise.race([gone, this.failed])
  }

  /** It reads the fleet file again. */
  reloadNode(node: Host): void {
    this.#running(nodeLabel(node)).child.kill('SIGHUP')
  }

  startBackend(backend: Host): void {
    this.start({
      what: `backend ${backend.name}`,
      namespace: backend.namespace,
      args: [cliPath, 'backend', '--config', this.backendsFile, '--name', backend.name],
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
    const started = this.#started.findLast((candidate) => candidate.what === what)
    const why = error instanceof Error ? error.message : String(error)
    return new LabFailure(`${what} is not ready: ${why}`, started ? tail(started.logFile) : [])
  }

  #running(what: string): Started {
    const started = this.#started.findLast((candidate) => candidate.what === what)
    if (started === undefined) throw new RangeError(`no ${what} was started`)
    return started
  }

  #ended(started: Started, how: string): void {
    if (this.#stopped.has(started)) return
    this.#onFailure(new LabFailure(`${started.what} ${how}`, tail(started.logFile)))
  }
}

/** Everything that both phases need. */
export async function startAll(processes: Processes, topology: Topology): Promise<void> {
  const started: Promise<void>[] = []
  for (const pop of topology.pops) {
    for (const backend of machinesOf(pop)) {
      processes.startBackend(backend)
      started.push(processes.startServer(pop, backend))
    }
    for (const node of pop.nodes) started.push(processes.startNode(node))
  }
  await Promise.race([Promise.all(started), processes.failed])
}

const nodeLabel = ({ name }: Host): string => `node ${name}`

function tail(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    return lines.filter((line) => line !== '').slice(-LOG_TAIL_LINES)
  } catch {
    return []
  }
}
