// A door into the lab for --keep: accepts connections on a listening socket of the user's own network, which comes by
// IPC from the outer process, and passes each on to an address of the namespace that this process lives in. No file,
// no address of the lab outside it, and gone with its process.

import { connect, type Server, type Socket } from 'node:net'
import type { ToRelay } from './messages.js'

process.on('message', (message: ToRelay, server: Server) => {
  server.on('connection', (outside: Socket) => {
    const { host, port, localAddress } = message
    const inside = connect({ host, port, ...(localAddress && { localAddress }) })
    outside.on('error', () => inside.destroy())
    inside.on('error', () => outside.destroy())
    outside.pipe(inside).pipe(outside)
  })
  process.send?.('ready')
})
process.on('disconnect', () => process.exit(0))
