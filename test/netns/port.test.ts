// Ports and workers as JavaScript starts them, with real TCP through a node and a backend. Single packets are looked at
// in test/unit/native/io_*_test.c.

import { execFile } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { WorkerStatus } from '../../src/dataplane/addon.js'
import { needsNamespaces } from './net.js'

const PROGRAM = fileURLToPath(new URL('workers.mjs', import.meta.url))
const BYTES = 8 * 1024 * 1024
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`

type Refusal = { readonly name: string; readonly code?: string; readonly step?: string }
type Counts = Readonly<Record<string, number>>

interface Seen {
  readonly refusals: Readonly<Record<string, Refusal>>
  readonly whole: boolean
  readonly wrongChecksums: string
  readonly status: WorkerStatus
  readonly backendStatus: WorkerStatus
  readonly beforeEnd: Refusal
  readonly afterStop: boolean
  readonly node: Counts
  readonly backend: Counts
  readonly devices: readonly string[]
}

async function run(kind: 'tun' | 'packet'): Promise<Seen> {
  const flags = process.getuid?.() === 0 ? ['-nm'] : ['-Urnm']
  const { stdout } = await promisify(execFile)(
    'unshare',
    [...flags, process.execPath, PROGRAM, kind],
    { env: { ...process.env, PATH, NODE_OPTIONS: '' }, timeout: 60_000 },
  )
  return JSON.parse(stdout) as Seen
}

function needsTun(t: Test): boolean {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
    return true
  } catch {
    const why = 'needs /dev/net/tun, readable and writable'
    if (process.env.STEADYCAST_CI === '1') t.fail(why)
    else t.plan(0, why)
    return false
  }
}

function look(t: Test, seen: Seen): void {
  t.equal(seen.whole, true, 'both directions arrive as they were sent')
  t.equal(seen.wrongChecksums, '0', 'no TCP segment arrives with a wrong checksum')

  const { node, backend } = seen
  const inBytes = (counts: Counts) => counts.rx_bytes ?? 0
  t.ok(inBytes(node) > BYTES, 'the upload went through the node')
  t.ok(inBytes(backend) > inBytes(node), 'and, wrapped, through the backend')
  t.equal(node.tx_packets, backend.rx_packets, 'and every packet of it')
  t.equal(backend.rx_packets, backend.delivered_local)
  t.equal(node.flows_new, 1)
  t.same([node.tx_errors, backend.tx_errors], [undefined, undefined])

  t.equal(seen.status.error, null)
  t.ok(seen.status.busyUs > 0 && seen.status.loops > 0)
  t.match(seen.status.view, { flowCapacity: 1024, certain: true, peers: [] })
  t.equal(seen.backendStatus.error, null)
  t.equal(seen.backendStatus.view, null)
  t.match(seen.beforeEnd, { code: 'EADDRINUSE' }, 'a thread of Node.js holds its worker')
  t.equal(seen.afterStop, true, 'the status stays readable after stop()')
}

t.test('TCP through a node and a backend on TUN devices arrives whole', async (t) => {
  if (!needsNamespaces(t) || !needsTun(t)) return
  const seen = await run('tun')
  look(t, seen)
  t.match(seen.refusals, { nameInUse: { name: 'NativeError', code: 'EBUSY', step: 'TUN device' } })
  t.same(seen.devices, ['lo'], 'the devices go with their workers')
})

t.test('TCP through a node and a backend on packet sockets arrives whole', async (t) => {
  if (!needsNamespaces(t)) return
  const seen = await run('packet')
  look(t, seen)
  const gue = { name: 'NativeError', step: 'GUE socket' }
  t.match(seen.refusals, {
    foreignAddress: { ...gue, code: 'EADDRNOTAVAIL' },
    addressInUse: { ...gue, code: 'EADDRINUSE' },
    portGivenAway: { name: 'Error' },
  })
})
