// What the lab's connections carry: a byte stream that a seed determines, so that both ends can make it and check it
// without having met. Used by the HTTP server and by the clients. AES in counter mode: any lost, doubled, moved or
// changed byte shows.

import { createCipheriv, createHash } from 'node:crypto'
import type { Writable } from 'node:stream'

const CHUNK_BYTES = 64 * 1024
const TICK_MS = 25
const ZEROS = Buffer.alloc(CHUNK_BYTES)

export class Content {
  readonly #cipher

  constructor(seed: number) {
    const key = createHash('sha256').update(`steadycast lab content ${seed}`).digest()
    this.#cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), Buffer.alloc(16))
  }

  /** The next bytes of the stream. */
  take(length: number): Buffer {
    if (length <= CHUNK_BYTES) return this.#cipher.update(ZEROS.subarray(0, length))
    return this.#cipher.update(Buffer.alloc(length))
  }
}

export interface Sending {
  readonly seed: number
  readonly length: number
  /** Bytes a second; 0: as fast as the reader reads. */
  readonly rate: number
  /** Called with every count of bytes the stream has taken. */
  readonly onTaken?: (bytes: number) => void
}

/** Writes the content at its rate and resolves to its SHA-256; never when the stream is destroyed before. */
export function sendContent(stream: Writable, sending: Sending): Promise<string> {
  const { seed, length, rate, onTaken } = sending
  const content = new Content(seed)
  const hash = createHash('sha256')
  const start = Date.now()
  let sent = 0
  let blocked = false
  return new Promise((resolve) => {
    const step = (): void => {
      if (stream.destroyed) {
        finish()
        return
      }
      const due =
        rate === 0 ? length : Math.min(length, Math.ceil((rate * (Date.now() - start)) / 1000))
      while (!blocked && sent < due) {
        const chunk = content.take(Math.min(CHUNK_BYTES, due - sent))
        sent += chunk.length
        hash.update(chunk)
        blocked = !stream.write(chunk, () => onTaken?.(chunk.length))
      }
      if (sent < length) return
      finish()
      resolve(hash.digest('hex'))
    }
    const onDrain = (): void => {
      blocked = false
      step()
    }
    const finish = (): void => {
      clearInterval(timer)
      stream.off('drain', onDrain)
      stream.off('close', finish)
    }
    const timer = setInterval(step, TICK_MS)
    stream.on('drain', onDrain)
    stream.on('close', finish)
    step()
  })
}
