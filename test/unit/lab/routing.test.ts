// Moves of clients and catchments, replayed on a model of the kernel's rules: the lines themselves are what is judged.

import t from 'tap'
import { seeded } from '../../../src/lab/random.js'
import {
  initialRouting,
  initialRules,
  leavePop,
  moveCatchment,
  moveClient,
  popOfClient,
  type RouteChange,
  resetRouting,
} from '../../../src/lab/routing.js'
import {
  type Client,
  catchmentPrefix,
  type Family,
  type IpLine,
  tableOf,
  topologyOf,
} from '../../../src/lab/topology.js'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))
const RULE = /^rule (add|del) pref (\d+) from (\S+) to (\S+) lookup (\d+)$/

interface Rule {
  readonly pref: number
  readonly from: string
  readonly to: string
  readonly table: number
}

/** As the kernel keeps them: by preference, and among equals the older first. */
class Rules {
  #rules: Rule[] = []

  apply(line: string): void {
    const [, action, pref, from = '', to = '', table] = RULE.exec(line) ?? []
    const rule: Rule = { pref: Number(pref), from, to, table: Number(table) }
    const same = (other: Rule): boolean => JSON.stringify(other) === JSON.stringify(rule)
    const known = this.#rules.some(same)
    if (action === 'add' && known) throw new Error(`exists: ${line}`)
    if (action === 'del' && !known) throw new Error(`no such rule: ${line}`)
    if (action === 'add') this.#rules = [...this.#rules, rule].sort((a, b) => a.pref - b.pref)
    else if (action === 'del') this.#rules = this.#rules.filter((other) => !same(other))
    else throw new Error(`no rule: ${line}`)
  }

  tableFor(client: Client, family: Family): number | undefined {
    const address = family === 4 ? client.address4 : client.address6
    const prefix = catchmentPrefix(client.catchment, family)
    return this.#rules.find(({ from }) => from === address || from === prefix)?.table
  }
}

t.test(
  `every packet of every client finds its PoP between any two lines (SEED=${SEED})`,
  async (t) => {
    const random = seeded(SEED)
    const topology = topologyOf(4, 17)
    const rules = { 4: new Rules(), 6: new Rules() }
    const apply = (
      lines: readonly IpLine[],
      allowed: (client: Client) => readonly number[],
    ): void => {
      for (const { family, line } of lines) {
        rules[family].apply(line)
        for (const client of topology.clients) {
          const table = rules[family].tableFor(client, family)
          if (table !== undefined && allowed(client).includes(table)) continue
          t.fail(`after "${line}" client ${client.id} is routed by table ${table}`)
        }
      }
    }
    for (const { family, line } of initialRules(topology)) rules[family].apply(line)
    let routing = initialRouting(topology)
    for (let i = 0; i < 500; i++) {
      const pop = random.pick(topology.pops).number
      const change: RouteChange =
        random.next() < 0.2
          ? moveCatchment(topology, routing, random.pick(topology.pops).number, pop)
          : moveClient(routing, random.pick(topology.clients), pop)
      const before = routing
      apply(change.lines, (client) =>
        // A client that was moved alone may pass through its catchment's PoP, old or new.
        [before, change.routing].flatMap((now) => [
          tableOf(popOfClient(now, client)),
          tableOf(now.catchments.get(client.catchment) ?? 0),
        ]),
      )
      routing = change.routing
      for (const client of topology.clients) {
        if (client.id === topology.alternating) continue
        const found = [rules[4].tableFor(client, 4), rules[6].tableFor(client, 6)]
        const expected = tableOf(popOfClient(routing, client))
        if (found.every((table) => table === expected)) continue
        t.same(found, [expected, expected], `client ${client.id} after ${i} changes`)
      }
    }
    for (const { family, line } of resetRouting(topology, routing)) rules[family].apply(line)
    for (const client of topology.clients) {
      if (client.id === topology.alternating) continue
      t.equal(rules[4].tableFor(client, 4), tableOf(client.catchment), 'reset')
      t.equal(rules[6].tableFor(client, 6), tableOf(client.catchment), 'reset')
    }
  },
)

t.test('a move tells which clients change their PoP, and only those', async (t) => {
  const topology = topologyOf(3, 13)
  const [first, second] = topology.clients
  if (first === undefined || second === undefined) throw new Error('no clients')
  const start = initialRouting(topology)
  t.same(moveClient(start, first, 1), { routing: start, lines: [], moved: [] })
  const alone = moveClient(start, first, 2)
  t.same(alone.moved, [first.id])
  const all = moveCatchment(topology, alone.routing, 1, 2)
  const members = topology.clients.filter(({ catchment }) => catchment === 1)
  t.same(
    all.moved,
    members.map(({ id }) => id).filter((id) => id !== first.id),
  )
  t.same([...all.routing.alone], [])
})

t.test(
  `a PoP that withdraws keeps no client, and the others keep theirs (SEED=${SEED})`,
  async (t) => {
    const random = seeded(SEED)
    const topology = topologyOf(3, 24)
    const rules = { 4: new Rules(), 6: new Rules() }
    const apply = (lines: readonly IpLine[]): void => {
      for (const { family, line } of lines) rules[family].apply(line)
    }
    apply(initialRules(topology))
    let routing = initialRouting(topology)
    for (let i = 0; i < 20; i++) {
      const change = moveClient(
        routing,
        random.pick(topology.clients),
        random.pick(topology.pops).number,
      )
      apply(change.lines)
      routing = change.routing
    }
    const leaving = random.pick(topology.pops).number
    const others = topology.pops.map(({ number }) => number).filter((n) => n !== leaving)
    const { routing: after, lines, moved } = leavePop(topology, routing, leaving, others)
    apply(lines)
    for (const client of topology.clients) {
      const [was, is] = [popOfClient(routing, client), popOfClient(after, client)]
      t.equal(rules[4].tableFor(client, 4), tableOf(is))
      t.equal(rules[6].tableFor(client, 6), tableOf(is))
      t.not(is, leaving)
      if (was !== leaving) t.equal(is, was, `client ${client.id} stays`)
      if (client.id === topology.alternating) continue
      t.equal(moved.includes(client.id), was === leaving, `client ${client.id} is told`)
    }
    t.throws(() => leavePop(topology, after, others[0] ?? 0, []), /last PoP/)
  },
)
