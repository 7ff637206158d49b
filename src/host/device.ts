// Our device: TUN, or where /dev/net/tun cannot be opened a veth pair with a packet socket on its other end. Called by
// `run` and `backend`. Guarantees: a device of a living process is refused, what a dead one left is replaced; the kernel
// sends nothing of its own through the device.

import { readFileSync } from 'node:fs'
import type { PortHandle, PortOptions } from '../dataplane/addon.js'
import type { Changes } from './changes.js'
import { errnoCode, HostError } from './host-error.js'
import { ip, ipJson } from './ip.js'
import { DEVICE_MTU, MAX_DEVICE_NAME, PEER_SUFFIX } from './numbers.js'
import { readSysctl, requireDeviceSysctl, writeSysctl } from './sysctl.js'

export interface Device {
  readonly kind: 'tun' | 'packet'
  readonly name: string
  readonly port: PortHandle
  /** Why it is not a TUN device. */
  readonly reason?: string
}

export type OpenPort = (options: PortOptions) => PortHandle

interface LinkRow {
  readonly ifindex: number
  readonly ifname: string
  readonly linkinfo?: { readonly info_kind?: string }
}

/** Where a TUN device cannot be had for want of the file or of the permission, and only then, a veth pair will do. */
const NO_TUN: ReadonlySet<string> = new Set(['ENOENT', 'EACCES', 'EPERM', 'ENXIO', 'ENODEV'])

export function checkDeviceName(name: string): void {
  const fits = name.length <= MAX_DEVICE_NAME && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)
  if (fits) return
  throw new HostError(
    `--device: got ${JSON.stringify(name)}, expected at most ${MAX_DEVICE_NAME} letters, digits, ".", "_" and "-", such as steady0`,
  )
}

/** Creates the device, down and without addresses. */
export async function createDevice(
  name: string,
  openPort: OpenPort,
  changes: Changes,
): Promise<Device> {
  checkDeviceName(name)
  await removeDeadPair(name)
  try {
    const port = openPort({ kind: 'tun', name })
    return { kind: 'tun', name, port }
  } catch (error) {
    const code = errnoCode(error)
    if (code === 'EBUSY') throw new HostError(inUse(name))
    if (!NO_TUN.has(code)) {
      throw new HostError(`cannot create the TUN device ${name}: ${(error as Error).message}`)
    }
    return await createPair(name, `/dev/net/tun: ${code}`, openPort, changes)
  }
}

async function createPair(
  name: string,
  reason: string,
  openPort: OpenPort,
  changes: Changes,
): Promise<Device> {
  const peer = `${name}${PEER_SUFFIX}`
  await ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer)
  changes.add(`veth pair ${name}`, async () => {
    await ip('link', 'del', name)
  })
  // Without ARP every frame is addressed to its own sender, so that the other end's stack leaves it to the socket.
  const quiet = ['arp', 'off', 'multicast', 'off', 'mtu', String(DEVICE_MTU)]
  writeSysctl(`net/ipv6/conf/${peer}/disable_ipv6`, '1')
  await ip('link', 'set', peer, ...quiet, 'up')
  await ip('link', 'set', name, ...quiet)
  try {
    const port = openPort({ kind: 'packet', name: peer, peer: name })
    return { kind: 'packet', name, port, reason }
  } catch (error) {
    throw new HostError(`cannot open a packet socket on ${peer}: ${(error as Error).message}`)
  }
}

async function removeDeadPair(name: string): Promise<void> {
  const links = await ipJson<LinkRow>('-details', 'link', 'show')
  const link = links.find(({ ifname }) => ifname === name)
  if (link === undefined) return
  const peer = links.find(({ ifname }) => ifname === `${name}${PEER_SUFFIX}`)
  if (link.linkinfo?.info_kind !== 'veth' || peer === undefined) throw new HostError(inUse(name))
  const sockets = readFileSync('/proc/net/packet', 'utf8')
  if (boundDevices(sockets).includes(peer.ifindex)) throw new HostError(inUse(name))
  await ip('link', 'del', name)
}

/** The devices that packet sockets are bound to, by index: the column "Iface" of /proc/net/packet. */
export function boundDevices(procNetPacket: string): readonly number[] {
  return procNetPacket
    .split('\n')
    .slice(1)
    .map((line) => Number(line.trim().split(/\s+/)[4]))
    .filter((index) => index > 0)
}

function inUse(name: string): string {
  return `the device ${name} is there already: another program has made it; remove it ("ip link del ${name}"), or choose another with --device`
}

export interface DeviceNeeds {
  readonly ipv6: boolean
  /** Packets of this machine's own clients come out of the device with a local source address. */
  readonly acceptLocal: boolean
}

/** Settings that must hold before the device is up. */
export async function quietDevice(device: Device, needs: DeviceNeeds): Promise<void> {
  const { name } = device
  const ipv4 = `net/ipv4/conf/${name}`
  const ipv6 = `net/ipv6/conf/${name}`
  // What comes out of the device is for this machine: anything else would only go in circles.
  requireDeviceSysctl(
    `${ipv4}/forwarding`,
    '0',
    `packets could leave ${name} for other machines`,
    'net.ipv4.conf.default.forwarding=0',
  )
  // The kernel takes either this or the value of "all".
  if (needs.acceptLocal && readSysctl('net/ipv4/conf/all/accept_local') !== '1') {
    requireDeviceSysctl(
      `${ipv4}/accept_local`,
      '1',
      `this machine could not reach its own VIPs`,
      'net.ipv4.conf.all.accept_local=1',
    )
  }
  if (needs.ipv6) {
    requireDeviceSysctl(
      `${ipv6}/disable_ipv6`,
      '0',
      `${name} could not carry IPv6 VIPs`,
      'net.ipv6.conf.default.disable_ipv6=0',
    )
  } else {
    writeSysctl(`${ipv6}/disable_ipv6`, '1')
  }
  for (const setting of ['accept_ra', 'autoconf', 'router_solicitations', 'dad_transmits']) {
    writeSysctl(`${ipv6}/${setting}`, '0')
  }
  // 1: no link-local address.
  writeSysctl(`${ipv6}/addr_gen_mode`, '1')
  await ip('link', 'set', name, 'mtu', String(DEVICE_MTU), 'multicast', 'off')
}

export async function bringUp(device: Device): Promise<void> {
  await ip('link', 'set', device.name, 'up')
}
