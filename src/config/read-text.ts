// Reads a small text file whole: bounded, strictly UTF-8, and with a problem instead of an exception.
// Called by fleet-file.ts and keys.ts. Guarantees: never reads more than the limit, and never waits, whatever the path is.

import { isUtf8 } from 'node:buffer'
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { FILE_START, type Position, type Problem } from './problem.js'

/** No such file; no permission; anything else. */
export type ReadFailure = 'missing' | 'denied' | 'unusable'

export type TextResult =
  | { readonly ok: true; readonly text: string; readonly mode: number }
  | { readonly ok: false; readonly cause: ReadFailure; readonly problem: Problem }

export function readText(path: string, maxBytes: number, limit: string): TextResult {
  const refuse = (
    message: string,
    at = FILE_START,
    cause: ReadFailure = 'unusable',
  ): TextResult => {
    return { ok: false, cause, problem: { file: path, ...at, severity: 'error', message } }
  }
  try {
    const read = readBounded(path, maxBytes + 1)
    if ('kind' in read) return refuse(`${read.kind}, expected a file`)
    const { bytes, mode } = read
    if (bytes.length > maxBytes) {
      return refuse(`the file is too large, expected at most ${maxBytes} bytes (${limit})`)
    }
    if (!isUtf8(bytes)) return refuse('not UTF-8, expected text in UTF-8', firstBadByte(bytes))
    return { ok: true, text: new TextDecoder().decode(bytes), mode }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === undefined) throw error
    const { cause, message } = failureOf(code)
    return refuse(message, FILE_START, cause)
  }
}

/** What never ends, or waits for a writer, is not read. */
function readBounded(
  path: string,
  maxBytes: number,
): { bytes: Buffer; mode: number } | { kind: string } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return { kind: kindOf(stat) }
    const parts: Buffer[] = []
    let total = 0
    while (total < maxBytes) {
      const part = Buffer.alloc(Math.min(65536, maxBytes - total))
      const n = readSync(fd, part)
      if (n === 0) break
      parts.push(part.subarray(0, n))
      total += n
    }
    return { bytes: Buffer.concat(parts), mode: stat.mode }
  } finally {
    closeSync(fd)
  }
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return 'a directory'
  if (stat.isFIFO()) return 'a pipe'
  return stat.isCharacterDevice() || stat.isBlockDevice() ? 'a device' : 'no file of data'
}

function failureOf(code: string): { cause: ReadFailure; message: string } {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { cause: 'missing', message: 'no such file, expected one; check the path' }
    case 'EACCES':
    case 'EPERM':
      return {
        cause: 'denied',
        message: 'not readable by this user, expected permission to read it',
      }
    case 'ENXIO':
      return { cause: 'unusable', message: 'a socket, expected a file' }
    default:
      return { cause: 'unusable', message: `cannot be read (${code}), expected a readable file` }
  }
}

function firstBadByte(bytes: Buffer): Position {
  let start = 0
  for (let line = 1; ; line++) {
    const newline = bytes.indexOf(10, start)
    const row = bytes.subarray(start, newline < 0 ? bytes.length : newline)
    if (!isUtf8(row)) return { line, column: longestUtf8(row) + 1 }
    if (newline < 0) return { line, column: 1 }
    start = newline + 1
  }
}

/** Characters before the first bad byte. */
function longestUtf8(row: Buffer): number {
  let good = 0
  while (good < row.length) {
    const length = [1, 2, 3, 4].find((n) => isUtf8(row.subarray(good, good + n)))
    if (length === undefined) break
    good += length
  }
  return row.subarray(0, good).toString('utf8').length
}
