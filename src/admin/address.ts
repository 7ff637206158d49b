// The value of --admin: a loopback address and a port. Called by the verbs. Guarantees: nobody but this machine reaches
// the admin server.

import { isIP } from 'node:net'
import { HostError } from '../host/host-error.js'

export interface AdminAddress {
  readonly host: string
  readonly port: number
}

const EXPECTED = 'expected a loopback address and a port, such as 127.0.0.1:6080 or [::1]:6080'

export function parseAdminAddress(text: string): AdminAddress {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  const family = isIP(host)
  const written = bracketed === undefined ? family === 4 : family === 6
  if (digits === '' || !written || port > 65535) {
    throw new HostError(`--admin: got ${JSON.stringify(text)}, ${EXPECTED}`)
  }
  if (!isLoopback(host, family)) {
    throw new HostError(
      `--admin: ${host} can be reached from other machines, and the admin server asks for no password, ${EXPECTED}`,
    )
  }
  return { host, port }
}

export function adminUrl({ host, port }: AdminAddress): string {
  return host.includes(':') ? `http://[${host}]:${port}` : `http://${host}:${port}`
}

function isLoopback(host: string, family: number): boolean {
  if (family === 4) return host.startsWith('127.')
  return /^(0{0,4}:){1,7}(0{0,3}1)$/.test(host) && !/[2-9a-f]/i.test(host)
}
