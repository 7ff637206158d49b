// The value of --admin. Called by the verbs. Guarantees: what other machines reach is not listened on without a token.

import { type AdminAddress, isOfThisMachine, readAdminAddress } from '../fleet/admin-address.js'
import { HostError } from '../host/host-error.js'

/** hasToken: the fleet file names one that callers have to show. */
export function parseAdminAddress(text: string, hasToken: boolean): AdminAddress {
  const address = readAdminAddress(text)
  if (address === undefined) {
    throw new HostError(
      `--admin: got ${JSON.stringify(text)}, expected an address and a port, such as 127.0.0.1:6080 or [::1]:6080`,
    )
  }
  if (!isOfThisMachine(address) && !hasToken) {
    throw new HostError(
      `--admin: ${address.host} can be reached from other machines, expected a loopback address, or a token that callers must show: name its file in the fleet file ("admin: { token_file: ... }")`,
    )
  }
  return address
}
