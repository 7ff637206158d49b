// The token of the admin interface: one word in a file, which callers from other machines show. Called by `run`, `backend`
// and `check`, and by the verbs that ask nodes. Guarantees: the token never appears in a message.

import type { Problem } from './problem.js'
import { type ReadFailure, readText } from './read-text.js'

export const MAX_TOKEN_FILE_BYTES = 4096
/** 128 random bits in hexadecimal digits; what is shorter can be guessed. */
export const MIN_TOKEN_LENGTH = 32
const MAX_TOKEN_LENGTH = 256

export type TokenResult =
  | { readonly ok: true; readonly token: string; readonly warnings: readonly Problem[] }
  | {
      readonly ok: false
      readonly cause: ReadFailure
      readonly problems: readonly Problem[]
    }

const MAKE_ONE =
  "make one with: (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > admin.token)"

export function loadToken(path: string): TokenResult {
  const read = readText(path, MAX_TOKEN_FILE_BYTES, 'MAX_TOKEN_FILE_BYTES')
  if (!read.ok) {
    const hint = read.cause === 'missing' ? `; ${MAKE_ONE}` : ''
    const problem = { ...read.problem, message: read.problem.message + hint }
    return { ok: false, cause: read.cause, problems: [problem] }
  }
  const problem = (severity: Problem['severity'], message: string): Problem => {
    return { file: path, line: 1, column: 1, severity, message }
  }
  const token = read.text.trim()
  const wrong = whatIsWrong(token)
  if (wrong !== undefined) {
    return { ok: false, cause: 'unusable', problems: [problem('error', `${wrong}; ${MAKE_ONE}`)] }
  }
  if ((read.mode & 0o077) === 0) return { ok: true, token, warnings: [] }
  const mode = (read.mode & 0o777).toString(8).padStart(4, '0')
  const message = `the token file has mode ${mode}, so others than its owner can use it, expected 0600; chmod 600 it`
  return { ok: true, token, warnings: [problem('warning', message)] }
}

/** Not to be quoted: whatever stands there may be the token. */
function whatIsWrong(token: string): string | undefined {
  if (token === '') return 'no token in the file, expected one word'
  if (/\s/.test(token)) return 'the token has spaces or several lines, expected one word'
  if (!/^[!-~]*$/.test(token)) return 'the token has characters other than printable ASCII'
  if (token.length < MIN_TOKEN_LENGTH || token.length > MAX_TOKEN_LENGTH) {
    return `the token has ${token.length} characters, expected ${MIN_TOKEN_LENGTH} to ${MAX_TOKEN_LENGTH}`
  }
  return undefined
}
