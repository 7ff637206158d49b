// What must hold on a machine before anything of it is changed: privileges, iproute2, our address, forwarding. Called by
// the verbs `run` and `backend`. Guarantees: changes nothing; each failure is one sentence that says what to do.

import { readFileSync } from 'node:fs'
import { HostError, listed } from './host-error.js'
import { ipIsPresent, ipJson } from './ip.js'
import { PEER_SUFFIX } from './numbers.js'
import { devicesWithSysctls, readSysctl } from './sysctl.js'

/** Bits of CapEff, linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13 } as const

const ADDRESS_WAIT_MS = 5000
const ADDRESS_POLL_MS = 100

export function missingCapabilities(procStatus: string): readonly string[] {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(procStatus)?.[1] ?? '0'
  const effective = BigInt(`0x${hex}`)
  return Object.entries(CAPABILITIES)
    .filter(([, bit]) => (effective & (1n << BigInt(bit))) === 0n)
    .map(([name]) => name)
}

export function requireCapabilities(verb: string): void {
  const missing = missingCapabilities(readFileSync('/proc/self/status', 'utf8'))
  if (missing.length === 0) return
  throw new HostError(
    `this process lacks ${listed(missing)}, expected CAP_NET_ADMIN and CAP_NET_RAW for devices, routes and raw sockets: run "steadycast ${verb}" as root, or from the service unit in deploy/`,
  )
}

export async function requireIproute(): Promise<void> {
  if (await ipIsPresent()) return
  throw new HostError(
    'the program "ip" does not run, expected iproute2: install it (Debian, Ubuntu: apt-get install iproute2; Fedora: dnf install iproute)',
  )
}

interface AddressRow {
  readonly ifname: string
  readonly addr_info: readonly {
    readonly local?: string
    readonly scope?: string
    readonly tentative?: boolean
    readonly dadfailed?: boolean
  }[]
}

/** Waits for an IPv6 address whose duplicate address detection has not finished, which nothing can bind yet. */
export async function requireAddress(who: string, address: string): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += ADDRESS_POLL_MS) {
    const rows = await ipJson<AddressRow>('address', 'show')
    const all = rows.flatMap(({ ifname, addr_info }) =>
      addr_info.map((info) => ({ ...info, ifname })),
    )
    const own = all.find(({ local }) => local === address)
    if (own === undefined) throw new HostError(notHere(who, address, all))
    if (own.tentative !== true) return
    if (own.dadfailed === true || waitedMs >= ADDRESS_WAIT_MS) {
      throw new HostError(
        `${who}'s address ${address} on ${own.ifname} cannot be used: ${own.dadfailed === true ? 'another machine on that link has it too (duplicate address detection failed)' : 'duplicate address detection does not finish; is the link up?'}`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, ADDRESS_POLL_MS))
  }
}

/** The kernel answers for its own addresses before it routes: a VIP that is delivered elsewhere must not be one. */
export async function requireVipsElsewhere(
  vips: readonly { readonly address: string; readonly local: boolean }[],
): Promise<void> {
  const rows = await ipJson<AddressRow>('address', 'show')
  const held = rows.flatMap(({ ifname, addr_info }) =>
    addr_info.flatMap(({ local }) => (local === undefined ? [] : [{ address: local, ifname }])),
  )
  const own = held.find(({ address }) => vips.some((vip) => !vip.local && vip.address === address))
  if (own === undefined) return
  throw new HostError(
    `VIP ${own.address} is an address of this machine (on ${own.ifname}), whose kernel would answer its packets with resets, expected it on no device of a node without a local backend for it: "ip address show dev ${own.ifname}" shows it, "ip address del ADDRESS/LENGTH dev ${own.ifname}" removes it`,
  )
}

function notHere(
  who: string,
  address: string,
  all: readonly { readonly local?: string; readonly scope?: string }[],
): string {
  const here = all.flatMap(({ local, scope }) =>
    scope === 'global' && local !== undefined ? [local] : [],
  )
  return `${who}'s address ${address} is on no device of this machine, which has ${listed(here)}: is this the right machine, and the right name?`
}

export function requireIpv6(): void {
  if (readSysctl('net/ipv6/conf/all/forwarding') !== undefined) return
  throw new HostError(
    'this kernel has IPv6 switched off (/proc/sys/net/ipv6 is missing), expected it for the IPv6 VIPs of the fleet: boot without ipv6.disable=1',
  )
}

/** An IPv6 VIP that is delivered locally is on lo. */
function requireIpv6OnLoopback(): void {
  const off = ['all', 'lo'].filter((name) => {
    return readSysctl(`net/ipv6/conf/${name}/disable_ipv6`) === '1'
  })
  if (off.length === 0) return
  const names = off.map((name) => `net.ipv6.conf.${name}.disable_ipv6`)
  const commands = names.map((name) => `${name}=0`).join(' ')
  throw new HostError(
    `${listed(names)} ${off.length === 1 ? 'is' : 'are'} 1, expected 0: IPv6 VIPs with "deliver: local" are put on lo; run "sysctl -w ${commands}", and correct the file in /etc/sysctl.d that says so`,
  )
}

export interface RoutingNeeds {
  /** Families of the VIPs. */
  readonly ipv4: boolean
  readonly ipv6: boolean
  /** Protocols of services that a local backend answers. */
  readonly localTcp: boolean
  readonly localUdp: boolean
  /** An IPv6 VIP that a local backend answers. */
  readonly localIpv6: boolean
}

/** Settings of the whole machine that a node depends on and that are its operator's to make. */
export function requireRoutingSysctls(needs: RoutingNeeds, device: string): void {
  const wanted: string[] = []
  if (needs.ipv4 && !forwardsIpv4(device)) wanted.push('net.ipv4.conf.all.forwarding=1')
  if (needs.ipv6) {
    requireIpv6()
    if (readSysctl('net/ipv6/conf/all/forwarding') !== '1') {
      wanted.push('net.ipv6.conf.all.forwarding=1')
    }
  }
  if (needs.localIpv6) requireIpv6OnLoopback()
  // A packet whose socket was found before its route is one that the kernel will not forward to our device.
  if (readSysctl('net/ipv4/ip_early_demux') !== '0') {
    for (const [needed, name] of [
      [needs.localTcp, 'tcp_early_demux'],
      [needs.localUdp, 'udp_early_demux'],
    ] as const) {
      if (needed && readSysctl(`net/ipv4/${name}`) === '1') wanted.push(`net.ipv4.${name}=0`)
    }
  }
  if (wanted.length === 0) return
  throw new HostError(
    `the kernel would not hand VIP packets to ${device}, expected ${listed(wanted)}: install deploy/sysctl-steadycast.conf as /etc/sysctl.d/60-steadycast.conf and run "sysctl --system", or run "sysctl -w ${wanted.join(' ')}"`,
  )
}

/** IPv4 forwarding is a matter of the device that a packet comes in by; which that will be, routing decides. */
function forwardsIpv4(device: string): boolean {
  return devicesWithSysctls('ipv4').some(
    (name) =>
      name !== 'lo' &&
      name !== device &&
      name !== `${device}${PEER_SUFFIX}` &&
      readSysctl(`net/ipv4/conf/${name}/forwarding`) === '1',
  )
}
