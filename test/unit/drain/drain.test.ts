// Drains in virtual time: who is told what, what is left, when it is over and when it must not be. Nodes answer with
// statuses made as `run` makes them; nothing waits for a real clock.

import t from 'tap'
import type { Ask, Door } from '../../../src/admin/client.js'
import { findTarget, leftUnserved, ordersFor } from '../../../src/drain/targets.js'
import { askStatuses, misfits, tell } from '../../../src/drain/tell.js'
import { progressLine } from '../../../src/drain/text.js'
import { type Outcome, type Progress, waitUntilNothingIsLeft } from '../../../src/drain/wait.js'
import type { Fleet } from '../../../src/fleet/model.js'
import type { StatusDocument } from '../../../src/status/model.js'
import { FLEET_TEXT, fleetOf, type Made, makeStatus } from '../status/fixture.js'

const fleet = fleetOf()
const LOCAL_TEXT = FLEET_TEXT.replace(
  ', { name: ams-2, address: 10.0.0.2, admin: "10.9.0.2:6081" }',
  '',
)
/** PoP ams has one node. */
const single = fleetOf(LOCAL_TEXT)

/** What a node says at a time; undefined: it does not answer. */
type Life = (ms: number) => Made | undefined

interface World {
  readonly outcome: Outcome
  readonly shown: readonly Progress[]
  readonly endedMs: number
}

interface Plan {
  readonly fleet?: Fleet
  readonly timeoutMs?: number
  readonly interruptMs?: number
  /** How old every count is. */
  readonly countedMs?: (ms: number) => number
}

const doorOf = ({ name }: { readonly name: string }): Door => ({ kind: 'unix', path: name })

async function wait(
  name: string,
  lives: Readonly<Record<string, Life>>,
  plan: Plan = {},
): Promise<World> {
  const of = plan.fleet ?? fleet
  const target = findTarget(of, name)
  const orders = ordersFor(target, 'draining')
  let now = 0
  const shown: Progress[] = []
  const ask: Ask = async (door) => {
    const node = door.kind === 'unix' ? door.path : ''
    const made = lives[node]?.(now)
    if (made === undefined) return { ok: false, why: 'no answer', refused: false }
    const countedMs = plan.countedMs?.(now) ?? 400
    const status = makeStatus({
      fleet: of,
      node,
      words: orders.find((order) => order.node.name === node)?.words ?? {},
      ...made,
      view: { countedMs, ...made.view },
    })
    return { ok: true, value: JSON.stringify(status) }
  }
  const outcome = await waitUntilNothingIsLeft({
    target,
    orders,
    ask,
    doorOf,
    clock: {
      nowMs: () => now,
      sleep: async (ms) => {
        now += ms
        if (now > 10_000_000) throw new Error('it waits for ever')
      },
    },
    timeoutMs: plan.timeoutMs,
    interrupted: () => plan.interruptMs !== undefined && now >= plan.interruptMs,
    show: (progress) => shown.push(progress),
  })
  return { outcome, shown, endedMs: now }
}

/** Owned flows of a backend that end one after the other until a time. */
const flowsUntil =
  (backend: string, endMs: number, more: Made = {}): Life =>
  (ms) => {
    const owned = Math.max(0, Math.ceil((endMs - ms) / 1000))
    return { ...more, backends: { [backend]: { owned, active: owned, oldestS: 60, packets: ms } } }
  }

t.test('a name is a node, a backend or a PoP, and what is unclear is asked back', async (t) => {
  t.match(findTarget(fleet, 'ams'), { kind: 'pop' })
  t.match(findTarget(fleet, 'ams-2'), { kind: 'node', node: { name: 'ams-2' } })
  t.match(findTarget(fleet, 'backend:ams-dns'), { kind: 'backend' })
  t.throws(() => findTarget(fleet, 'ams-web-3'), {
    message:
      /^no node, backend or PoP "ams-web-3" in the fleet file, .*did you mean "ams-web-1"\?$/,
  })
  t.throws(() => findTarget(fleet, 'pop:ams-1'), {
    message: /^no pop "ams-1" in the fleet file, expected one of ams and nyc/,
  })
  const twins = fleetOf(FLEET_TEXT.replaceAll('nyc-web-1', 'nyc-1'))
  t.throws(() => findTarget(twins, 'nyc-1'), {
    message: 'nyc-1 names 2 things, expected one: say node:nyc-1 and backend:nyc-1',
  })
  t.match(findTarget(twins, 'node:nyc-1'), { kind: 'node' })
})

