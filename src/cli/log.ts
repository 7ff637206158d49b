// The log of the long-running verbs: one JSON object a line, or readable lines on a terminal. Made once by each verb.
// Guarantees: a line is written before the call returns, so that the last words before an exit are not lost.

import { destination, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export type Log = Logger

export function createLog(): Log {
  const options = { base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` }
  if (!process.stdout.isTTY) return pino(options, destination({ fd: 1, sync: true }))
  const stream = pretty({
    colorize: process.env.NO_COLOR === undefined,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    sync: true,
  })
  return pino(options, stream)
}
