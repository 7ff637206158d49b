// SipHash-2-4 with 64 bits of output, after the paper (Aumasson and Bernstein, 2012, section 2). Slow and plain: it is
// here to check the tag that native/ computes. Used by wire.ts and by tests.

import { type Bytes, u64 } from './bytes.js'

const MASK = 0xffff_ffff_ffff_ffffn

interface State {
  v0: bigint
  v1: bigint
  v2: bigint
  v3: bigint
}

const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (64n - by))) & MASK

function rounds(s: State, count: number): void {
  for (let i = 0; i < count; i++) {
    s.v0 = (s.v0 + s.v1) & MASK
    s.v2 = (s.v2 + s.v3) & MASK
    s.v1 = rotate(s.v1, 13n) ^ s.v0
    s.v3 = rotate(s.v3, 16n) ^ s.v2
    s.v0 = rotate(s.v0, 32n)
    s.v2 = (s.v2 + s.v1) & MASK
    s.v0 = (s.v0 + s.v3) & MASK
    s.v1 = rotate(s.v1, 17n) ^ s.v2
    s.v3 = rotate(s.v3, 21n) ^ s.v0
    s.v2 = rotate(s.v2, 32n)
  }
}

function littleEndian(bytes: Bytes): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0)
  return value
}

/** The number that the paper's pseudo-code returns. */
export function sipHash(key: Bytes, message: Bytes): bigint {
  if (key.length !== 16) throw new RangeError(`a SipHash key has 16 bytes, got ${key.length}`)
  const k0 = littleEndian(key.subarray(0, 8))
  const k1 = littleEndian(key.subarray(8))
  const s: State = {
    v0: k0 ^ 0x736f6d6570736575n,
    v1: k1 ^ 0x646f72616e646f6dn,
    v2: k0 ^ 0x6c7967656e657261n,
    v3: k1 ^ 0x7465646279746573n,
  }
  const whole = message.length - (message.length % 8)
  const compress = (word: bigint): void => {
    s.v3 ^= word
    rounds(s, 2)
    s.v0 ^= word
  }
  for (let i = 0; i < whole; i += 8) compress(littleEndian(message.subarray(i, i + 8)))
  compress((BigInt(message.length & 0xff) << 56n) | littleEndian(message.subarray(whole)))
  s.v2 ^= 0xffn
  rounds(s, 4)
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

/** The 8 bytes that the reference implementation writes. */
export function sipHashBytes(key: Bytes, message: Bytes): Bytes {
  return u64(sipHash(key, message)).reverse()
}