t.test(
  'a word about a backend is told to every node of its PoP; a node takes its own stack along',
  async (t) => {
    const told = (name: string) =>
      ordersFor(findTarget(fleet, name), 'draining').map(({ node, words }) => ({
        [node.name]: words,
      }))
    t.same(told('ams-web-1'), [
      { 'ams-1': { backends: { 'ams-web-1': 'draining' } } },
      { 'ams-2': { backends: { 'ams-web-1': 'draining' } } },
    ])
    t.same(
      told('ams-2'),
      [{ 'ams-2': { node: 'draining' } }],
      'gue backends stay: its sibling serves them',
    )
    t.same(told('ams-1'), [
      { 'ams-1': { node: 'draining', backends: { 'ams-dns': 'draining' } } },
      { 'ams-2': { backends: { 'ams-dns': 'draining' } } },
    ])
    const all = { 'ams-web-1': 'draining', 'ams-web-2': 'draining', 'ams-dns': 'draining' }
    t.same(told('ams'), [
      { 'ams-1': { node: 'draining', backends: all } },
      { 'ams-2': { node: 'draining', backends: all } },
    ])
  },
)

const unservedOf = (name: string, statuses: readonly StatusDocument[], of = fleet) =>
  leftUnserved(of, findTarget(of, name), new Map(statuses.map((one) => [one.node, one])))

t.test(
  'what would leave a service with nothing anywhere is known, also by what other nodes say',
  async (t) => {
    const unserved = (name: string, ...statuses: readonly StatusDocument[]) =>
      unservedOf(name, statuses).services
    t.same(unserved('ams-web-1'), [])
    t.same(unserved('ams-dns'), ['dns'], 'nobody else has it')
    t.same(unserved('ams-1'), ['dns'], 'its own stack is the only one')
    t.same(unserved('ams-2'), [])
    t.same(unserved('ams'), ['dns'])
    t.same(unserved('nyc'), [])
    t.same(unserved('ams', makeStatus({ node: 'nyc-1', words: { node: 'draining' } })), [
      'web',
      'dns',
    ])
    const out = { backends: { 'nyc-web-1': 'maintenance' } } as const
    t.same(unserved('ams', makeStatus({ node: 'nyc-1', words: out })), ['web', 'dns'])
    const deaf = ['ams-1', 'ams-2'].map((node) => makeStatus({ node, down: ['nyc-1'] }))
    t.same(unserved('ams', ...deaf), ['web', 'dns'], 'nobody hears nyc')
    t.same(unserved('backend:ams-web-1', ...deaf), [], 'its PoP has another')
    const both = { backends: { 'ams-web-1': 'draining', 'ams-web-2': 'draining' } } as const
    t.same(unserved('nyc', makeStatus({ words: both })), ['web'])
  },
)

t.test('who is left must be able to serve, and the refusal says who is not, and why', async (t) => {
  const announcing = fleetOf(
    `${FLEET_TEXT}announce: { bird: /run/bird.ctl, prefixes: [{ prefix: 198.51.100.0/24, up_when: any }] }\n`,
  )
  const prefix = (state: 'announced' | 'withdrawn') => ({
    prefix: '198.51.100.0/24',
    state,
    wanted: 'announced' as const,
    why: 'held down for 8 s more',
    sinceMs: 0,
    lastAnnouncer: false,
  })
  const probe = (service: string, ok: boolean) => ({ service, ok, why: undefined, sinceMs: 0 })
  const probes = (...oks: readonly boolean[]) => {
    return {
      health: {
        backends: [],
        services: [],
        unprobed: [],
        probes: oks.map((ok) => probe('web', ok)),
      },
    }
  }
  const able: readonly Made[] = [
    {},
    { more: probes(true, false) },
    { more: { announce: { prefixes: [prefix('announced')], trouble: undefined, done: true } } },
  ]
  const unable: readonly (readonly [Made, string])[] = [
    [{ view: { filled: false } }, 'nyc-1 has not filled'],
    [{ view: { recalling: true } }, 'nyc-1 still recalls its flows'],
    [{ more: probes(false, false) }, 'nyc-1 does not reach its own VIPs'],
    [
      {
        more: { announce: { prefixes: [prefix('announced')], trouble: 'no answer', done: false } },
      },
      'nyc-1 has trouble with its routing daemon (no answer)',
    ],
    [
      { more: { announce: { prefixes: [prefix('withdrawn')], trouble: undefined, done: true } } },
      'nyc-1 has withdrawn 198.51.100.0/24 (held down for 8 s more)',
    ],
  ]
  const ams = ['ams-1', 'ams-2'].map((node) => makeStatus({ fleet: announcing, node }))
  const left = (target: string, made: Made) => {
    const nyc = makeStatus({ ...made, fleet: announcing, node: 'nyc-1' })
    return unservedOf(target, [...ams, nyc], announcing)
  }
  for (const made of able) t.same(left('ams', made).services, ['dns'])
  for (const [made, because] of unable) {
    t.same(left('ams', made), { services: ['web', 'dns'], because: [because] })
    t.same(left('nyc', made), { services: [], because: [] }, 'ams is left, and able')
    t.same(left('ams-web-1', made).services, [], 'its node is as able without it')
  }
  const heard = [
    makeStatus({ view: { peers: [] } }),
    makeStatus({ node: 'ams-2', view: { filled: false } }),
  ].map((status) => ({
    ...status,
    peers: makeStatus({ node: status.node }).peers.map((peer) => ({
      ...peer,
      reports_filled: false,
    })),
  }))
  t.same(unservedOf('ams', heard).because, ['nyc-1 has not filled'], 'as its peers hear')
})

