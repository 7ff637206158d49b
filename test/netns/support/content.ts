// Files with known sums. Called by the test files. Guarantees: no two chunks of a file are alike, so that what is lost,
// doubled or exchanged shows in its sum.

import { createCipheriv, createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'

const CHUNK = 1 << 20

export interface Content {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

export async function makeContent(path: string, bytes: number): Promise<Content> {
  // The same for every run: AES counts, and nobody's key is secret here.
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, path), Buffer.alloc(16))
  const zeros = Buffer.alloc(CHUNK)
  const hash = createHash('sha256')
  const file = await open(path, 'w')
  for (let left = bytes; left > 0; left -= CHUNK) {
    const chunk = stream.update(zeros.subarray(0, Math.min(left, CHUNK)))
    hash.update(chunk)
    await file.write(chunk)
  }
  await file.close()
  return { path, bytes, sha256: hash.digest('hex') }
}

export async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}
