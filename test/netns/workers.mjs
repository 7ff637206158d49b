// What port.test.ts runs in a namespace of its own: a node and a backend of the addon in one process, real TCP through
// both, on devices of the kind that the argument says. Prints what it saw as one line of JSON.
//
//   client 10.9.9.9 --rule 1000--> device sca: node 10.1.0.1 --GUE over lo--> backend 10.1.1.1: device scb --rule 900--> server

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { Worker } from 'node:worker_threads'

// Relative to the built program, not to its sources.
const dist = new URL('../../dist/', import.meta.url)
const load = (path) => import(new URL(path, dist).href)
const { loadAddon } = await load('dataplane/addon.js')
const { packGeneration } = await load('dataplane/generation.js')
const { parseFleet } = await load('config/fleet-file.js')
const { addressBytes } = await load('fleet/address.js')

const VIP = '198.51.100.10'
const BYTES = 8 * 1024 * 1024
const kind = process.argv[2]
const addon = loadAddon()

const sh = (script) => execFileSync('sh', ['-ec', script], { encoding: 'utf8' })

/** What openPort() wants for the device of this name; a pair is made for it. */
function optionsOf(name) {
  if (kind === 'tun') return { kind, name }
  sh(`
    ip link add ${name} type veth peer name ${name}p
    ip link set ${name} arp off multicast off
    ip link set ${name}p arp off multicast off up`)
  return { kind, name: `${name}p`, peer: name }
}

const open = (name) => addon.openPort(optionsOf(name))

/** What an error says that callers decide by. */
function refusal(call) {
  try {
    call()
  } catch ({ name, code, step }) {
    return { name, code, step }
  }
  return undefined
}

const parsed = parseFleet(
  `fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.1.0.1 }]
      backends: [{ name: web, address: 10.1.1.1 }]
services:
  - { name: web, vip: ${VIP}, ports: [80], protocol: tcp }
`,
  'fleet.yaml',
)
const { fleet } = parsed
const [pop] = fleet.pops
const keys = [{ id: 1, key: randomBytes(16) }]
const nodeSide = packGeneration(fleet, { kind: 'node', nodeId: pop.nodes[0].id, keys }, 1500)
const backendSide = packGeneration(fleet, { kind: 'backend' }, 1500)

sh(`
  ip link set lo up
  ip address add 10.1.0.1/32 dev lo
  ip address add 10.1.1.1/32 dev lo
  ip address add 10.9.9.9/32 dev lo
  ip address add ${VIP}/32 dev lo`)

const node = {
  port: open('sca'),
  address: addressBytes('10.1.0.1'),
  udpPort: 6080,
  generation: nodeSide.blob,
  bootId: 1n,
  memoryPath: null,
  flowEntries: 1024,
}
const backend = {
  port: open('scb'),
  address: addressBytes('10.1.1.1'),
  udpPort: 6080,
  generation: backendSide.blob,
  popId: pop.id,
}

const refusals = {
  nameInUse: refusal(() => addon.openPort({ kind: 'tun', name: 'sca' })),
  foreignAddress: refusal(() => addon.startNode({ ...node, address: addressBytes('10.1.0.2') })),
}
const nodeWorker = addon.startNode(node)
const backendWorker = addon.startBackend(backend)
const third = open('scc')
refusals.addressInUse = refusal(() => addon.startBackend({ ...backend, port: third }))
refusals.portGivenAway = refusal(() => addon.startBackend(backend))
third.close()
third.close()

sh(`
  for d in sca scb; do
    echo 0 > /proc/sys/net/ipv4/conf/$d/rp_filter
    echo 1 > /proc/sys/net/ipv4/conf/$d/accept_local
    ip link set $d up
  done
  echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
  ip route add ${VIP} dev sca src 10.9.9.9 table 6080
  ip rule add pref 900 iif scb lookup local
  ip rule add pref 1000 to ${VIP} lookup 6080
  ip rule add pref 1100 lookup local
  ip rule del pref 0`)

const sha = (buffers) => createHash('sha256').update(Buffer.concat(buffers)).digest('hex')
const upload = randomBytes(BYTES)
const download = randomBytes(BYTES)

const uploaded = await new Promise((resolve, reject) => {
  let serverSaw
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const received = []
    socket.on('data', (chunk) => received.push(chunk))
    socket.on('end', () => {
      socket.end(download)
      server.close()
      serverSaw = sha(received)
    })
  })
  server.listen(80, VIP, () => {
    const client = connect({ host: VIP, port: 80, allowHalfOpen: true })
    const received = []
    client.on('error', reject)
    client.on('data', (chunk) => received.push(chunk))
    client.on('end', () => resolve({ serverSaw, clientSaw: sha(received) }))
    client.end(upload)
  })
})

/** By name, without those that are 0. */
function countsOf({ counters }) {
  const rows = addon.counterTable().map(({ name }, i) => [name, Number(counters[i])])
  return Object.fromEntries(rows.filter(([, value]) => value !== 0))
}

// A status is at most 250 ms old.
await new Promise((resolve) => setTimeout(resolve, 600))
const status = nodeWorker.status()
const backendStatus = backendWorker.status()
for (const worker of [nodeWorker, nodeWorker, backendWorker, backendWorker]) worker.stop()
const devices = sh('ip -brief link').match(/^\w+/gm)

// A thread of Node.js that is ended in the middle takes its worker with it: the address is free again.
const thread = new Worker(
  `import(${JSON.stringify(new URL('dataplane/addon.js', dist).href)}).then(({ loadAddon }) => {
    const { parentPort, workerData } = require('node:worker_threads')
    const { options, backend } = workerData
    globalThis.worker = loadAddon().startBackend({ ...backend, port: loadAddon().openPort(options) })
    parentPort.postMessage('started')
    setInterval(() => {}, 1000)
  })`,
  { eval: true, workerData: { options: optionsOf('scd'), backend: { ...backend, port: null } } },
)
await new Promise((resolve, reject) => thread.on('message', resolve).on('error', reject))
const beforeEnd = refusal(() => addon.startBackend({ ...backend, port: open('sce') }))
await thread.terminate()
// Neither stopped nor held: it ends with the process.
addon.startBackend({ ...backend, port: open('scf') })

const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('Tcp:'))
  .map((line) => line.split(' '))

console.log(
  JSON.stringify({
    refusals,
    whole: uploaded.serverSaw === sha([upload]) && uploaded.clientSaw === sha([download]),
    wrongChecksums: values[names.indexOf('InCsumErrors')],
    status,
    backendStatus,
    beforeEnd,
    afterStop: nodeWorker.status().loops >= status.loops,
    node: countsOf(nodeWorker),
    backend: countsOf(backendWorker),
    devices,
  }),
)