t.test('a PoP that is itself in trouble is not drained when nobody else is able', async (t) => {
  const statuses = ['ams-1', 'ams-2', 'nyc-1'].map((node) =>
    makeStatus({ node, view: { filled: false } }),
  )
  t.same(unservedOf('nyc', statuses), {
    services: ['web'],
    because: ['ams-1 has not filled', 'ams-2 has not filled'],
  })
})

t.test(
  'a backend is drained when no node of its PoP owns a flow of it, by counts that began afterwards',
  async (t) => {
    const { outcome, endedMs, shown } = await wait('ams-web-1', {
      'ams-1': flowsUntil('ams-web-1', 5000),
      'ams-2': flowsUntil('ams-web-1', 20_000),
    })
    t.equal(outcome.kind, 'done')
    t.equal(endedMs, 23_000, 'three seconds after the last')
    t.same(shown[1]?.left, {
      ...shown[1]?.left,
      flows: 23,
      active: 23,
      oldestS: 60,
      ingress: undefined,
      unknown: [],
    })
    t.equal(shown.at(-1)?.left.flows, 0)
    t.equal(
      progressLine(shown[4] as Progress),
      "17 flows left (17 active, the oldest 1 min), 2.0k packets/s to them, 0/s of other PoPs' packets",
    )
  },
)

t.test('flows of other backends, and copies, are nothing to wait for', async (t) => {
  const { outcome, endedMs } = await wait('ams-web-1', {
    'ams-1': () => ({
      backends: { 'ams-web-2': { owned: 9 }, 'ams-web-1': { flows: 5, owned: 0 } },
    }),
    'ams-2': () => ({}),
  })
  t.equal(outcome.kind, 'done')
  t.ok(endedMs < 6000)
})

t.test('an old count is not believed', async (t) => {
  const none = { 'ams-1': () => ({}), 'ams-2': () => ({}) }
  const old = await wait('ams-web-1', none, { countedMs: (ms) => (ms < 30_000 ? ms + 1 : 500) })
  t.equal(old.outcome.kind, 'done')
  t.ok(old.endedMs >= 33_000, `${old.endedMs}`)
  t.same(old.shown[0]?.waitsFor, ['a count of the flows'])
})

t.test(
  'a node that does not answer may own flows: never done, unless its siblings see it dead',
  async (t) => {
    const silent = await wait(
      'ams-web-1',
      { 'ams-1': () => ({}), 'ams-2': () => undefined },
      { timeoutMs: 60_000 },
    )
    t.equal(silent.outcome.kind, 'timeout')
    t.same(silent.outcome.last.left.unknown, ['ams-2: no answer'])
    const dead = await wait('ams-web-1', {
      'ams-1': () => ({ down: ['ams-2'] }),
      'ams-2': () => undefined,
    })
    t.equal(dead.outcome.kind, 'done')
    const allGone = await wait('ams-web-1', {}, { timeoutMs: 60_000 })
    t.equal(allGone.outcome.kind, 'timeout')
  },
)

