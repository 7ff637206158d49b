// What one check of a backend, or one connection through a VIP, came to. Made by connect.ts and http-check.ts.

/** The values of the metric's label, in the order of a connection's life. */
export const FAILURES = [
  'refused',
  'unreachable',
  'timeout',
  'reset',
  'tls',
  'protocol',
  'status',
  'body',
  'other',
] as const

export type Failure = (typeof FAILURES)[number]

/** 'success', or how it failed. */
export type Result = 'success' | Failure
export const RESULTS: readonly Result[] = ['success', ...FAILURES]

export type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly failure: Failure
      /** One sentence's end: `backend x is down for service y: ...`. */
      readonly why: string
      /** Of the system's error, where there was one. */
      readonly code?: string
    }

export interface Target {
  readonly address: string
  readonly port: number
}

export function failed(failure: Failure, why: string, code?: string): Outcome {
  return { ok: false, failure, why, ...(code === undefined ? {} : { code }) }
}

export function timedOut(timeoutMs: number): Outcome {
  return failed('timeout', `no answer within ${timeoutMs} ms`)
}

const OF_CODE: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
}

/** An error of a socket, of TLS, or of Node's HTTP parser. */
export function failureOf(error: Error, { address, port }: Target): Outcome {
  const { code = '' } = error as NodeJS.ErrnoException
  const known = Object.hasOwn(OF_CODE, code) ? OF_CODE[code] : undefined
  const where = `${address.includes(':') ? `[${address}]` : address}:${port}`
  switch (known) {
    case 'refused':
      return failed(known, `nothing listens on ${where} (${code})`)
    case 'unreachable':
      return failed(known, `${where} cannot be reached (${code})`)
    case 'timeout':
      return failed(known, `${where} does not answer (${code})`)
    case 'reset':
      return failed(known, `${where} ended the connection before an answer (${code})`)
    default:
      return failed(ofOther(code), `${where}: ${oneLine(error.message)}`, code)
  }
}

function ofOther(code: string): Failure {
  if (code.startsWith('HPE_')) return 'protocol'
  return /^(ERR_SSL|ERR_TLS|EPROTO|CERT_|UNABLE_|DEPTH_|SELF_SIGNED|HOSTNAME_MISMATCH)/.test(code)
    ? 'tls'
    : 'other'
}

function oneLine(message: string): string {
  return message.trim().replace(/\s+/g, ' ').slice(0, 200)
}
