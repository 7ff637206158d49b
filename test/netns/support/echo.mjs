// Connections that last: `echo.mjs serve PORT` sends back what it gets. `echo.mjs talk PORT` holds one connection for each
// line "open HOST OWN-ADDRESS" of its stdin, and sends bytes that no two of them have alike; every byte that comes back is
// compared. "go" makes all of them talk; after "settle" they wait until all has come back and print "settled" and, as
// JSON, what each has sent; after "end" they close and print "ended". A connection that broke prints "broken", who, why.

import { createCipheriv } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'

const CHUNK_BYTES = 700
const EVERY_MS = 60

const [, , verb, port] = process.argv

/** AES counts: a stream that only this address has. */
const bytesOf = (address) => {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, address), Buffer.alloc(16))
  return (count) => cipher.update(Buffer.alloc(count))
}

class Talk {
  sent = 0
  back = 0
  broken = false
  closed = false

  constructor(host, localAddress) {
    this.address = localAddress
    this.toSend = bytesOf(localAddress)
    this.expected = bytesOf(localAddress)
    this.socket = connect({ host, port: Number(port), localAddress })
    this.socket.on('error', ({ code }) => this.fail(code))
    this.socket.on('end', () => this.back === this.sent || this.fail('end in the middle'))
    this.socket.on('close', () => {
      this.closed = true
      tell()
    })
    this.socket.on('connect', () => console.log(`open ${localAddress}`))
    this.socket.on('data', (data) => {
      if (!this.expected(data.length).equals(data)) this.fail(`wrong bytes after ${this.back}`)
      this.back += data.length
      tell()
    })
  }

  fail(why) {
    this.broken = true
    console.log(`broken ${this.address} ${why}`)
  }

  send() {
    this.sent += CHUNK_BYTES
    this.socket.write(this.toSend(CHUNK_BYTES))
  }
}

const talks = []
let mode = 'settled'
let timer

function tell() {
  if (mode === 'settle' && talks.every(({ sent, back, broken }) => broken || sent === back)) {
    mode = 'settled'
    console.log(
      `settled ${JSON.stringify(Object.fromEntries(talks.map((talk) => [talk.address, talk.broken ? 0 : talk.back])))}`,
    )
  }
  if (mode === 'end' && talks.every(({ closed }) => closed)) console.log('ended')
}

const commands = {
  open: (host, localAddress) => talks.push(new Talk(host, localAddress)),
  go: () => {
    mode = 'go'
    timer = setInterval(
      () => talks.filter(({ broken }) => !broken).map((talk) => talk.send()),
      EVERY_MS,
    )
  },
  settle: () => {
    clearInterval(timer)
    mode = 'settle'
    tell()
  },
  end: () => {
    mode = 'end'
    for (const { socket } of talks) socket.end()
    tell()
  },
}

if (verb === 'serve') {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  server.listen(Number(port), '::', () => console.log('listening'))
} else {
  createInterface(process.stdin).on('line', (line) => {
    const [command, ...args] = line.split(' ')
    commands[command](...args)
  })
}