t.test(
  'a node that has begun anew has yet to be told its flows, and zero is not believed',
  async (t) => {
    const { endedMs, shown } = await wait(
      'ams-web-1',
      {
        'ams-1': (ms) =>
          ms < 8000
            ? { view: { filled: false, recalling: true } }
            : { backends: { 'ams-web-1': { owned: ms < 40_000 ? 1 : 0 } } },
      },
      { fleet: single },
    )
    t.ok(endedMs >= 43_000, `${endedMs}`)
    t.match(shown[0]?.waitsFor[0], /^an answer \(ams-1: it has begun anew/)
  },
)

t.test('zero that comes after the count that saw it began is needed', async (t) => {
  // Counts take 5 s: what is seen at second 10 began at second 5.
  const { endedMs } = await wait(
    'ams-web-1',
    { 'ams-1': () => ({}) },
    {
      fleet: single,
      countedMs: (ms) => 5000 + (ms % 5000),
    },
  )
  t.ok(endedMs >= 10_000, `${endedMs}`)
})

t.test(
  'a node with a sibling is drained when routers and its own stack’s flows have left it',
  async (t) => {
    const ingress = (ms: number) => ({ ingress_packets: 1000 + Math.min(ms, 30_000) })
    const gue = await wait('ams-2', {
      'ams-2': (ms) => ({ counters: ingress(ms), backends: { 'ams-web-1': { owned: 50 } } }),
    })
    t.equal(gue.outcome.kind, 'done')
    t.ok(
      gue.endedMs >= 40_000 && gue.endedMs < 46_000,
      `10 s of silence, and settled: ${gue.endedMs}`,
    )
    t.match(gue.shown[5]?.waitsFor, ['routers to send nothing here: withdraw the prefixes'])
    t.equal(gue.outcome.last.left.flows, 0, 'its sibling takes those of gue backends over')

    const local = await wait('ams-1', {
      'ams-1': flowsUntil('ams-dns', 60_000),
      'ams-2': flowsUntil('ams-dns', 20_000),
    })
    t.ok(local.endedMs >= 63_000, `its stack’s flows are waited for: ${local.endedMs}`)
  },
)

t.test('a node without a sibling is needed by all flows of its PoP', async (t) => {
  const life = flowsUntil('ams-web-2', 60_000)
  t.ok(
    (await wait('ams-1', { 'ams-1': life }, { fleet: single })).endedMs >= 63_000,
    'none configured',
  )
  const down = flowsUntil('ams-web-2', 60_000, { down: ['ams-2'] })
  const { outcome } = await wait('ams-1', { 'ams-1': down, 'ams-2': () => undefined })
  t.equal(outcome.kind, 'done')
  t.ok(outcome.last.elapsedMs >= 63_000, 'dead')
})

t.test('prefixes that are not withdrawn are waited for, by name', async (t) => {
  const announce = (ms: number) => ({
    trouble: undefined,
    done: true,
    prefixes: [
      {
        prefix: '198.51.100.0/24',
        state:
          ms < 5000
            ? ('de-preferred' as const)
            : ms < 30_000
              ? ('announced' as const)
              : ('withdrawn' as const),
        wanted: 'withdrawn' as const,
        why: 'it drains',
        sinceMs: 0,
        lastAnnouncer: false,
      },
    ],
  })
  const { endedMs, shown } = await wait('ams-2', {
    'ams-2': (ms) => ({ more: { announce: announce(ms) } }),
  })
  t.same(shown[0]?.waitsFor.at(-1), 'routers to send nothing here')
  t.ok(shown[0]?.waitsFor.includes('198.51.100.0/24 de-preferred'))
  t.ok(endedMs >= 33_000, `${endedMs}`)
})

t.test(
  'a routing daemon that has not taken the withdrawal is waited for, and named with its trouble',
  async (t) => {
    const withdrawn = {
      prefix: '198.51.100.0/24',
      state: 'withdrawn' as const,
      wanted: 'withdrawn' as const,
      why: 'it drains',
      sinceMs: 0,
      lastAnnouncer: false,
    }
    const trouble = (ms: number) => (ms < 5000 || ms > 60_000 ? undefined : 'no answer within 3 s')
    const { endedMs, shown } = await wait('ams-2', {
      'ams-2': (ms) => ({
        more: { announce: { prefixes: [withdrawn], trouble: trouble(ms), done: ms > 60_000 } },
      }),
    })
    t.ok(shown[0]?.waitsFor.includes("ams-2's routing daemon to do as told"))
    t.ok(
      shown
        .find(({ elapsedMs }) => elapsedMs > 20_000)
        ?.waitsFor.includes(
          "ams-2's routing daemon, which does not do as told (no answer within 3 s)",
        ),
    )
    t.ok(endedMs >= 63_000, `${endedMs}`)
    const { outcome } = await wait(
      'ams-2',
      {
        'ams-2': () => ({
          more: { announce: { prefixes: [withdrawn], trouble: 'refused', done: false } },
        }),
      },
      { timeoutMs: 90_000 },
    )
    t.equal(outcome.kind, 'timeout')
  },
)

t.test(
  'what somebody else has taken back meanwhile is not drained, whatever is left',
  async (t) => {
    const word = (ms: number) => (ms < 20_000 ? ('draining' as const) : ('ready' as const))
    const backend: Life = (ms) => ({
      words: { backends: { 'ams-web-1': word(ms) } },
      backends: { 'ams-web-1': { owned: ms < 30_000 ? 1 : 0 } },
    })
    const { outcome } = await wait('ams-web-1', { 'ams-1': backend, 'ams-2': backend })
    t.match(outcome, { kind: 'taken back', nodes: ['ams-1', 'ams-2'] })
    const node = await wait('ams-2', {
      'ams-2': (ms) => ({ words: { node: word(ms) }, counters: { ingress_packets: ms } }),
    })
    t.match(node.outcome, { kind: 'taken back', nodes: ['ams-2'] })
  },
)

t.test('a PoP is drained when all of its nodes and backends are', async (t) => {
  const { outcome, endedMs, shown } = await wait('ams', {
    'ams-1': (ms) => ({ counters: { ingress_packets: Math.min(ms, 50_000) } }),
    'ams-2': flowsUntil('ams-web-2', 20_000, { counters: { forward_received: 7 } }),
  })
  t.equal(outcome.kind, 'done')
  t.ok(endedMs >= 60_000, `${endedMs}`)
  t.equal(shown.at(-1)?.left.forwarded, 7)
})

t.test(
  'the wait ends with the time, or when it is interrupted, and tells what is left',
  async (t) => {
    const never = { 'ams-1': flowsUntil('ams-web-1', 1e9), 'ams-2': () => ({}) }
    const late = await wait('ams-web-1', never, { timeoutMs: 60_000 })
    t.equal(late.outcome.kind, 'timeout')
    t.equal(late.endedMs, 60_000)
    t.ok(late.outcome.last.left.flows > 0)
    const cut = await wait('ams-web-1', never, { interruptMs: 2500 })
    t.equal(cut.outcome.kind, 'interrupted')
    const once = await wait('ams-web-1', never, { timeoutMs: 0 })
    t.equal(once.shown.length, 1, 'a timeout of 0 s looks once')
  },
)

t.test(
  'who was told and who was not is known, and nobody is told who is not asked first',
  async (t) => {
    const posts: string[] = []
    const ask: Ask = async (door, { method, body }) => {
      const node = door.kind === 'unix' ? door.path : ''
      if (method === 'GET') return { ok: true, value: JSON.stringify(makeStatus({ node })) }
      posts.push(`${node} ${JSON.stringify(body)}`)
      return node === 'ams-2'
        ? { ok: false, why: 'the words cannot be written down', refused: true }
        : { ok: true, value: '{}' }
    }
    const orders = ordersFor(findTarget(fleet, 'ams-web-1'), 'draining')
    const asked = await askStatuses(
      orders.map(({ node }) => node),
      ask,
      doorOf,
    )
    t.same([...asked.statuses.keys()], ['ams-1', 'ams-2'])
    t.same(posts, [])
    const { told, failures } = await tell(orders, ask, doorOf)
    t.same(
      told.map(({ node }) => node.name),
      ['ams-1'],
    )
    t.same(failures, [{ node: 'ams-2', why: 'the words cannot be written down' }])
    t.same(posts[0], 'ams-1 {"backends":{"ams-web-1":"draining"}}')
  },
)

t.test(
  'a node with another fleet file, or another node at that address, is found before anybody is told',
  async (t) => {
    const target = findTarget(fleet, 'ams-web-1')
    const orders = ordersFor(target, 'draining')
    const other = fleetOf(FLEET_TEXT.replace('name: ams-web-1', 'name: ams-web-9'))
    const statuses = new Map([['ams-2', makeStatus({ fleet: other, node: 'ams-2' })]])
    t.same(misfits(orders, statuses), [
      { node: 'ams-2', why: 'its fleet file has no backend ams-web-1: reload it' },
    ])
    const ask: Ask = async () => ({
      ok: true,
      value: JSON.stringify(makeStatus({ node: 'nyc-1' })),
    })
    const { failures } = await askStatuses(
      orders.map(({ node }) => node),
      ask,
      doorOf,
    )
    t.match(failures[0]?.why, /^the node that answers calls itself nyc-1/)
  },
)
