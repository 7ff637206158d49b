// Reads and writes kernel settings under /proc/sys. Called by src/host only. Guarantees: settings of the whole machine
// are read, never written; only those of our own device are written.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { errnoCode, HostError } from './host-error.js'
import type { Family } from './ip.js'

const ROOT = '/proc/sys'

/** Path below /proc/sys, `net/ipv4/conf/all/rp_filter`; a device's name may hold dots. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`${ROOT}/${path}`, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Says whether the kernel took it. A setting that this kernel does not have counts as taken. */
export function writeSysctl(path: string, value: string): boolean {
  if (readSysctl(path) === value) return true
  try {
    writeFileSync(`${ROOT}/${path}`, value)
    return true
  } catch (error) {
    return errnoCode(error) === 'ENOENT'
  }
}

/** IPv4, and IPv6 unless this kernel has it switched off. */
export function familiesOfKernel(): readonly Family[] {
  return readSysctl('net/ipv6/conf/all/forwarding') === undefined ? [4] : [4, 6]
}

/** Devices that have settings of their own, without "all" and "default". */
export function devicesWithSysctls(family: 'ipv4' | 'ipv6'): readonly string[] {
  try {
    return readdirSync(`${ROOT}/net/${family}/conf`).filter(
      (name) => name !== 'all' && name !== 'default',
    )
  } catch {
    return []
  }
}

/** As an operator writes it; a device's name with a dot needs the slashes. */
function shown(path: string): string {
  return path.includes('.') ? path : path.replaceAll('/', '.')
}

/** `why`: what would go wrong; `remedy`: a setting with which a device is born right, as for `sysctl -w`. */
export function requireDeviceSysctl(
  path: string,
  value: string,
  why: string,
  remedy: string,
): void {
  if (writeSysctl(path, value)) return
  throw new HostError(
    `${shown(path)} is ${readSysctl(path)} and cannot be written, expected ${value}: ${why}; make /proc/sys writable for this process, or run "sysctl -w ${remedy}" where it is`,
  )
}

/** What the kernel applies to a device is the larger of the two values: 0 off, 1 strict, 2 loose. */
export function allowAsymmetricReplies(device: string): void {
  const own = `net/ipv4/conf/${device}/rp_filter`
  if (writeSysctl(own, '2')) return
  const all = readSysctl('net/ipv4/conf/all/rp_filter')
  if (Math.max(Number(all), Number(readSysctl(own))) !== 1) return
  throw new HostError(
    `${shown(own)} is ${readSysctl(own)} and cannot be written, net.ipv4.conf.all.rp_filter is ${all}: the larger of the two is 1 (strict), so clients' packets would be dropped on ${device}, expected 0 or 2; make /proc/sys writable for this process, or run "sysctl -w net.ipv4.conf.all.rp_filter=2" where it is`,
  )
}
