// What clients do in these tests, and what must have come of it: downloads and uploads that last through switches, short
// requests beside them. Called by the test files.

import { mkdirSync } from 'node:fs'
import type { Test } from 'tap'
import { until } from '../net.js'
import { type Content, makeContent, sumOf } from './content.js'
import { FAMILIES, type Family, type Origin, type Outcome, Transfer } from './curl.js'
import type { Internet } from './internet.js'
import type { Machine } from './machine.js'
import type { Metrics } from './metrics.js'
import type { Nginx } from './nginx.js'
import type { Steadycast } from './steadycast.js'

export const WWW = '/run/www'
const SMALL_BYTES = 4_000

export interface Pop {
  readonly name: string
  readonly node: Machine
  readonly nginx: Nginx
  readonly steadycast: Steadycast
}

/** A rate of curl's for each. */
export interface Rates {
  readonly download: string
  readonly upload: string
}

export interface Contents {
  readonly large: Content
  /** For uploads. */
  readonly outgoing: Content
}

export async function makeContents(largeBytes: number, outgoingBytes: number): Promise<Contents> {
  mkdirSync(WWW)
  await makeContent(`${WWW}/small`, SMALL_BYTES)
  return {
    large: await makeContent(`${WWW}/large`, largeBytes),
    outgoing: await makeContent('/run/outgoing', outgoingBytes),
  }
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

export const newFlows = (node: Metrics): number => node.sum('service_new_flows_total', 'service')
export const forwarded = (node: Metrics): number =>
  node.value('packets_total', { exit: 'forwarded' })

/** Waits for that many connections to have begun at the PoP. */
export async function begun(pop: Pop, before: Metrics, count: number): Promise<void> {
  await until(`${count} connections begun at ${pop.name}`, async () => {
    return newFlows((await pop.steadycast.metrics()).since(before)) >= count
  })
}

export interface Started {
  readonly pop: Pop
  readonly what: 'download' | 'upload'
  /** Of the upload. */
  readonly name: string
  readonly transfer: Transfer
}

let uploads = 0

/** A download and an upload for each of these families. */
export function startTransfers(
  internet: Internet,
  pop: Pop,
  rates: Rates,
  { outgoing }: Contents,
  families: { readonly download: readonly Family[]; readonly upload: readonly Family[] },
): readonly Started[] {
  return [
    ...families.download.map((family): Started => {
      const rate = ['--limit-rate', rates.download]
      const transfer = new Transfer(internet, family, 'large', rate)
      return { pop, what: 'download', name: '', transfer }
    }),
    ...families.upload.map((family): Started => {
      const name = `upload-${uploads++}`
      const options = ['--limit-rate', rates.upload, '--upload-file', outgoing.path]
      const transfer = new Transfer(internet, family, `uploads/${name}`, options)
      return { pop, what: 'upload', name, transfer }
    }),
  ]
}

/** Each with a connection of its own, one after the other. */
export function requests(origin: Origin, family: Family, count: number): Transfer {
  return new Transfer(origin, family, `small?[1-${count}]`, ['--header', 'Connection: close'])
}

/** Until it is over: the routes move, and short requests go to where they lead. */
export async function switchAndAsk(
  internet: Internet,
  machines: readonly Machine[],
  over: () => boolean,
  {
    everyMs,
    requestsEach,
    families = FAMILIES,
  }: {
    readonly everyMs: number
    readonly requestsEach: number
    readonly families?: readonly Family[]
  },
): Promise<readonly Outcome[]> {
  const asked: Transfer[] = []
  for (let turn = 0; !over(); turn++) {
    const to = machines[turn % machines.length]
    if (to !== undefined) await internet.routeVips(to)
    for (const family of families) asked.push(requests(internet, family, requestsEach))
    await sleep(everyMs)
  }
  return await Promise.all(asked.map(({ outcome }) => outcome))
}

/** It ended well, at the PoP where it began, and brought what it should. */
export async function checkTransfer(
  t: Test,
  { pop, what, name, transfer }: Started,
  { large, outgoing }: Contents,
  minSwitches: number,
): Promise<void> {
  const outcome = await transfer.outcome
  const who = `${what} over IPv${transfer.family} that began at ${pop.name}`
  t.equal(outcome.code, 0, `${who}: exit code of curl (${outcome.stderr.trim()})`)
  t.ok(outcome.switches >= minSwitches, `${who}: ${outcome.switches} switches`)
  const status = what === 'download' ? '200' : '201'
  t.same(outcome.answers, [{ status, connects: 1, servedBy: pop.name }], `${who}: one answer`)
  const sum = what === 'download' ? outcome.sha256 : await sumOf(pop.nginx.upload(name))
  t.equal(sum, (what === 'download' ? large : outgoing).sha256, `${who}: sum`)
}

/** Every request was answered in full, and over a connection of its own. */
export function checkRequests(t: Test, outcomes: readonly Outcome[], each: number): void {
  const failed = outcomes.filter(
    ({ code, bytes, answers }) =>
      code !== 0 ||
      bytes !== each * SMALL_BYTES ||
      answers.length !== each ||
      answers.some(({ connects }) => connects !== 1),
  )
  t.same(failed, [], `${outcomes.length * each} short requests were answered`)
}

/** The PoPs that answered, in the order of their names. */
export function serversOf(outcomes: readonly Outcome[]): readonly string[] {
  const names = outcomes.flatMap(({ answers }) => answers.map(({ servedBy }) => servedBy))
  return [...new Set(names)].sort()
}
