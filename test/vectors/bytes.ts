// Bytes in network order: pieces to join and a reader that never runs past the end. Used by everything in this folder.

export type Bytes = Uint8Array

export const u8 = (value: number): Bytes => Uint8Array.of(value & 0xff)
export const u16 = (value: number): Bytes => Uint8Array.of((value >> 8) & 0xff, value & 0xff)
export const u32 = (value: number): Bytes =>
  Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)

export function u64(value: bigint): Bytes {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

export function join(...parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** `length` bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 0): Bytes {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 0xff)
}

export const hex = (bytes: Bytes): string => Buffer.from(bytes).toString('hex')

/** Blanks are allowed anywhere. */
export function fromHex(text: string): Bytes {
  const digits = text.replace(/\s+/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new RangeError(`not bytes in hex: ${text}`)
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

export function sameBytes(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** A copy in which some bytes are others. */
export function patched(bytes: Bytes, offset: number, ...values: readonly number[]): Bytes {
  const copy = Uint8Array.from(bytes)
  copy.set(values, offset)
  return copy
}

/** The Internet checksum (RFC 1071) of the parts one after the other, each padded to an even length. */
export function checksum(...parts: readonly Bytes[]): number {
  let sum = 0
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0)
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** Reads front to back. Ask `left` first: reading past the end throws a RangeError. */
export class Reader {
  readonly #view: DataView
  #at = 0

  constructor(readonly bytes: Bytes) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.bytes.length - this.#at
  }

  u8(): number {
    return this.#view.getUint8(this.#step(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#step(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#step(4))
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#step(8))
  }

  take(length: number): Bytes {
    const from = this.#step(length)
    return this.bytes.slice(from, from + length)
  }

  rest(): Bytes {
    return this.take(this.left)
  }

  #step(length: number): number {
    const from = this.#at
    if (length > this.left) throw new RangeError(`${length} bytes wanted, ${this.left} left`)
    this.#at += length
    return from
  }
}
