/* Every limit of the data path, named. Callers: all of native/. The TypeScript
 * side mirrors what an operator can run into in src/fleet/limits.ts. */
#ifndef SC_LIMITS_H
#define SC_LIMITS_H

enum {
	/* A fleet. */
	SC_MAX_POPS = 64,
	SC_MAX_NODES = 256,
	SC_MAX_NODES_PER_POP = 32,
	SC_MAX_BACKENDS = 4096,
	SC_MAX_SERVICES = 1024,	/* rows of (VIP, port, protocol) */
	SC_MAX_POOLS = 64,
	SC_MAX_TABLES = 128,	/* Maglev tables: one a pool, and those that health asks for */
	SC_MAX_KEYS = 2,	/* signing and previous */
	SC_MAX_SLOTS = 16 << 20,	/* Maglev slots of all tables together */
	SC_MAX_TIMEOUT_S = 86400,
	SC_MIN_MTU = 1280,	/* IPv6 has no smaller one; a full batch fits */
	SC_MAX_VIPS = 64,

	/* A burst. */
	SC_BURST_MAX = 64,	/* packets handed to forward() at once */
	SC_OUT_MAX = 256,	/* packets that may leave one call */
	SC_HEADROOM = 128,	/* bytes free in front of every packet */
	SC_PACKET_MAX = 9216,	/* largest IP packet, headers included */
	SC_SCRATCH_RESERVE = 40,	/* of these, kept free of walks and resends */
	SC_SCRATCH = 160,	/* buffers for packets made by the node itself, per call */

	/* Tables. */
	SC_MAX_FLOW_ENTRIES = 1 << 28,
	SC_HOME_ROWS = 4096,	/* rendezvous rows of a PoP */
	SC_FLOW_WAYS = 4,	/* entries of a cache-line bucket */
	SC_NEGATIVE_SLOTS = 4096,	/* flows remembered as once refused */
	SC_MAX_EXTENSIONS = 8,	/* IPv6 extension headers walked */

	/* Publication. */
	SC_BATCH_FLOWS = 64,	/* flows in one PUBLISH or OWNER message */
	SC_TAKEN_AHEAD = 64,	/* batches remembered beyond the first one missing */
	SC_PUBLISH_WINDOW = 256,	/* batches unacknowledged, per peer */
	SC_WALK_FLOWS_PER_MS = 256,	/* told to one peer by a walk */
	SC_WALK_BUCKETS = 1 << 15,	/* looked at for all peers together, per call of the timers */

	SC_SWEEP_BUCKETS = 1 << 17,	/* swept in one call of the timers, after a pause */
	/* Counting the flows of each backend. */
	SC_SURVEY_BUCKETS = 1 << 12,	/* looked at per call of the timers */

	/* What a node sends of its own accord, at most. */
	SC_ICMP_PER_S = 100,	/* packet too big */
	SC_HALF_OPEN_PER_S = 16384,	/* flows in their handshake published: more of them is a flood */
	SC_RELAY_PER_S = 8192,	/* packets of unknown flows handed to other PoPs */
	SC_SPILL_PER_S = 16384,	/* new connections, and packets without state, handed to other PoPs */
};

/* Times, microseconds unless the name says otherwise. */
#define SC_MS			1000ull
#define SC_S			1000000ull
#define SC_HELLO_NEAR_US	(100 * SC_MS)	/* inside a PoP */
#define SC_HELLO_FAR_US		(1 * SC_S)	/* across PoPs */
#define SC_HELLO_DEAD		3		/* missed HELLOs until a peer is dead */
#define SC_ACK_DELAY_US		(20 * SC_MS)	/* a batch is acknowledged within */
#define SC_RESEND_US		(400 * SC_MS)	/* an unacknowledged batch goes again after */
#define SC_FLUSH_US		(2 * SC_MS)	/* a part-filled batch waits at most */
#define SC_TIMER_US		(2 * SC_MS)	/* sc_timers() wants to be called this often */
#define SC_CERTAIN_US		(500 * SC_MS)	/* between the first and the second certain no */
#define SC_NEGATIVE_US		(10 * SC_S)	/* how long a first no is remembered */
#define SC_OWNER_CACHE_S	30		/* an ingress node trusts OWNER this long */
#define SC_COPY_S		900		/* a copy lives this long without republication */
#define SC_REPUBLISH_S		300		/* the owner republishes living entries this often */
#define SC_SURVEY_US		(60 * SC_S)	/* between two surveys that nobody asked for */
#define SC_RECALL_S		SC_COPY_S	/* a table that was left alone for longer is not recalled */
#define SC_RECALL_BESIDE_S	60		/* nor, for longer than this, flows whose owner node answers */

#endif
