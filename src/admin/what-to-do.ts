// What an operator can do about a metric or a drop reason: the column beside the meaning in docs/metrics.md. Read by
// reference.ts. What is plain traffic has no line; a test holds that every name
// is one.

/** By the metric's name without "steadycast_". */
export const METRICS_TO_DO: Readonly<Record<string, string>> = {
  transmit_errors_total:
    'growing: look for a route, a neighbour or a firewall that refuses (`ip route get`, `nft list ruleset`)',
  dropped_packets_total: 'see [why packets are dropped](#why-packets-are-dropped)',
  misrouted_packets_total:
    'a lasting share above a third: routes alternate between PoPs; `steadycast observe` says for which clients. `certain_no` growing: connections meet a backend that does not know them',
  backend_flows: 'wait for 0 before you remove a drained backend',
  flow_table_entries: 'above 85% of the capacity: raise `flow_table`, shorten `timeouts`',
  flow_table_evictions_total:
    '`idle` growing: living connections are forgotten; raise `flow_table`. The others: a flood, or a table too small',
  claims_total: 'growing fast without PoP switches: `steadycast_peer_fleet_differs`',
  peer_up:
    '0: is the peer alive, UDP 6080 open both ways, the key the same? `steadycast doctor` on either',
  peer_filled: '0 for minutes: packets between the two are lost',
  peer_reports_filled: '0 for minutes: look at that node',
  peer_round_trip_seconds: 'far above usual: the path between the PoPs has changed',
  peer_unacknowledged_batches: 'high all the time: loss towards the peer, or a peer that is busy',
  peer_packets_total:
    'its rate: what this PoP sends on to another. Lasting without spill: routes alternate; `steadycast observe`',
  peer_protocol_version: 'differs between peers: finish the upgrade',
  peer_fleet_differs:
    '1 for longer than a change of the file takes: copy one file to all nodes, `systemctl reload steadycast`',
  filled: '0 for minutes: `/healthz` says what it waits for',
  certain: '0 for half an hour: a peer is gone or not heard; remove dead nodes from the fleet file',
  withholds: '1 for minutes: a flood of SYNs; see where it comes from, filter it upstream',
  publication_batches_total:
    '`resent` above a few percent of `sent`: loss between PoPs. `given_up` growing: too little bandwidth to a peer, or it is too busy',
  table_walks_total: 'growing without restarts: publications are given up again and again',
  too_big_sent_packets_total: 'growing: lower the MSS of the backends (`steadycast doctor`)',
  segments_cut_total: 'growing fast: lower the MSS of the backends (`steadycast doctor`)',
  maglev_slots: '0 of a backend that should take some: its health, its weight, its word',
  backend_up:
    '0: `steadycast status` has the reason; ask the check yourself with curl from the node',
  backend_path_up:
    '0: does `steadycast backend` run there, does its server listen on the VIP? `steadycast doctor` on that machine',
  backend_share_ratio: 'below 1 for longer than `slow_start`: the backend comes and goes',
  backend_check_duration_seconds: 'near `timeout`: the backend is about to be taken out',
  backend_checks_total: 'the `result` that grows says how checks fail',
  service_backends_ready: '0: mend the backends of this PoP; its clients are served from elsewhere',
  probe_up:
    '0: this node loses packets, or the server does not listen on the VIP: [health.md](health.md#the-nodes-own-path)',
  announced: '`withdrawn` without a drain: the log has the reason for every change',
  announced_wanted:
    'differs from `steadycast_announced`: a hold-down, which ends by itself, or the last announcer',
  last_announcer: '1: look at the checks first, then at the backends of all PoPs',
  announce_trouble:
    "1: the log has the daemon's words; [what goes wrong](announcing.md#what-goes-wrong)",
  node_word: '`draining` for hours: finished or forgotten? `steadycast undrain`',
  backend_word: 'the same',
  config_last_reload_successful: '0: `steadycast check FILE` says what is wrong with it',
  worker_busy_seconds_total: 'its rate above 0.8: add a node to the PoP',
  worker_loops_total: 'standing still: restart the node; its flows are recalled',
  build_info: 'several versions for longer than an upgrade takes: finish it',
}

/** By drop reason. */
export const DROPS_TO_DO: Readonly<Record<string, string>> = {
  fragment: '`fragments: true` for a UDP service whose clients send any',
  too_long: 'an MTU above 9000 on the way here: lower it',
  no_service:
    'a VIP is announced or routed here that has no such port: harmless scans, or a service that the fleet file lacks',
  no_backend: 'every backend of the service is out, here and elsewhere: mend one',
  backend_gone:
    'a backend was removed while flows named it, and has been let go: drain first next time',
  table_full: 'raise `flow_table`, shorten `timeouts`; in a flood, filter upstream',
  peer_unreachable:
    'no node of that PoP is heard: `steadycast_peer_up`, then the path between the PoPs',
  uncertain: 'lasting: `steadycast_certain` is 0, find the peer that is not heard',
  first_refusal:
    'many: strangers send packets of no connection; or another balancer had these connections before',
  unknown_version: 'a node of another wire version: finish the upgrade',
  unknown_verb: 'the same',
  other_seed:
    'a node whose fleet file has another `hash_seed`: give it the file of the others, restart it',
  unknown_key:
    'a key change whose steps differ between nodes: [operations.md](operations.md#changing-the-key)',
  bad_tag: 'the key differs although its id is the same, or somebody forges: compare the key files',
  unknown_origin:
    'the fleet file lacks that node, or it sends from another address (NAT, several addresses): `steadycast doctor`',
  not_a_peer: 'UDP 6080 is open to strangers: filter it',
  wrong_backend: 'fleet files differ between nodes: bring all to the same',
  owner_differs: 'a few during a PoP switch are usual; lasting, fleet files differ',
  replayed: 'lasting: packets are doubled on the way, or somebody replays',
  too_big: 'lower the MSS of the backends, or raise the MTU between PoPs: `steadycast doctor`',
  no_buffer: 'lasting: the worker is too busy, add a node',
  not_ours: 'an address of an announced prefix that is no VIP: harmless scans',
  ttl_expired: 'a routing loop: where do packets for the VIP go from here?',
  relay_unsupported: 'a node of another wire version: finish the upgrade',
}
