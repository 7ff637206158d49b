/* Why a packet's way ended, and what else is counted: the one table from which
 * counters, traces, metric labels and docs derive. X(name, help). Order is the
 * order in the shared counter array; add at the end of a block. */
#ifndef SC_REASON_H
#define SC_REASON_H

#include <stddef.h>
#include <stdint.h>

/* Drops: the packet ends here. */
#define SC_DROPS(X)								\
	/* parse */								\
	X(truncated, "shorter than its own headers say")			\
	X(bad_version, "neither IPv4 nor IPv6")					\
	X(bad_header, "header fields contradict each other")			\
	X(bad_checksum, "IPv4 header checksum is wrong")			\
	X(too_many_extensions, "more IPv6 extension headers than are walked")	\
	X(unknown_protocol, "neither TCP, UDP nor a known ICMP message")	\
	X(fragment, "a fragment of a service that does not expect any")		\
	X(too_long, "longer than the largest packet handled")			\
	/* service */								\
	X(no_service, "to no configured VIP, port and protocol")		\
	X(no_backend, "the service has no ready backend in this PoP")		\
	X(backend_gone, "the flow's backend is not configured any more")	\
	X(table_full, "no room in the flow table for a new flow")		\
	X(peer_unreachable, "no live node of the backend's PoP is known")	\
	X(uncertain, "unknown flow, and the home cannot be certain")		\
	X(first_refusal, "unknown flow, certain for the first time")		\
	X(unknown_icmp, "an ICMP error about a flow that is not known")		\
	/* GUE and private data */						\
	X(gue_bad_variant, "GUE variant other than 0")				\
	X(gue_bad_length, "GUE header longer than the packet, or of a length not spoken")	\
	X(gue_flags, "GUE flags are set")					\
	X(gue_bad_proto, "GUE payload is neither IPv4 nor IPv6")		\
	X(gue_bad_ctype, "GUE control message of a type not spoken")		\
	X(unknown_version, "private data or control message of an unknown version")	\
	X(unknown_verb, "private data or control message of an unknown verb")	\
	X(unknown_key, "tagged under a key this node does not hold")		\
	X(bad_tag, "the tag does not fit")					\
	X(unknown_origin, "from a node that is not configured, or not from its address")	\
	X(not_a_peer, "GUE from an address that is not a node of this PoP")	\
	X(wrong_backend, "FORWARD names a backend that is not of this PoP")	\
	X(owner_differs, "FORWARD names another backend than this PoP knows")	\
	/* control messages */							\
	X(no_session, "control message outside a session of both sides' boot ids")	\
	X(replayed, "control message seen before, or too old to tell")		\
	X(bad_message, "control message whose body does not fit its verb")	\
	X(other_seed, "HELLO of a node whose hash_seed is another")		\
	/* leaving */								\
	X(too_big, "would not fit the path and cannot be cut")			\
	X(no_buffer, "out of buffers in this burst")				\
	X(not_ours, "neither to a VIP nor GUE to this node")			\
	X(ttl_expired, "time to live ran out")					\
	X(relay_unsupported, "RELAY, which version 1 of the wire does not speak")	\
	X(relay_unknown, "RELAY of a flow that is not known here either")

/* Where a packet went that was not dropped. */
#define SC_EXITS(X)								\
	X(delivered_gue, "encapsulated to a backend of this PoP")		\
	X(delivered_local, "given to this machine's own stack")			\
	X(asked, "sent to its home in this PoP")				\
	X(forwarded, "sent to the owner node in another PoP")			\
	X(relayed, "handed to a PoP that can reach what this node cannot")	\
	X(spilled, "handed to a PoP that has a ready backend")			\
	X(consumed, "a control message, taken in")

/* Everything else that is counted. */
#define SC_EVENTS(X)								\
	X(rx_packets, "packets received")					\
	X(rx_bytes, "bytes received")						\
	X(tx_packets, "packets transmitted")					\
	X(tx_bytes, "bytes transmitted")					\
	X(tx_errors, "packets the kernel refused to send")			\
	X(flows_new, "flows recorded on a SYN")					\
	X(flows_learned, "flows recorded from a FORWARD of a flow unknown here")	\
	X(flows_recalled, "flows taken over from this node's own table of before its restart")	\
	X(flows_expired, "flows that ended by their idle time")			\
	X(flows_evicted_half_open, "half-open flows that made room")		\
	X(flows_evicted_closing, "closing flows that made room")		\
	X(flows_evicted_idle, "established flows, the longest idle, that made room")	\
	X(misrouted_cached, "packets of another PoP's flow, known here from OWNER")	\
	X(misrouted_home, "packets of another PoP's flow, known here as its home")	\
	X(certain_no, "unknown flows given to the Maglev choice after two certain refusals")	\
	X(forward_received, "FORWARD packets taken in")				\
	X(ask_received, "ASK packets taken in")					\
	X(relay_received, "RELAY packets taken in")				\
	X(icmp_steered, "ICMP errors steered to their flow's backend")		\
	X(segments_cut, "TCP segments cut in two to fit the path")		\
	X(too_big_sent, "packet-too-big answers sent")				\
	X(owner_sent, "OWNER answers sent")					\
	X(owner_received, "OWNER answers taken in")				\
	X(reach_sent, "REACH messages sent")					\
	X(reach_received, "REACH messages taken in")				\
	X(claims_won, "conflicting claims in which this node's entry stayed")	\
	X(claims_lost, "conflicting claims in which another PoP's entry won")	\
	X(hello_sent, "HELLOs sent")						\
	X(hello_received, "HELLOs taken in")					\
	X(publish_flows_sent, "flows published, first sending")			\
	X(publish_flows_received, "flows taken in from publications")		\
	X(publish_batches_sent, "publication batches, first sending")		\
	X(publish_batches_acked, "publication batches acknowledged")		\
	X(publish_batches_resent, "publication batches sent again")		\
	X(publish_overflow, "publications given up because a peer's window was full")	\
	X(publish_withheld, "half-open flows not published, because a flood begins more than the limit")	\
	X(walks_started, "table walks begun for a peer")			\
	X(walks_finished, "table walks finished for a peer")			\
	X(ingress_packets, "packets for a service that came from elsewhere than a node")

/* Kinds of counters come one after the other in one array of uint64_t. */
enum sc_reason {
	SC_OK = -1,
#define X(name, help) SC_DROP_##name,
	SC_DROPS(X)
#undef X
	SC_DROP_COUNT,
};

enum sc_counter {
	SC_C_DROP_BASE = 0,
	SC_C_EXIT_BASE = SC_DROP_COUNT,
	SC_C_BEFORE_EXITS = SC_C_EXIT_BASE - 1,
#define X(name, help) SC_C_##name,
	SC_EXITS(X)
	SC_EVENTS(X)
#undef X
	SC_COUNTER_COUNT,
};

/* One row of the table, for labels and docs. */
struct sc_counter_info {
	const char *kind;	/* "drop", "exit" or "event" */
	const char *name;
	const char *help;
};

/* SC_COUNTER_COUNT rows, in counter order. */
extern const struct sc_counter_info sc_counter_table[];

#endif
