// Every way in which a fleet file can be wrong, with the exact line that its author reads: one edit of a sound file,
// and all the problems that come of it.

import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { BACKENDS, BASE, NODES, problemsOf, SERVICE } from './base.js'

interface Case {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly problems: readonly string[]
}

const cases: readonly Case[] = [
  {
    name: 'a mistyped key is named once, not missing as well',
    from: 'key_file',
    to: 'key_fil',
    problems: [
      '2:3: unknown key "key_fil" in "fleet", expected key_file, hash_seed, flow_table, pops; did you mean "key_file"?',
    ],
  },
  {
    name: 'a key at a wrong indentation is sent home',
    from: 'services:',
    to: 'pops: []\nservices:',
    problems: [
      '8:1: unknown key "pops" in the file, expected fleet, services, admin, announce; it belongs in "fleet"',
    ],
  },
  {
    name: 'a missing key',
    from: '  hash_seed: 1\n',
    to: '',
    problems: [
      '2:3: missing key "hash_seed" in "fleet", expected 64 bits, 0x hexadecimal or decimal; make one with: echo "0x$(head -c 8 /dev/urandom | od -An -tx1 | tr -d \' \\n\')"',
    ],
  },
  {
    name: 'a mapping where a list belongs',
    from: NODES,
    to: '{ name: ams-1 }',
    problems: ['6:14: nodes: got a mapping, expected a list'],
  },
  {
    name: 'a list where a mapping belongs',
    from: '{ name: ams-1, address: 192.0.2.1 }',
    to: '[ams-1]',
    problems: ['6:15: nodes[0]: got a list, expected a mapping of name, id, address, scope, admin'],
  },
  {
    name: 'a key without a value',
    from: NODES,
    to: '',
    problems: ['6:7: nodes: got nothing, expected a list'],
  },
  {
    name: 'an empty list of nodes',
    from: NODES,
    to: '[]',
    problems: ['6:14: nodes: got an empty list, expected at least one node'],
  },
  {
    name: 'a name that YAML reads as a number',
    from: 'name: web',
    to: 'name: 80',
    problems: [
      '9:13: name: got 80, expected a name of at most 63 letters, digits, ".", "_" and "-" that starts with a letter or digit (a number needs quotes)',
    ],
  },
  {
    name: 'a name with a space',
    from: 'name: web',
    to: 'name: web site',
    problems: [
      '9:13: name: got "web site", expected a name of at most 63 letters, digits, ".", "_" and "-" that starts with a letter or digit (a number needs quotes)',
    ],
  },
  {
    name: 'a hash seed of more than 64 bits',
    from: 'hash_seed: 1',
    to: 'hash_seed: 0x10000000000000000',
    problems: [
      '3:14: hash_seed: got 18446744073709551616, expected 64 bits, 0x hexadecimal or decimal; make one with: echo "0x$(head -c 8 /dev/urandom | od -An -tx1 | tr -d \' \\n\')"',
    ],
  },
  {
    name: 'a negative hash seed',
    from: 'hash_seed: 1',
    to: 'hash_seed: -1',
    problems: [
      '3:14: hash_seed: got -1, expected 64 bits, 0x hexadecimal or decimal; make one with: echo "0x$(head -c 8 /dev/urandom | od -An -tx1 | tr -d \' \\n\')"',
    ],
  },
  {
    name: 'a flow table that is too small',
    from: 'hash_seed: 1',
    to: 'hash_seed: 1\n  flow_table: 512',
    problems: [
      '4:15: flow_table: got 512, expected flow table entries per node, a whole number 1024 to 67108864',
    ],
  },
  {
    name: 'a PoP id out of range',
    from: 'name: ams\n',
    to: 'name: ams\n      id: 4096\n',
    problems: ['6:11: id: got 4096, expected a PoP id, a whole number 1 to 4095'],
  },
  {
    name: 'a node id out of range',
    from: '{ name: ams-1,',
    to: '{ name: ams-1, id: 0,',
    problems: ['6:34: id: got 0, expected a node id, a whole number 1 to 65535'],
  },
  {
    name: 'an address with leading zeros',
    from: '192.0.2.1 ',
    to: '192.0.02.1 ',
    problems: [
      '6:39: address: got "192.0.02.1", expected an IPv4 or IPv6 address without leading zeros (some programs read them as octal); did you mean "192.0.2.1"?',
    ],
  },
  {
    name: 'an address that is none',
    from: '192.0.2.1 ',
    to: '192.0.2.256 ',
    problems: [
      '6:39: address: got "192.0.2.256", expected an IPv4 or IPv6 address, each of the four numbers 0 to 255',
    ],
  },
  {
    name: 'a host name instead of an address',
    from: '192.0.2.1 ',
    to: 'ams-1.example ',
    problems: ['6:39: address: got "ams-1.example", expected an IPv4 or IPv6 address'],
  },
  {
    name: 'an IPv4-mapped IPv6 address',
    from: '192.0.2.1 ',
    to: '"::ffff:192.0.2.1" ',
    problems: [
      '6:39: address: got "::ffff:192.0.2.1", expected an IPv4 or IPv6 address, IPv4 not mapped into IPv6; did you mean "192.0.2.1"?',
    ],
  },
  {
    name: 'an address with a zone',
    from: '192.0.2.1 ',
    to: 'fe80::1%eth0 ',
    problems: [
      '6:39: address: got "fe80::1%eth0", expected an IPv4 or IPv6 address without a zone (%...)',
    ],
  },
  {
    name: 'an address with a prefix length',
    from: '192.0.2.1 ',
    to: '192.0.2.1/32 ',
    problems: [
      '6:39: address: got "192.0.2.1/32", expected an IPv4 or IPv6 address without a prefix length',
    ],
  },
  {
    name: 'a multicast address',
    from: '192.0.2.1 ',
    to: '224.0.0.1 ',
    problems: [
      '6:39: address: got "224.0.0.1", expected the address of one machine (this one is multicast)',
    ],
  },
  {
    name: 'a weight out of range',
    from: '10.0.0.1 }',
    to: '10.0.0.1, weight: 101 }',
    problems: ['7:57: weight: got 101, expected a weight, a whole number 0 to 100'],
  },
  {
    name: 'a weight that is no whole number',
    from: '10.0.0.1 }',
    to: '10.0.0.1, weight: 1.5 }',
    problems: ['7:57: weight: got 1.5, expected a weight, a whole number 0 to 100'],
  },
  {
    name: 'a delivery that does not exist',
    from: '10.0.0.1 }',
    to: '10.0.0.1, deliver: locale }',
    problems: ['7:58: deliver: got "locale", expected "gue" or "local"; did you mean "local"?'],
  },
  {
    name: 'a gue backend without an address',
    from: ', address: 10.0.0.1 }',
    to: ' }',
    problems: ['7:18: missing key "address" in backend "b1", expected where GUE goes to'],
  },
  {
    name: 'a node without deliver: local',
    from: ', address: 10.0.0.1 }',
    to: ', node: ams-1 }',
    problems: [
      '7:18: missing key "address" in backend "b1", expected where GUE goes to; did you mean "deliver: local"?',
    ],
  },
  {
    name: 'a gue backend with a node',
    from: '10.0.0.1 }',
    to: '10.0.0.1, node: ams-1 }',
    problems: [
      '7:49: node: got a node for backend "b1" with an address, expected it with "deliver: local" only',
    ],
  },
  {
    name: 'a local backend without a node',
    from: ', address: 10.0.0.1 }',
    to: ', deliver: local }',
    problems: [
      '7:18: missing key "node" in backend "b1" with "deliver: local", expected the name of a node of its PoP',
    ],
  },
  {
    name: 'a local backend with an address',
    from: '10.0.0.1 }',
    to: '10.0.0.1, deliver: local, node: ams-1 }',
    problems: [
      '7:30: address: got an address for backend "b1" with "deliver: local", expected none (its node\'s is taken)',
    ],
  },
  {
    name: 'a local backend of an unknown node',
    from: ', address: 10.0.0.1 }',
    to: ', deliver: local, node: asm-1 }',
    problems: [
      '7:52: node: got "asm-1", expected a node of its PoP (ams-1); did you mean "ams-1"?',
    ],
  },
  {
    name: 'a local backend of a node of another PoP',
    from: BACKENDS,
    to: '[{ name: b1, deliver: local, node: nyc-1 }]\n    - name: nyc\n      nodes: [{ name: nyc-1, address: 192.0.2.2 }]',
    problems: [
      '7:52: node: got "nyc-1", which is a node of PoP "nyc", expected a node of its PoP (ams-1)',
    ],
  },
  {
    name: 'two local backends of one pool on one node',
    from: BACKENDS,
    to: '[{ name: b1, deliver: local, node: ams-1 }, { name: b2, deliver: local, node: ams-1 }]',
    problems: [
      '7:95: node: "ams-1" is that of backend "b1" of the same pool at 7:52 as well, expected one local backend per node and pool',
    ],
  },
  {
    name: 'a port out of range',
    from: '[80]',
    to: '[80, 65536]',
    problems: ['9:49: ports[1]: got 65536, expected a port, a whole number 1 to 65535'],
  },
  {
    name: 'a port twice in a service',
    from: '[80]',
    to: '[80, 443, 80]',
    problems: ['9:54: ports: 80 again, expected each port once'],
  },
  {
    name: 'a port that is text',
    from: '[80]',
    to: '[http]',
    problems: ['9:45: ports[0]: got "http", expected a port, a whole number 1 to 65535'],
  },
  {
    name: 'a single port instead of a list',
    from: '[80]',
    to: '80',
    problems: ['9:44: ports: got 80, expected a list'],
  },
  {
    name: 'a protocol that does not exist',
    from: 'protocol: tcp',
    to: 'protocol: tpc',
    problems: ['9:60: protocol: got "tpc", expected "tcp" or "udp"; did you mean "tcp"?'],
  },
  {
    name: 'fragments for tcp',
    from: 'protocol: tcp',
    to: 'protocol: tcp, fragments: true',
    problems: [
      '9:65: fragments: got true for a tcp service, expected it for udp only (TCP flows are told apart by their ports)',
    ],
  },
  {
    name: 'fragments that is no boolean',
    from: 'protocol: tcp',
    to: 'protocol: udp, fragments: yes',
    problems: ['9:76: fragments: got "yes", expected true or false'],
  },
  {
    name: 'timeouts for udp',
    from: 'protocol: tcp',
    to: 'protocol: udp, timeouts: { idle: 1h }',
    problems: [
      '9:65: timeouts: got timeouts for a udp service, expected them for tcp only (UDP has no flow table entries)',
    ],
  },
  {
    name: 'a timeout without a unit',
    from: 'protocol: tcp',
    to: 'protocol: tcp, timeouts: { idle: 600 }',
    problems: [
      '9:83: idle: got 600, expected a duration 1s to 24h, such as 65s, 10m or 3h; did you mean "600s"?',
    ],
  },
  {
    name: 'a timeout beyond its limit',
    from: 'protocol: tcp',
    to: 'protocol: tcp, timeouts: { idle: 25h, half_open: 61m }',
    problems: [
      '9:83: idle: got "25h", expected a duration 1s to 24h, such as 65s, 10m or 3h',
      '9:99: half_open: got "61m", expected a duration 1s to 1h, such as 65s or 10m',
    ],
  },
  {
    name: 'a timeout of zero',
    from: 'protocol: tcp',
    to: 'protocol: tcp, timeouts: { closing: 0s }',
    problems: ['9:86: closing: got "0s", expected a duration 1s to 1h, such as 65s or 10m'],
  },
  {
    name: 'a pool without a backend',
    from: 'protocol: tcp',
    to: 'protocol: tcp, pool: wbe }\n  - { name: w2, vip: 198.51.100.2, ports: [80], protocol: tcp',
    problems: ['9:71: pool: "wbe" has no backend in any PoP, expected a pool with one'],
  },
  {
    name: 'a default pool without a backend',
    from: '10.0.0.1 }',
    to: '10.0.0.1, pool: defualt }',
    problems: [
      '9:5: pool: "default" (none is given) has no backend in any PoP, expected a pool with one; did you mean "defualt"?',
    ],
  },
  {
    name: 'a loopback VIP',
    from: '198.51.100.1',
    to: '127.0.0.1',
    problems: ['9:23: vip: 127.0.0.1 is a loopback address, expected one that clients can reach'],
  },
  {
    name: 'a VIP that is the address of a node',
    from: '198.51.100.1',
    to: '192.0.2.1',
    problems: [
      '9:23: vip: 192.0.2.1 is the address of node "ams-1" at 6:39, expected an address of no machine',
    ],
  },
  {
    name: 'a VIP that is the address of a backend',
    from: '198.51.100.1',
    to: '10.0.0.1',
    problems: [
      '9:23: vip: 10.0.0.1 is the address of backend "b1" at 7:39, expected an address of no machine',
    ],
  },
  {
    name: 'two services on one VIP, protocol and port',
    from: SERVICE,
    to: '{ name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }\n  - { name: w2, vip: 198.51.100.1, ports: [443, 80], protocol: tcp }',
    problems: [
      '10:49: ports: 198.51.100.1 tcp port 80 belongs to service "web" at 9:45, expected one service per VIP, protocol and port',
    ],
  },
  {
    name: 'udp services of one VIP that disagree on fragments',
    from: SERVICE,
    to: '{ name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }\n  - { name: dns, vip: 198.51.100.1, ports: [53], protocol: udp, fragments: true }\n  - { name: ntp, vip: 198.51.100.1, ports: [123], protocol: udp }',
    problems: [
      '10:65: fragments: service "ntp" at 11:5 has the same VIP with another pool or without "fragments", expected the same for all udp services of a VIP (fragments carry no ports)',
    ],
  },
  {
    name: 'health without a kind of check',
    from: 'protocol: tcp',
    to: 'protocol: tcp, health: { rise: 2 }',
    problems: ['9:65: health: got none of "http", "https" and "tcp", expected one of them'],
  },
  {
    name: 'health with two kinds of check, one of them wrong',
    from: 'protocol: tcp',
    to: 'protocol: tcp, health: { http: healthz, tcp: true }',
    problems: [
      '9:65: health: got "http" and "tcp" of "http", "https" and "tcp", expected one of them',
      '9:81: http: got "healthz", expected a path that starts with "/", such as /healthz',
    ],
  },
  {
    name: 'health keys that the kind of check does not look at',
    from: 'protocol: tcp',
    to: 'protocol: tcp, health: { tcp: true, status: [200], body: ok, host: a.example, server_name: b, verify: true }',
    problems: [
      '9:86: status: got it beside "tcp", expected it beside "http" or "https" only: remove it, or check by "http" or "https"',
      '9:101: body: got it beside "tcp", expected it beside "http" or "https" only: remove it, or check by "http" or "https"',
      '9:111: host: got it beside "tcp", expected it beside "http" or "https" only: remove it, or check by "http" or "https"',
      '9:128: server_name: got it beside "tcp", expected it beside "https" only: remove it, or check by "https"',
      '9:144: verify: got it beside "tcp", expected it beside "https" only: remove it, or check by "https"',
    ],
  },
  {
    name: 'TLS keys of a check in clear',
    from: 'protocol: tcp',
    to: 'protocol: tcp, health: { http: /, verify: false }',
    problems: [
      '9:84: verify: got it beside "http", expected it beside "https" only: remove it, or check by "https"',
    ],
  },
  {
    name: 'a certificate to be verified without a name, and a name that is an address',
    from: 'protocol: tcp }',
    to: 'protocol: tcp, health: { https: /, host: "10.0.0.1:443", verify: true } }\n  - { name: w2, vip: 198.51.100.2, ports: [80], protocol: tcp, health: { https: /, server_name: 10.0.0.1 } }',
    problems: [
      '9:107: verify: got true without a name to verify, expected "server_name", or a host name in "host"',
      '10:97: server_name: got the address 10.0.0.1, expected a host name',
    ],
  },
  {
    name: 'a timeout that is longer than the interval, given or not',
    from: 'protocol: tcp }',
    to: 'protocol: tcp, health: { tcp: true, interval: 1s, timeout: 1100ms } }\n  - { name: w2, vip: 198.51.100.2, ports: [80], protocol: tcp, health: { tcp: true, timeout: 5s } }',
    problems: [
      '9:109: timeout: got 1100ms, expected at most the interval of 1s',
      '10:94: timeout: got 5s, expected at most the interval of 2s (the default)',
    ],
  },
  {
    name: 'values of health out of their ranges',
    from: 'protocol: tcp',
    to: 'protocol: tcp, health: { https: "/a b", port: 0, interval: 99ms, timeout: 1, rise: 0, fall: 101, slow_start: 500ms, status: [99, 600, 300-200, ok], body: "", host: "a b", server_name: "", verify: yes, probe: 1 }',
    problems: [
      '9:82: https: got "/a b", expected a path of ASCII characters without blanks, the others percent-encoded; did you mean "/a%20b"?',
      '9:96: port: got 0, expected a port, a whole number 1 to 65535',
      '9:109: interval: got "99ms", expected a duration 100ms to 1h, such as 500ms, 2s or 30s',
      '9:124: timeout: got 1, expected a duration 10ms to 1h, such as 500ms, 2s or 30s',
      '9:133: rise: got 0, expected successes in a row, a whole number 1 to 100',
      '9:142: fall: got 101, expected failures in a row, a whole number 1 to 100',
      '9:159: slow_start: got "500ms", expected a duration 1s to 1h, such as 2s or 30s, or 0s for none',
      '9:175: status[0]: got 99, expected an HTTP status 100 to 599, or a range of them such as 200-399',
      '9:179: status[1]: got 600, expected an HTTP status 100 to 599, or a range of them such as 200-399',
      '9:184: status[2]: got "300-200", expected an HTTP status 100 to 599, or a range of them such as 200-399',
      '9:193: status[3]: got "ok", expected an HTTP status 100 to 599, or a range of them such as 200-399',
      '9:204: body: got "", expected a text of 1 to 256 characters',
      '9:214: host: got "a b", expected a host name, with a port where one is needed',
      '9:234: server_name: got "", expected a host name',
      '9:246: verify: got "yes", expected true or false',
      '9:258: probe: got 1, expected true or false',
    ],
  },
  {
    name: 'a status that is no list, and a probe of a udp service',
    from: SERVICE,
    to: '{ name: dns, vip: 198.51.100.1, ports: [53], protocol: udp, health: { http: /, status: 200, probe: true } }',
    problems: [
      '9:92: status: got 200, expected a list',
      '9:97: probe: got true for a udp service, expected it for tcp only (a node connects through the VIP)',
    ],
  },
  {
    name: 'more checks in a PoP than the limit',
    from: `${BACKENDS}\nservices:\n  - ${SERVICE}`,
    to: `[${Array.from({ length: 129 }, (_, i) => `{ name: b${i}, address: 10.0.1.${i} }`).join(', ')}]\nservices:\n${Array.from({ length: 16 }, (_, i) => `  - { name: s${i}, vip: 198.51.100.1, ports: [${i + 1}], protocol: tcp, health: { tcp: true } }`).join('\n')}`,
    problems: [
      '24:65: health: more than 2048 checks in PoP "ams" (services with health times backends in their pools), expected at most 2048 (MAX_CHECKS_PER_POP)',
    ],
  },
  {
    name: 'an announced prefix with host bits',
    from: 'services:',
    to: 'announce: { bird: /run/bird.ctl, prefixes: [{ prefix: 198.51.100.1/24, up_when: any }] }\nservices:',
    problems: [
      '8:55: prefix: got "198.51.100.1/24", expected no bits set beyond the length; did you mean "198.51.100.0/24"?',
    ],
  },
  {
    name: 'an announcement with a wrong condition',
    from: 'services:',
    to: 'announce: { bird: /run/bird.ctl, prefixes: [{ prefix: 198.51.100.0/24, up_when: some }] }\nservices:',
    problems: ['8:81: up_when: got "some", expected "any", "all" or a list of names of services'],
  },
  {
    name: 'two PoPs of one name',
    from: BACKENDS,
    to: '[{ name: b1, address: 10.0.0.1 }]\n    - name: ams\n      nodes: [{ name: x-1, address: 192.0.2.9 }]',
    problems: ['8:13: name: PoP "ams" again, expected a name of its own; the first is at 5:13'],
  },
  {
    name: 'two nodes of one name in different PoPs',
    from: BACKENDS,
    to: '[{ name: b1, address: 10.0.0.1 }]\n    - name: nyc\n      nodes: [{ name: ams-1, address: 192.0.2.9 }]',
    problems: ['9:23: name: node "ams-1" again, expected a name of its own; the first is at 6:23'],
  },
  {
    name: 'two backends of one name',
    from: BACKENDS,
    to: '[{ name: b1, address: 10.0.0.1 }, { name: b1, address: 10.0.0.2 }]',
    problems: ['7:59: name: backend "b1" again, expected a name of its own; the first is at 7:26'],
  },
  {
    name: 'two services of one name',
    from: SERVICE,
    to: '{ name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }\n  - { name: web, vip: 198.51.100.1, ports: [81], protocol: tcp }',
    problems: [
      '10:13: name: service "web" again, expected a name of its own; the first is at 9:13',
    ],
  },
  {
    name: 'two nodes of one address, spelled differently',
    from: NODES,
    to: '[{ name: a, address: "2001:db8::1" }, { name: b, address: "2001:DB8:0::1" }]',
    problems: [
      '6:72: address: 2001:db8::1 is that of node "a" at 6:35 as well, expected one of its own',
      '7:39: address: 10.0.0.1 is IPv4 and 2001:db8::1 at 6:35 is IPv6, expected one family for all nodes and gue backends: every node sends outer packets to every other from its one address (VIPs may be of either family)',
    ],
  },
  {
    name: 'two backends of one address and pool',
    from: BACKENDS,
    to: '[{ name: b1, address: 10.0.0.1 }, { name: b2, address: 10.0.0.1 }]',
    problems: [
      '7:72: address: 10.0.0.1 is that of backend "b1" at 7:39 as well, expected one of its own',
    ],
  },
  {
    name: 'a gue backend on the address of a node',
    from: '10.0.0.1 }',
    to: '192.0.2.1 }',
    problems: [
      '7:39: address: 192.0.2.1 is that of node "ams-1" at 6:39 as well, expected one of its own; did you mean "deliver: local"?',
    ],
  },
  {
    name: 'a node of another family',
    from: NODES,
    to: '[{ name: ams-1, address: 192.0.2.1 }, { name: ams-2, address: "2001:db8::2" }]',
    problems: [
      '6:76: address: 2001:db8::2 is IPv6 and 192.0.2.1 at 6:39 is IPv4, expected one family for all nodes and gue backends: every node sends outer packets to every other from its one address (VIPs may be of either family)',
    ],
  },
  {
    name: 'a backend of another family',
    from: '10.0.0.1 }',
    to: '"2001:db8::2" }',
    problems: [
      '7:39: address: 2001:db8::2 is IPv6 and 192.0.2.1 at 6:39 is IPv4, expected one family for all nodes and gue backends: every node sends outer packets to every other from its one address (VIPs may be of either family)',
    ],
  },
  {
    name: 'two explicit ids that are the same',
    from: NODES,
    to: '[{ name: a, id: 7, address: 192.0.2.1 }, { name: b, id: 7, address: 192.0.2.2 }]',
    problems: [
      '6:70: node "b" has id 7 (explicit), as has node "a" at 6:30 (explicit), expected unique ids; change one of them',
    ],
  },
  {
    name: 'a key twice',
    from: 'name: web,',
    to: 'name: web, name: web2,',
    problems: ['9:18: key "name" again, expected once; the first is at 9:7'],
  },
  {
    name: 'no services at all',
    from: 'services:\n  - { name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }\n',
    to: '',
    problems: ['1:1: missing key "services" in the file, expected a list'],
  },
  {
    name: 'a tab as indentation',
    from: '    - name: ams',
    to: '	- name: ams',
    problems: ['5:1: YAML: a tab as indentation, expected spaces'],
  },
  {
    name: 'an unclosed bracket',
    from: '[80]',
    to: '[80',
    problems: [
      '9:63: YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
      '9:64: YAML: Flow map in block collection must be sufficiently indented and end with a }',
    ],
  },
  {
    name: 'an anchor and its misuse',
    from: '[80]',
    to: '*ports',
    problems: ['9:44: alias *ports has no anchor, expected &ports further up'],
  },
  {
    name: 'a tag',
    from: 'protocol: tcp',
    to: 'protocol: !tcp tcp',
    problems: ['9:60: YAML: Unresolved tag: !tcp'],
  },
  {
    name: 'two documents',
    from: 'services:',
    to: '---\nservices:',
    problems: ['8:1: YAML: a second document (---), expected one'],
  },
  {
    name: 'a list as the whole file',
    from: BASE,
    to: '- fleet\n',
    problems: ['1:1: the file: got a list, expected a mapping of fleet, services, admin, announce'],
  },
  {
    name: 'a word as the whole file',
    from: BASE,
    to: 'fleet\n',
    problems: [
      '1:1: the file: got "fleet", expected a mapping of fleet, services, admin, announce',
    ],
  },
  {
    name: 'an empty file',
    from: BASE,
    to: '',
    problems: ['1:1: the file is empty, expected the keys fleet and services'],
  },
  {
    name: 'a file of comments',
    from: BASE,
    to: '# nothing\n',
    problems: ['1:1: the file is empty, expected the keys fleet and services'],
  },
]

t.test('the file that the cases edit is sound', async (t) => {
  t.same(problemsOf(BASE), [])
  t.equal(parseFleet(BASE, 'fleet.yaml').ok, true)
})

for (const { name, from, to, problems } of cases) {
  t.test(`${name} is an error where it stands`, async (t) => {
    t.ok(BASE.includes(from), 'the case edits the file')
    const text = BASE.replace(from, () => to)
    t.equal(parseFleet(text, 'fleet.yaml').ok, false)
    t.same(problemsOf(text), problems)
  })
}
