// Outlives a steadycast that dies or hangs, and withdraws what that announced: `node guardian.js`, told on its stdin. Started
// by guard.ts in a session of its own. Guarantees: acts when its stdin closes, whatever closed it, or when nothing came
// for HANG_TICKS of its own ticks (a machine that pauses altogether is no hang); ends by itself when there is nothing left
// to do, or when another steadycast has taken over here.

import '../host/no-inspector.js'
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'
import { silence } from './bird.js'
import { run } from './exec.js'
import { HANG_TICKS, HEARTBEAT_MS, type ToGuardian } from './guard.js'
import type { Silence } from './silence.js'

const RETRY_MS = 1000
const MAX_TRIES = 120

let task: Silence | undefined
let missed = 0
let hanging = false

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  missed = 0
  hanging = false
  if (line === '') return
  const message = JSON.parse(line) as ToGuardian
  task = message.kind === 'guard' ? message.silence : undefined
})
lines.on('close', () => void leave())

const timer = setInterval(() => {
  missed++
  if (missed < HANG_TICKS || hanging) return
  hanging = true
  void silenceAll()
    .then(() => process.stdout.write('withdrawn\n'))
    .catch(() => {
      hanging = false
    })
}, HEARTBEAT_MS)

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.stdout.on('error', () => {})

/** The first try is made at once; later ones only while no other steadycast is there to say what holds. */
async function leave(): Promise<void> {
  clearInterval(timer)
  for (let tries = 0; tries < MAX_TRIES && task !== undefined; tries++) {
    if (tries > 0) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      if (await steadycastLives()) break
    }
    const done = await silenceAll().then(
      () => true,
      () => false,
    )
    if (done) break
  }
  process.exit(0)
}

async function silenceAll(): Promise<void> {
  if (task === undefined) return
  if (task.kind === 'bird') return await silence(task)
  let failure: unknown
  for (const one of task.runs) {
    await run(one).catch((error: unknown) => {
      failure = error
    })
  }
  if (failure !== undefined) throw failure
}

/** src/host/one-here.ts. */
function steadycastLives(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection('\0steadycast')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
