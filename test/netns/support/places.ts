// The machines of docs/quickstart.md, and whoever follows it on them. Called by quickstart.test.ts. Guarantees: what is
// typed is the guide's own text.

import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { type Running, until } from '../net.js'
import { BootedMachine, makeSite } from './booted.js'
import { blocksOf, debian, readGuide } from './debian.js'
import { sleep } from './traffic.js'

const BLOCKS = blocksOf(readGuide())
export const NAMES = ['ams-1', 'nyc-1', 'sin-1'] as const
/** Between chunks of some ten thousand bytes. */
const SLOW_MS = 100
const ROUTER = '192.0.2.1'

/** The guide's shell commands that do this, in its order. */
export function blocks(doing: string, count: number): readonly string[] {
  const found = BLOCKS.filter((text) => text.includes(doing))
  if (found.length !== count) throw new Error(`expected ${count} blocks with ${doing} in the guide`)
  return found
}

export const only = (doing: string): string => blocks(doing, 1).join('')

/** The text with a part exchanged that must be there. */
export function changed(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`expected ${from} in the guide's ${text}`)
  return text.replaceAll(from, to)
}

const VARIABLES = blocks('AMS=', 2)[0] ?? ''
const variable = (name: string): string =>
  new RegExp(`\\b${name}=(\\S+)`).exec(VARIABLES)?.[1] ?? ''

export class Places {
  private constructor(
    readonly nodes: readonly BootedMachine[],
    readonly client: BootedMachine,
  ) {}

  /** Booted, with the package of step 1. */
  static async make(): Promise<Places> {
    // npm ci and npm pack have been run.
    const commands = changed(only('npm ci'), 'npm ci\nnpm pack\n', '')
    const site = await makeSite(debian(), commands, ROUTER)
    const nodes = await Promise.all(
      NAMES.map((name) => {
        const address = variable(name.slice(0, 3).toUpperCase())
        return BootedMachine.make(site, name, address, ['prometheus'])
      }),
    )
    const client = await BootedMachine.make(site, 'client', variable('CLIENT'), ['nginx'])
    const places = new Places(nodes, client)
    await Promise.all(places.all.map((machine) => machine.boot()))
    return places
  }

  get all(): readonly BootedMachine[] {
    return [...this.nodes, this.client]
  }

  node(name: string): BootedMachine {
    const found = this.nodes.find((node) => node.name === name)
    if (found === undefined) throw new Error(`there is no node ${name}`)
    return found
  }

  /** In a session that began as the guide says. */
  async follow(machine: BootedMachine, block: string): Promise<string> {
    return await machine.type(this.session(machine, block))
  }

  start(machine: BootedMachine, block: string): Running {
    return machine.start(this.session(machine, block))
  }

  async onNodes(block: string): Promise<readonly string[]> {
    return await Promise.all(this.nodes.map((node) => this.follow(node, block)))
  }

  session(machine: BootedMachine, block: string): string {
    const own = machine === this.client ? '' : `ME=$${machine.name.slice(0, 3).toUpperCase()}\n`
    return `${VARIABLES}${own}${block}`
  }

  async where(): Promise<string> {
    const ask = 'curl --silent --max-time 5 http://$VIP/where'
    return (await this.follow(this.client, ask).catch(() => '')).trim()
  }

  /** Waits for new connections to go to any of these. */
  async untilAt(machines: readonly BootedMachine[]): Promise<void> {
    const names = machines.map(({ name }) => name)
    await until(`an answer of ${names.join(' or ')}`, async () =>
      names.includes(await this.where()),
    )
  }

  async route(): Promise<string> {
    return await this.follow(this.client, 'ip route show $PREFIX')
  }

  /** Step 8's: asks who answers, and begins. */
  async download(): Promise<Download> {
    await this.client.type('rm -f /tmp/large')
    const running = this.start(this.client, only('curl --limit-rate'))
    const come = 'test -s /tmp/large && echo come || true'
    await until(
      'a download in its midst',
      async () => (await this.client.type(come)) !== '',
      running.ended,
    )
    return new Download(this, running, this.node(running.stdout.trim()))
  }

  /** Runs a step, and throws when it fails: no other makes sense then. What the machines have in their journals is shown. */
  async step<T>(t: Test, title: string, run: (t: Test) => Promise<T>): Promise<T> {
    let result: { readonly value: T } | undefined
    await t.test(title, async (t) => {
      try {
        result = { value: await run(t) }
      } finally {
        if (result === undefined || !t.passing()) {
          for (const { name, journal } of await this.#journals()) {
            t.comment(`journal of ${name}:\n${journal}`)
          }
        }
      }
    })
    if (result === undefined || !t.passing()) throw new Error(`${title}: it did not`)
    return result.value
  }

  async #journals(): Promise<readonly { readonly name: string; readonly journal: string }[]> {
    return await Promise.all(
      this.all.map(async (machine) => ({ name: machine.name, journal: await machine.journal() })),
    )
  }
}

/** Of the large file, in the client's /tmp. */
export class Download {
  constructor(
    private readonly places: Places,
    private readonly running: Running,
    readonly from: BootedMachine,
  ) {}

  /** It ends well, and has brought what is on the machine where it began. */
  async whole(t: Test, what: string): Promise<void> {
    const { code, stderr } = await this.running.ended
    t.equal(code, 0, `${what}: ${stderr.slice(-400)}`)
    const [came = '', sent = ''] = await Promise.all([
      this.places.client.type('sha256sum /tmp/large'),
      this.from.type('sha256sum /var/www/html/large'),
    ])
    t.equal(came.split(' ')[0], sent.split(' ')[0], `${what}: the sum`)
  }
}

/** A download that is read slowly until it may end, on one connection with the question who answers. */
export class SlowDownload {
  #may = false
  #began = ''
  readonly #hash = createHash('sha256')
  readonly #ended: Promise<void>

  constructor(private readonly places: Places) {
    const script = 'curl --silent --show-error http://$VIP/where http://$VIP/large'
    const child = places.client.spawn(places.session(places.client, script))
    this.#ended = this.#read(child)
  }

  async #read({ stdout }: ChildProcess): Promise<void> {
    if (stdout === null) throw new Error('a download without an output')
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      const name = this.#began === '' ? chunk.subarray(0, chunk.indexOf('\n') + 1) : Buffer.of()
      this.#began += name.toString()
      this.#hash.update(chunk.subarray(name.length))
      if (!this.#may) await sleep(SLOW_MS)
    }
  }

  async from(): Promise<BootedMachine> {
    await until('a download to begin', () => this.#began !== '')
    return this.places.node(this.#began.trim())
  }

  async whole(t: Test, what: string): Promise<void> {
    this.#may = true
    await this.#ended
    const sent = await (await this.from()).type('sha256sum /var/www/html/large')
    t.equal(this.#hash.digest('hex'), sent.split(' ')[0], what)
  }
}
