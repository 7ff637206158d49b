// What `run` and `backend` share around the native worker: its errors as sentences, and a watch that notices its end and
// its peers coming and going. Guarantees: a worker that cannot start leaves its device closed.

import type { Health } from '../admin/pages.js'
import { NativeError, type PortHandle, type WorkerHandle } from '../dataplane/addon.js'
import type { Changes } from './changes.js'
import { HostError } from './host-error.js'
import { GUE_PORT } from './numbers.js'

const WATCH_MS = 1000

export function startWorker(
  address: string,
  memoryPath: string | null,
  port: PortHandle,
  changes: Changes,
  start: () => WorkerHandle,
): WorkerHandle {
  try {
    const worker = start()
    changes.add('worker', () => worker.stop())
    return worker
  } catch (error) {
    port.close()
    if (!(error instanceof NativeError)) throw error
    const ofMemory = memoryPath !== null && error.step.startsWith('memory')
    throw new HostError(ofMemory ? memoryRefusal(memoryPath, error) : refusal(address, error))
  }
}

function refusal(address: string, { code, step, message }: NativeError): string {
  switch (code) {
    case 'EADDRINUSE':
      return `UDP port ${GUE_PORT} of ${address} is taken by another program, perhaps another steadycast or the kernel's own fou: stop it ("ss -lunp sport = :${GUE_PORT}" names a program, "ip fou show" the kernel's)`
    case 'EADDRNOTAVAIL':
      return `UDP port ${GUE_PORT} of ${address} cannot be bound: is the address on this machine, and its device up?`
    case 'EPERM':
    case 'EACCES':
      return `the kernel refused the ${step}, expected CAP_NET_ADMIN and CAP_NET_RAW in this network namespace: run it as root`
    case 'ENOMEM':
      return `not enough memory for the ${step}: lower "flow_table" in the fleet file (16 bytes an entry), or add memory`
    default:
      return `cannot start the worker: ${message}`
  }
}

function memoryRefusal(path: string, { code, message }: NativeError): string {
  switch (code) {
    case 'EBUSY':
      return `the flow table ${path} is in use by another process, expected one node of this name on a machine: stop the other ("fuser ${path}.lock" names it), or give this one a folder of its own with --state`
    case 'ENOSPC':
    case 'EDQUOT':
      return `the flow table ${path} does not fit into its file system, expected room for two of them, which a restart takes for a moment: lower "flow_table" in the fleet file (16 bytes an entry), enlarge the tmpfs ("mount -o remount,size=..."), or name another folder with --state`
    default:
      return `the flow table ${path} cannot be made: ${message}; mend that, or name another folder with --state`
  }
}

export function workerHealth(worker: WorkerHandle | undefined): Health {
  if (worker === undefined) return { ok: false, why: 'starting: the worker does not run yet' }
  const { error, view } = worker.status()
  if (error !== null) return { ok: false, why: `the worker has ended: ${error}` }
  if (view?.recalling === true) {
    return {
      ok: false,
      why: 'recalling: this node takes over what its peers and its own table of before know',
    }
  }
  if (view != null && !view.filled) {
    return { ok: false, why: 'filling: the peers are still telling this node what it is to hold' }
  }
  return { ok: true }
}

export interface WatchOptions {
  readonly worker: WorkerHandle
  readonly device: string
  readonly changes: Changes
  readonly fail: (error: unknown) => void
  readonly peerChanged: (nodeId: number, up: boolean, rttUs: number | null) => void
}

/** Looks once a second. */
export function watchWorker({ worker, device, changes, fail, peerChanged }: WatchOptions): void {
  const wasUp = new Map<number, boolean>()
  const look = () => {
    const { error, view } = worker.status()
    if (error !== null) {
      fail(
        new HostError(
          `the worker has ended (${error}): was the device ${device} deleted? Start steadycast again`,
        ),
      )
    }
    for (const { nodeId, up, rttUs } of view?.peers ?? []) {
      if ((wasUp.get(nodeId) ?? false) !== up) peerChanged(nodeId, up, rttUs)
      wasUp.set(nodeId, up)
    }
  }
  const timer = setInterval(look, WATCH_MS)
  changes.add('watch', () => clearInterval(timer))
}
