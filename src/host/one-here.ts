// One steadycast in a network namespace: rules, tables and sysctls have one owner. Called by `run` and `backend` before
// they change anything. Guarantees: the second one is refused in a sentence; the mark goes with the process, however it
// ends, and is never left behind.

import { createServer } from 'node:net'
import type { Changes } from './changes.js'
import { errnoCode, HostError } from './host-error.js'

/** An abstract UNIX socket: its name belongs to the network namespace, and no file stands for it. */
const MARK = '\0steadycast'

export async function beTheOnlyOne(changes: Changes): Promise<void> {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new HostError(refusal(errnoCode(error)))))
    server.listen(MARK, resolve)
  })
  server.unref()
  // Held to the end: everything else is taken back before it.
  changes.add('mark of the only steadycast here', () => void server.close())
}

function refusal(code: string): string {
  if (code === 'EADDRINUSE') {
    return 'another steadycast runs in this network namespace, expected at most one (a node or a backend): stop that ("ss -lxp | grep steadycast" names it), or run this one in a namespace or on a machine of its own'
  }
  return `the abstract UNIX socket @steadycast cannot be made (${code}), expected it to tell whether another steadycast runs here: allow UNIX sockets to this process (RestrictAddressFamilies= of its service unit needs AF_UNIX)`
}
