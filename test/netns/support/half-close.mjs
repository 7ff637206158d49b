// A conversation that curl and nginx do not have: the client says all it has to say, sends FIN, and only then is answered
// at length. `half-close.mjs serve PORT FILE` answers; `half-close.mjs ask HOST PORT OWN-ADDRESS` asks and
// prints "answered" when the answer begins and what it was, as JSON, when it ends.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'

const CHUNK = 16 * 1024
/** About 2 MB/s. */
const PAUSE_MS = 8

const [, , verb, ...args] = process.argv

if (verb === 'serve') {
  const [port, file] = args
  const content = readFileSync(file)
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.resume()
    socket.on('end', () => answer(socket, content))
  })
  server.listen(Number(port), '::', () => console.log('listening'))
} else {
  const [host, port, localAddress] = args
  const hash = createHash('sha256')
  const end = (outcome) => console.log(JSON.stringify({ outcome, sha256: hash.digest('hex') }))
  const socket = connect({ host, port: Number(port), localAddress, allowHalfOpen: true })
  socket.on('error', (error) => end(error.code))
  socket.on('end', () => end('end'))
  socket.on('data', (chunk) => hash.update(chunk))
  socket.once('data', () => console.log('answered'))
  socket.end('please')
}

function answer(socket, left) {
  if (left.length === 0 || socket.destroyed) return socket.end()
  socket.write(left.subarray(0, CHUNK), () => {
    setTimeout(answer, PAUSE_MS, socket, left.subarray(CHUNK))
  })
}
