// A download or an upload that goes on for as long as an event lasts, and then ends soon. Called by the failure matrix.
// Guarantees: it cannot be over before release() unless it broke, or the download's file was too small.

import { createCipheriv, createHash } from 'node:crypto'
import type { Readable, Writable } from 'node:stream'
import type { Client } from './anycast.js'
import type { Content } from './content.js'
import { type Family, Transfer } from './curl.js'

const BYTES_PER_S = 400_000
const TICK_MS = 50
const TICK_BYTES = (BYTES_PER_S * TICK_MS) / 1000
/** A transfer that hangs ends with curl's exit code 28. */
const LIMIT = ['--max-time', '150']

export interface Paced {
  readonly what: 'download' | 'upload'
  readonly client: Client
  readonly family: Family
  readonly transfer: Transfer
  /** Of the upload: where it is stored. */
  readonly name: string
  /** Of all that is transferred; known when it is over. */
  readonly sha256: () => string
  /** No pace any more: a download brings the rest, an upload ends. */
  readonly release: () => void
}

export function download(client: Client, family: Family, path: string, content: Content): Paced {
  const transfer = new Transfer(client, family, path, LIMIT)
  const release = readSlowly(streamOf(transfer.child.stdout))
  const sha256 = () => content.sha256
  return { what: 'download', client, family, transfer, name: '', sha256, release }
}

/** What comes waits in the socket: curl reads no more than its pipe takes. */
function readSlowly(stdout: Readable): () => void {
  let credit = TICK_BYTES
  const spend = (chunk: Buffer) => {
    credit -= chunk.length
    if (credit <= 0) stdout.pause()
  }
  const timer = setInterval(() => {
    credit = Math.min(credit + TICK_BYTES, TICK_BYTES)
    if (credit > 0) stdout.resume()
  }, TICK_MS)
  stdout.on('data', spend)
  stdout.on('close', () => clearInterval(timer))
  return () => {
    clearInterval(timer)
    stdout.off('data', spend)
    stdout.resume()
  }
}

let uploads = 0

export function upload(client: Client, family: Family): Paced {
  const name = `paced-${uploads++}`
  const options = [...LIMIT, '--upload-file', '-', '--header', 'Expect:']
  const transfer = new Transfer(client, family, `uploads/${name}`, options)
  const hash = createHash('sha256')
  const release = writeSlowly(streamOf(transfer.child.stdin), name, (chunk) => hash.update(chunk))
  return {
    ...{ what: 'upload', client, family, transfer, name },
    sha256: () => hash.digest('hex'),
    release,
  }
}

function writeSlowly(stdin: Writable, key: string, sent: (chunk: Buffer) => void): () => void {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, key), Buffer.alloc(16))
  // curl's end says more than a broken pipe.
  stdin.on('error', () => {})
  const timer = setInterval(() => {
    if (stdin.writableNeedDrain) return
    const chunk = cipher.update(Buffer.alloc(TICK_BYTES))
    sent(chunk)
    stdin.write(chunk)
  }, TICK_MS)
  stdin.on('close', () => clearInterval(timer))
  return () => {
    clearInterval(timer)
    stdin.end()
  }
}

function streamOf<Stream>(stream: Stream | null): Stream {
  if (stream === null) throw new Error('curl was started without pipes')
  return stream
}
