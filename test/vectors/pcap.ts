// A pcap file of raw IP packets, for Wireshark and for the offline port. Used by the test of the dissector.

import { type Bytes, join } from './bytes.js'

const MAGIC_US = 0xa1b2c3d4
const LINKTYPE_RAW = 101

function littleEndian(...words: readonly (readonly [value: number, bytes: 2 | 4])[]): Bytes {
  return join(
    ...words.map(([value, bytes]) =>
      Uint8Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff),
    ),
  )
}

/** One packet a millisecond. */
export function pcap(packets: readonly Bytes[]): Bytes {
  const header = littleEndian(
    ...([
      [MAGIC_US, 4],
      [2, 2],
      [4, 2],
      [0, 4],
      [0, 4],
      [65535, 4],
      [LINKTYPE_RAW, 4],
    ] as const),
  )
  const records = packets.map((packet, i) => {
    const { length } = packet
    return join(littleEndian([1, 4], [i * 1000, 4], [length, 4], [length, 4]), packet)
  })
  return join(header, ...records)
}
