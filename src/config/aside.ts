// Reads a fleet file in a thread of its own, for a process that has more to do meanwhile: what it finds there may be of any
// kind, and the largest fleet takes seconds. Called for reloads. Guarantees: the calling thread never waits, and what takes
// longer than MAX_FLEET_READ_MS is a problem of the file like any other.

import { Worker } from 'node:worker_threads'
import { MAX_FLEET_READ_MS } from '../fleet/limits.js'
import type { FleetResult } from './fleet-file.js'
import { FILE_START } from './problem.js'

export function loadFleetAside(path: string, limitMs = MAX_FLEET_READ_MS): Promise<FleetResult> {
  const thread = new Worker(new URL('./aside-thread.js', import.meta.url), { workerData: path })
  const read = new Promise<FleetResult>((resolve, reject) => {
    const limit = setTimeout(() => resolve(tooSlow(path, limitMs)), limitMs)
    thread.once('message', resolve)
    thread.once('error', reject)
    thread.once('exit', (code) => {
      clearTimeout(limit)
      reject(new Error(`the thread that reads ${path} ended with code ${code}`))
    })
  })
  return read.finally(() => thread.terminate())
}

function tooSlow(file: string, limitMs: number): FleetResult {
  const message = `reading it takes longer than ${limitMs} ms, expected at most as long (MAX_FLEET_READ_MS); is it a fleet file, on a disk of this machine?`
  return { ok: false, problems: [{ file, ...FILE_START, severity: 'error', message }] }
}
