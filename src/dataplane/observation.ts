// What the addon says of connections that it watched: the shapes that native/napi_observe.c makes. Read by src/observe.

export interface ObservedCounts {
  /** Seen from their SYN on. */
  readonly begun: number
  /** First seen in the middle, after the grace. */
  readonly middle: number
  /** Of those, sent for longer than a second. */
  readonly wentOn: number
  /** A SYN, and never anything else. */
  readonly stalled: number
  /** Of those, the SYN came more than once. */
  readonly repeated: number
}

export interface RawObservation extends ObservedCounts {
  readonly seconds: number
  /** TCP to a VIP. */
  readonly packets: number
  /** To a VIP, not TCP. */
  readonly others: number
  /** First seen in the middle within the grace: open before the watching began. */
  readonly before: number
  /** First seen by a FIN or RST. */
  readonly ending: number
  /** Handshakes that are not judged yet. */
  readonly pending: number
  /** Packets of connections that there was no room for. */
  readonly unfollowed: number
  /** Connections whose client's prefix there was no room for. */
  readonly unplaced: number
  /** Packets that the kernel, or a file's reader, had no room for. */
  readonly lost: number
  /** Not 0: it ended before its time, a device or a file. */
  readonly errno: number
  readonly columnS: number
  /** Over time, by when a connection was first seen. */
  readonly columns: readonly ObservedCounts[]
  /** Of clients: /24 and /48. */
  readonly prefixes: readonly (ObservedCounts & { readonly prefix: string })[]
}

export interface ObserverSettings {
  /** 17 bytes each: address, as 16 bytes, and how many of its 128 bits count. */
  readonly vips: Uint8Array
  readonly graceMs: number
  /** Of the hash of connections; random. */
  readonly seed: bigint
}

export interface ObserverHandle {
  look(): RawObservation
  stop(): void
}
