// The fleet key file: one key, or two during a rotation, of which the first signs and both are accepted.
// Called by `run` and `check`. Guarantees: key material never appears in a message.

import { MAX_KEY_FILE_BYTES } from '../fleet/limits.js'
import type { Problem } from './problem.js'
import { type ReadFailure, readText } from './read-text.js'

export interface FleetKey {
  readonly id: number
  /** 16 bytes. */
  readonly key: Uint8Array
}

export type KeysResult =
  | {
      readonly ok: true
      readonly keys: readonly FleetKey[]
      readonly warnings: readonly Problem[]
    }
  | {
      readonly ok: false
      /** `missing` and `denied` may be right on a machine that is no node; `unusable` is wrong everywhere. */
      readonly cause: ReadFailure
      readonly problems: readonly Problem[]
    }

const MAX_KEYS = 2
const KEY_DIGITS = 32
const FORMAT = 'expected "<key id 0..255> <32 hex digits>"'
/** A node with a key of its own is a stranger to all others. */
const MAKE_ONE = `copy the file of another node, or for a new fleet make one with: echo "1 $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n')" > fleet.key`

export function loadKeys(path: string): KeysResult {
  const read = readText(path, MAX_KEY_FILE_BYTES, 'MAX_KEY_FILE_BYTES')
  if (!read.ok) {
    const hint = read.cause === 'missing' ? `; ${MAKE_ONE}` : ''
    const problem = { ...read.problem, message: read.problem.message + hint }
    return { ok: false, cause: read.cause, problems: [problem] }
  }
  const parsed = parseKeys(read.text, path)
  if (!parsed.ok || (read.mode & 0o077) === 0) return parsed
  const mode = (read.mode & 0o777).toString(8).padStart(4, '0')
  const message = `the key file has mode ${mode}, so others than its owner can use it, expected 0600; chmod 600 it`
  const warning: Problem = { file: path, line: 1, column: 1, severity: 'warning', message }
  return { ...parsed, warnings: [...parsed.warnings, warning] }
}

export function parseKeys(text: string, fileName: string): KeysResult {
  const problems: Problem[] = []
  const keys: FleetKey[] = []
  const refuse = (line: number, column: number, message: string): void => {
    problems.push({ file: fileName, line, column, severity: 'error', message })
  }
  let rows = 0
  text.split(/\r?\n/).forEach((whole, i) => {
    const row = whole.replace(/#.*/, '').trimEnd()
    if (row.trim() === '') return
    rows++
    const column = row.length - row.trimStart().length + 1
    if (rows > MAX_KEYS) {
      if (rows === MAX_KEYS + 1)
        refuse(i + 1, column, `a third key, expected one, or two during a rotation`)
      return
    }
    const key = parseKey(row.trim())
    if (typeof key === 'string') refuse(i + 1, column, key)
    else if (keys.some(({ id }) => id === key.id)) {
      refuse(i + 1, column, `key id ${key.id} again, expected two different key ids`)
    } else keys.push(key)
  })
  if (rows === 0) refuse(1, 1, `no key in the file, ${FORMAT}; ${MAKE_ONE}`)
  return problems.length > 0
    ? { ok: false, cause: 'unusable', problems }
    : { ok: true, keys, warnings: [] }
}

/** The key, or a message. A row is not to be quoted: whatever stands in it may be the key. */
function parseKey(row: string): FleetKey | string {
  const fields = row.split(/\s+/)
  const [id = '', digits = ''] = fields
  if (fields.length !== 2) {
    return `${fields.length} field${fields.length === 1 ? '' : 's'}, ${FORMAT}; ${MAKE_ONE}`
  }
  if (!/^\d{1,3}$/.test(id) || Number(id) > 255) {
    return `the key id is not a number 0 to 255, ${FORMAT}`
  }
  if (!/^[0-9a-f]*$/i.test(digits)) {
    return `the key has characters other than hex digits, ${FORMAT}; ${MAKE_ONE}`
  }
  if (digits.length !== KEY_DIGITS) {
    return `the key has ${digits.length} hex digits, ${FORMAT}; ${MAKE_ONE}`
  }
  return { id: Number(id), key: Uint8Array.from(Buffer.from(digits, 'hex')) }
}
