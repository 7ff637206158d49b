// How large a packet comes back from the machines that GUE goes to, by Debian's ping. Called by gather.ts. Guarantees: nothing
// is sent but a few pings, and a machine that answers none is a fact, no failure.

import { execFile } from 'node:child_process'
import { ipEnv } from '../host/ip.js'
import { MIN_MTU } from '../host/numbers.js'

/** What the worst case between machines takes in front of a packet: outer IPv6, UDP, GUE and private data. */
const OVERHEAD = 40 + 8 + 4 + 16
/** TCP over IPv6. */
const INNER_HEADERS = 60
/** What the largest packet that clients send when told the documented MSS, 1360, is between machines. */
export const LARGEST_OUTER = 1360 + INNER_HEADERS + OVERHEAD

/** Of segments that fit. */
export const mssOf = (mtu: number): number => mtu - OVERHEAD - INNER_HEADERS

/** Bytes of the largest packet, outer headers included, that came back whole; or why none is known. */
export type Echo = number | 'silent' | 'no ping'

/** MTUs that are met: PPPoE, tunnels of every kind. */
const SIZES = [1480, 1472, 1460, 1450, 1440, 1420, 1400, 1380, 1350, 1320] as const
const HEADERS = { 4: 20 + 8, 6: 40 + 8 } as const
const AT_ONCE = 16
const ARGS = '-n -q -c 2 -i 0.2 -W 1 -M do'.split(' ')
const PROGRAM_TIMEOUT_MS = 10_000

/** Of a packet that is to come back. */
export const wantedOf = (mtu: number): number => Math.min(mtu, LARGEST_OUTER)

type Answer = 'came back' | 'silent' | 'no ping'

function ping(address: string, bytes: number): Promise<Answer> {
  const payload = bytes - HEADERS[address.includes(':') ? 6 : 4]
  const args = [...ARGS, '-s', String(payload), address]
  const options = { env: ipEnv, timeout: PROGRAM_TIMEOUT_MS }
  return new Promise((resolve) => {
    execFile('ping', args, options, (error) => {
      if (error === null) resolve('came back')
      // 1: no answer; 2: it cannot, or may not.
      else resolve(error.code === 1 || error.killed === true ? 'silent' : 'no ping')
    })
  })
}

async function largest(address: string, wanted: number): Promise<Echo> {
  const [whole, small] = await Promise.all([ping(address, wanted), ping(address, MIN_MTU)])
  if (whole === 'came back') return wanted
  if (small !== 'came back') return small
  // The whole one again: two lost packets are no narrow path.
  const sizes = [wanted, ...SIZES.filter((size) => size < wanted)]
  const answers = await Promise.all(sizes.map((size) => ping(address, size)))
  return sizes.find((_, at) => answers[at] === 'came back') ?? MIN_MTU
}

/** By address; `mtus`: what the kernel takes for the path of each. None of a path that is too small for GUE. */
export async function echoes(
  mtus: ReadonlyMap<string, number>,
): Promise<ReadonlyMap<string, Echo>> {
  const found = new Map<string, Echo>()
  const rest = [...mtus].filter(([, mtu]) => mtu >= MIN_MTU)
  const worker = async () => {
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
      const [address, mtu] = next
      found.set(address, await largest(address, wantedOf(mtu)))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return found
}
