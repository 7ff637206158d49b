// What an operator does about each reason for a drop: the other half of native/reason.h, whose help says what happened.
// Read by `explain`. A test holds it to the table of the data path: a reason without advice fails.

export const DROP_ADVICE: Readonly<Record<string, string>> = {
  truncated: 'nothing, when it is rare; in a capture, take whole packets (tcpdump -s 0)',
  bad_version: 'give an IP packet, from its IP header on, without the link header',
  bad_header: 'nothing: no honest sender makes such a packet',
  bad_checksum:
    'look for damage on the way in; in a capture on the sender, its checksum offload is why',
  too_many_extensions: 'nothing: no honest client sends so many',
  unknown_protocol: 'nothing: VIPs serve TCP, UDP and what ICMP says of them',
  fragment:
    'for UDP set "fragments: true" on the service; for TCP have backends advertise a smaller MSS',
  too_long:
    'look for jumbo frames or receive offload (ethtool -K DEVICE lro off) on the device that VIP packets come in by',
  no_service:
    'compare address, port and protocol with "services" of the fleet file; run "steadycast check"',
  no_backend:
    'give the service a backend that is ready here or in another PoP: see weights, drains and health',
  backend_gone: 'nothing: the connection ends by its timeout; put the backend back to keep it',
  table_full: 'raise "flow_table" of the fleet file and restart, or look for a flood of SYNs',
  peer_unreachable:
    'see why no node of that PoP is heard: "steadycast doctor", and UDP port 6080 between the nodes',
  uncertain:
    'wait until this node has filled and its peers are heard; it is silent so that it kills no connection by mistake',
  first_refusal: 'nothing: a client that repeats the packet half a second later gets its answer',
  unknown_icmp: 'nothing: an error about a connection that nobody has',
  gue_bad_variant: 'find the sender by its outer address: it speaks another GUE, or is a stranger',
  gue_bad_length: 'find the sender by its outer address: it speaks another GUE, or is a stranger',
  gue_flags: 'find the sender by its outer address: it speaks another GUE, or is a stranger',
  gue_bad_proto: 'find the sender by its outer address: it speaks another GUE, or is a stranger',
  gue_bad_ctype: 'find the sender by its outer address: it speaks another GUE, or is a stranger',
  other_seed:
    'a node with another hash_seed has other names for all flows: give it the fleet file of the others, and restart it',
  unknown_version: 'bring the nodes to releases whose wire versions are next to each other',
  unknown_verb: 'bring the nodes to releases whose wire versions are next to each other',
  unknown_key:
    'give all nodes the same key file: the sender signs with a key that this one does not hold',
  bad_tag:
    'give all nodes the same key file; if they have it, an address translator stands between them, or a forger',
  unknown_origin:
    'give all nodes the same fleet file; the sender is not in it, or not by the address it sends from',
  not_a_peer: 'filter UDP port 6080 to the addresses of the fleet: somebody else sends GUE here',
  wrong_backend:
    'give all nodes the same fleet file: the sender takes this backend for one of this PoP',
  owner_differs: 'nothing: the sender is told the right backend at once',
  no_session:
    'nothing, at the start of a node; if it goes on, see that packets pass both ways between the nodes',
  replayed: 'nothing, when it is rare; if not, somebody repeats what nodes sent',
  bad_message: 'bring the nodes to the same release',
  too_big: 'have backends advertise the documented MSS, or raise the MTU between the machines',
  no_buffer:
    'nothing, when it is rare; if not, the packets are far larger than the path between the machines',
  not_ours: 'see which route or rule brings this packet to the device: it is to none of the VIPs',
  ttl_expired: 'look for a routing loop',
  relay_unsupported: 'bring all nodes to wire version 2',
  relay_unknown: 'nothing: no PoP that was asked knows the connection',
}
