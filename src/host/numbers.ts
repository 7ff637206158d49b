// Every name and number that steadycast takes on a host, in one place: what an operator meets in `ip rule`, `ip route`
// and `ss`. Read by all of src/host and by the verbs; docs/local-delivery.md explains the rules to operators.

export const DEVICE = 'steady0'
/** The other end of the veth pair that stands in where there is no /dev/net/tun: `steady0p`. */
export const PEER_SUFFIX = 'p'
/** The kernel's limit is 15; the peer's name needs one more. */
export const MAX_DEVICE_NAME = 14
/** Larger than any packet that arrives, so that the kernel neither cuts nor refuses one on its way to the data path. */
export const DEVICE_MTU = 65535

/** Where a node keeps what outlives its process. */
export const STATE_DIR = '/run/steadycast'

export const GUE_PORT = 6080
export const ADMIN_NODE = '127.0.0.1:6080'
export const ADMIN_BACKEND = '127.0.0.1:6081'

/** On a node: the way to each VIP. On a backend machine: the replies' routes. */
export const VIP_TABLE = 6080
/** On a node with local delivery: the replies' routes. */
export const REPLY_TABLE = 6081

/** The kernel's own tables, by number: a name is what /etc/iproute2/rt_tables says. */
export const LOCAL_TABLE = 255
export const MAIN_TABLE = 254

/** What the data path wrote to its device goes to this machine's own stack. */
export const PREF_FROM_DEVICE = 900
/** Everything else for a VIP goes to the data path. */
export const PREF_TO_VIP = 1000
/** Where the rule of table local moves to, from 0: behind the two above. */
export const PREF_LOCAL = 1100
/** Replies from a VIP on a node: behind table local, so that this machine reaches its own VIPs. */
export const PREF_REPLY_NODE = 1200
/** Replies from a VIP on a backend machine. */
export const PREF_REPLY_BACKEND = 1000

/** The protocol number of our rules and routes, by which they are told from anyone else's. */
export const PROTOCOL = 60
/** RTPROT_KERNEL. */
export const PROTOCOL_KERNEL = 2

export const METRIC_DEVICE = 1
export const METRIC_BLACKHOLE = 4096

export const DEFAULT_MTU = 1500
/** native/limits.h: SC_MIN_MTU and SC_PACKET_MAX. */
export const MIN_MTU = 1280
export const MAX_MTU = 9216

/** What the worst case between nodes takes: outer IPv6 40, UDP 8, GUE 4, private data 16, and TCP/IPv6 headers 60, 12
 * of spare. A backend advertises no larger MSS than its MTU less this: 1360 on a 1500-byte Internet. */
export const MSS_BELOW_MTU = 140
