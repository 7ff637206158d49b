// The announcer on a machine of a test, with inputs that the test says, in place of a data path. Called by the tests of
// announcements.

import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { AnnouncementState, AnnounceReport } from '../../../src/announce/report.js'
import { type Running, until } from '../net.js'
import { PREFIX4, PREFIX6, VIP4, VIP6 } from './bird.js'
import type { Machine } from './machine.js'

const DRIVER = fileURLToPath(new URL('../announcer.mjs', import.meta.url))

export interface Inputs {
  readonly node: 'ready' | 'draining' | 'maintenance'
  readonly able: { readonly ok: true } | { readonly ok: false; readonly why: string }
  readonly served: readonly (readonly [string, boolean])[]
  readonly elsewhere: readonly (readonly [string, readonly string[]])[]
  readonly alone?: boolean
}

export const WELL: Inputs = {
  node: 'ready',
  able: { ok: true },
  served: [
    ['web', true],
    ['web-v6', true],
  ],
  elsewhere: [
    ['web', ['other']],
    ['web-v6', ['other']],
  ],
}

/** Nothing is served from here; another PoP serves it. */
export const DEAD: Inputs = {
  ...WELL,
  served: [
    ['web', false],
    ['web-v6', false],
  ],
}

/** A fleet of two PoPs whose `announce` has these lines besides its prefixes. */
export function fleetText(lines: string, scope = ''): string {
  return `fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams${scope}
      nodes: [{ name: ams-1, address: 10.1.0.11 }]
      backends: [{ name: ams-web-1, deliver: local, node: ams-1 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 10.2.0.11 }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }]
services:
  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [80], protocol: tcp }
announce:
  prefixes:
    - { prefix: ${PREFIX4}, up_when: any }
    - { prefix: "${PREFIX6}", up_when: any }
${lines}
`
}

export interface Said {
  readonly ms: number
  readonly kind: string
  readonly message: string
}

export class TestAnnouncer {
  private constructor(readonly running: Running) {}

  static async start(machine: Machine, text: string): Promise<TestAnnouncer> {
    const folder = `/run/steadycast-${machine.name}`
    mkdirSync(folder, { recursive: true })
    const config = {
      text,
      node: `${machine.name}-1`,
      pop: machine.name,
      device: 'steady0',
      include: `${folder}/${machine.name}-1.bird.conf`,
      memory: `${folder}/${machine.name}-1.announced.json`,
    }
    const running = machine.start(process.execPath, DRIVER, JSON.stringify(config))
    const started = new TestAnnouncer(running)
    await until(
      'an announcer',
      () => started.said.some(({ kind }) => kind === 'started'),
      running.ended,
    )
    return started
  }

  get said(): readonly Said[] {
    const lines = this.running.stdout.split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line) as Said)
  }

  tell(message: Inputs | { readonly stop: true } | { readonly fleet: string }): void {
    this.running.child.stdin?.write(`${JSON.stringify(message)}\n`)
  }

  async report(): Promise<AnnounceReport> {
    const reports = () => this.said.filter(({ kind }) => kind === 'report')
    const before = reports().length
    this.running.child.stdin?.write('{"report":true}\n')
    await until('a report', () => reports().length > before, this.running.ended)
    return JSON.parse(reports().at(-1)?.message ?? '') as AnnounceReport
  }

  async reaches(state: AnnouncementState): Promise<void> {
    await until(`${state}: ${this.running.stdout.slice(-500)}`, async () => {
      const { prefixes, trouble } = await this.report()
      return trouble === undefined && prefixes.every((one) => one.state === state)
    })
  }

  /** Waits for the daemon's trouble to match, or to be over. */
  async troubled(pattern: RegExp | undefined): Promise<void> {
    await until(`trouble ${pattern}`, async () => {
      const { trouble } = await this.report()
      return pattern === undefined ? trouble === undefined : pattern.test(trouble ?? '')
    })
  }
}
