// What the addresses of the nodes' admin interfaces must mean: others reach them, no two are the same, and there is a token.
// Called by fleet-file.ts with drafts. Reports to the source.

import { isOfThisMachine, readAdminAddress } from '../fleet/admin-address.js'
import type { Drafts, NodeDraft } from './drafts.js'
import type { Source } from './source.js'

export function checkAdmin(source: Source, { pops, adminToken }: Drafts): void {
  const first = new Map<string, NodeDraft>()
  for (const node of pops.flatMap(({ nodes }) => nodes)) {
    const { admin, path } = node
    const address = admin === undefined ? undefined : readAdminAddress(admin)
    if (admin === undefined || address === undefined) continue
    const at = [...path, 'admin']
    const earlier = first.get(admin)
    if (earlier === undefined) first.set(admin, node)
    else {
      const place = source.whereIs([...earlier.path, 'admin'])
      const message = `admin: ${admin} is that of node "${earlier.name}" at ${place} as well, expected one of its own`
      source.error(at, message)
    }
    if (isOfThisMachine(address)) {
      const message = `admin: ${admin} is a loopback address, expected one that other machines reach (on loopback and on a UNIX socket every node listens anyway)`
      source.error(at, message)
    } else if (!adminToken) {
      const message = `admin: ${admin} can be reached from other machines, expected a token that callers must show: add "admin: { token_file: ... }" to the file`
      source.error(at, message)
    }
  }
}
