// What the addon says of one packet's way, by ids: the shapes that native/napi_explain.c makes. Read by src/explain.

export interface RawHeaders {
  readonly src: string
  readonly dst: string
  readonly sport: number
  readonly dport: number
  readonly family: number
  readonly proto: number
  readonly kind: 'tcp' | 'udp' | 'fragment' | 'icmp-error' | 'icmp-echo'
  readonly tcpFlags: number
  readonly df: boolean
  /** As the IP header says. */
  readonly length: number
}

export type FlowState = 'half-open' | 'established' | 'closing'

export interface RawFlow {
  readonly backendId: number
  readonly popId: number | null
  readonly ownerId: number | null
  readonly state: FlowState
  readonly cached: boolean
  readonly ageS: number
  readonly idleS: number
}

export interface RawHome {
  readonly popId: number
  readonly homeId: number | null
  readonly order: readonly {
    readonly nodeId: number
    readonly up: boolean
    readonly filled: boolean
  }[]
}

/** What the stages behind the service had to go by. */
export interface RawInputs {
  readonly flow: bigint
  readonly serviceRow: number
  readonly homeRow: number
  readonly homes: readonly RawHome[]
  readonly slots: number
  readonly slot: number
  readonly choiceId: number | null
  readonly before: RawFlow | null
  readonly after: RawFlow | null
  readonly filled: boolean
  readonly certain: boolean
  readonly missingPopIds: readonly number[]
  readonly refusedUs: number | null
}

export interface RawOut extends RawHeaders {
  readonly egress: 'wire' | 'local'
  readonly gue: boolean
  /** enum sc_verb of native/wire.h; 0: plain GUE. */
  readonly verb: number
  readonly version: number
  readonly key: number
  readonly backendId: number
  readonly innerLength: number
}

export interface Counted {
  readonly kind: 'drop' | 'exit' | 'event'
  readonly name: string
  readonly help: string
  readonly by: number
}

export interface RawExplanation {
  /** The drop's name, null: the packet went on. */
  readonly drop: string | null
  readonly outer: RawHeaders | null
  readonly gue: boolean
  /** The client's, out of its GUE; null: there is none, or it does not parse. */
  readonly packet: RawHeaders | null
  readonly verb: number
  readonly version: number
  readonly originId: number | null
  readonly namedId: number
  readonly mtu: number
  /** null: no service, or no client's packet. */
  readonly inputs: RawInputs | null
  readonly counted: readonly Counted[]
  readonly out: readonly RawOut[]
}

export interface PcapPacket {
  readonly data: Uint8Array
  readonly timeUs: bigint
}

export interface PcapHandle {
  /** null: the file is at its end. Throws a NativeError for a file that is damaged. */
  next(): PcapPacket | null
}
