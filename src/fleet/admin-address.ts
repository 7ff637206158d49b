// Where an admin interface listens: an IP address and a port, as text. Called by src/config (the key `admin` of a node), by
// the verbs (--admin) and by src/admin. Guarantees: two spellings of one address give the same text.

import { isLoopback, parseAddress } from './address.js'

export interface AdminAddress {
  /** Canonical, without brackets. */
  readonly host: string
  readonly port: number
}

/** What is no address and port is undefined. */
export function readAdminAddress(text: string): AdminAddress | undefined {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? []
  const parsed = parseAddress(bracketed ?? plain ?? '')
  const port = Number(digits)
  if (digits === '' || port > 65535 || !parsed.ok) return undefined
  if (parsed.address.family !== (bracketed === undefined ? 4 : 6)) return undefined
  return { host: parsed.address.text, port }
}

export function adminText({ host, port }: AdminAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function adminUrl(address: AdminAddress): string {
  return `http://${adminText(address)}`
}

/** Nobody but this machine reaches it. */
export function isOfThisMachine({ host }: AdminAddress): boolean {
  return isLoopback({ text: host, family: host.includes(':') ? 6 : 4 })
}
