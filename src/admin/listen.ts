// Where the admin interface listens: TCP addresses and a UNIX socket. Called by server.ts. Guarantees: a UNIX socket is its
// owner's alone from its first moment; that of a dead process is replaced, that of a living one never; what cannot be
// listened on is refused in a sentence.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { type AdminAddress, adminText, isOfThisMachine } from '../fleet/admin-address.js'
import { errnoCode, HostError } from '../host/host-error.js'

export type Listener =
  | { readonly kind: 'tcp'; readonly address: AdminAddress; readonly option: string }
  | { readonly kind: 'unix'; readonly path: string }

const SOCKET_MODE = 0o600
/** sun_path of unix(7), without the byte that ends it. */
const MAX_SOCKET_PATH_BYTES = 107
/** A living process takes a connection at once, or its queue does. */
const PROBE_MS = 1000

export async function listen(server: Server, listener: Listener): Promise<void> {
  switch (listener.kind) {
    case 'tcp':
      return await listening(
        server,
        (done) => server.listen(listener.address.port, listener.address.host, done),
        (code) => tcpRefusal(listener.address, listener.option, code),
      )
    case 'unix':
      await makeWay(listener.path)
      return await listening(
        server,
        (done) => listenPrivately(server, listener.path, done),
        (code) =>
          `the admin socket ${listener.path} cannot be made (${code}), expected a folder that this process may write to: name another with --state`,
      )
  }
}

async function listening(
  server: Server,
  begin: (done: () => void) => void,
  sentence: (code: string) => string,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const refused = (error: Error) => reject(new HostError(sentence(errnoCode(error))))
    server.once('error', refused)
    begin(() => {
      server.off('error', refused)
      resolve()
    })
  })
}

/** The file is made within the call. */
function listenPrivately(server: Server, path: string, done: () => void): void {
  const before = process.umask(0o777 & ~SOCKET_MODE)
  try {
    server.listen(path, () => {
      chmodSync(path, SOCKET_MODE)
      done()
    })
  } finally {
    process.umask(before)
  }
}

async function makeWay(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new HostError(
      `the admin socket ${path} has a path of ${Buffer.byteLength(path)} bytes, expected at most ${MAX_SOCKET_PATH_BYTES}: name a folder with a shorter path with --state`,
    )
  }
  let isSocket: boolean
  try {
    isSocket = lstatSync(path).isSocket()
  } catch {
    return
  }
  if (!isSocket) {
    throw new HostError(
      `${path} is there and is no socket, expected the place of the admin socket to be free: remove it, or name another folder with --state`,
    )
  }
  if (await answers(path)) {
    throw new HostError(
      `the admin socket ${path} is in use by another process, expected one node of this name on a machine: stop the other ("ss -lxp src ${path}" names it), or give this one a folder of its own with --state`,
    )
  }
  unlinkSync(path)
}

/** Whether a process listens there. */
export async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path)
    const end = (living: boolean) => {
      socket.destroy()
      resolve(living)
    }
    socket.setTimeout(PROBE_MS, () => end(true))
    socket.once('connect', () => end(true))
    socket.once('error', (error) => end(!['ECONNREFUSED', 'ENOENT'].includes(errnoCode(error))))
  })
}

function tcpRefusal(address: AdminAddress, option: string, code: string): string {
  const where = `the admin address ${adminText(address)}`
  switch (code) {
    case 'EADDRINUSE':
      return `${where} is taken by another process, perhaps another steadycast: stop that ("ss -ltnp sport = :${address.port}" names it), or choose another with ${option}`
    case 'EADDRNOTAVAIL':
      return isOfThisMachine(address)
        ? `${where} is not there to listen on, expected a loopback device that is up: run "ip link set lo up", or choose another with ${option}`
        : `${where} is not an address of this machine, expected one ("ip address" lists them): add it, or choose another with ${option}`
    case 'EACCES':
      return `${where} is not this user's to listen on, expected a port above 1023: choose another with ${option}`
    default:
      return `${where} cannot be listened on (${code}): choose another with ${option}`
  }
}
