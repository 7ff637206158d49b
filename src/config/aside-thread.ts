// The thread of aside.ts: reads the fleet file that it is given, posts what came of it, ends.

import { parentPort, workerData } from 'node:worker_threads'
import { loadFleet } from './fleet-file.js'

parentPort?.postMessage(loadFleet(String(workerData)))
