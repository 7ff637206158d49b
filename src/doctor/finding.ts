// What the files of checks share: making findings, and two questions about a machine. Pure.

import { addressBytes } from '../fleet/address.js'
import { PEER_SUFFIX } from '../host/numbers.js'
import type { AddressFact, Facts, Finding, Status } from './facts.js'

export type Check = (facts: Facts) => readonly Finding[]

export const ok = (check: string, found: string): readonly Finding[] => [
  { check, status: 'ok', found, todo: '' },
]

export const bad = (
  check: string,
  status: Exclude<Status, 'ok'>,
  found: string,
  todo: string,
): Finding => ({ check, status, found, todo })

/** Devices that clients' packets may come in by. */
export function outerDevices({ links, device }: Facts): readonly string[] {
  return links
    .map((link) => link.device)
    .filter((name) => name !== 'lo' && name !== device && name !== `${device}${PEER_SUFFIX}`)
}

/** Whether the address is in the prefix that its device's address has. */
export function isOnLink(
  vip: string,
  { address: own, prefixLength, family }: AddressFact,
): boolean {
  const width = family === 4 ? 32 : 128
  if (prefixLength >= width - 1) return false
  const [a, b] = [addressBytes(vip), addressBytes(own)]
  const bits = prefixLength + 128 - width
  return a.every((byte, i) => {
    const mask = 0xff & (0xff << Math.max(0, Math.min(8, 8 * (i + 1) - bits)))
    return (byte & mask) === ((b[i] ?? 0) & mask)
  })
}
