// The rules of announcement in virtual time.

import t from 'tap'
import type { AnnounceInputs, PrefixReport } from '../../../src/announce/report.js'
import { afterDeath, FRESH, look, type PrefixMemory } from '../../../src/announce/rules.js'
import type { AnnouncedPrefix } from '../../../src/fleet/announce.js'

const TIMING = { dePreferredMs: 60_000, holdDownMs: 10_000, maxHoldDownMs: 80_000 }
const PREFIX: AnnouncedPrefix = {
  prefix: '198.51.100.0/24',
  family: 4,
  upWhen: 'any',
  services: ['web', 'mail'],
}
const ALL: AnnouncedPrefix = { ...PREFIX, upWhen: 'all' }

type Served = Readonly<Record<string, boolean>>
type Elsewhere = Readonly<Record<string, readonly string[]>>

function inputs(
  served: Served,
  elsewhere: Elsewhere,
  more: Partial<AnnounceInputs> = {},
): AnnounceInputs {
  return {
    node: 'ready',
    able: { ok: true },
    served: new Map(Object.entries(served)),
    elsewhere: new Map(Object.entries(elsewhere)),
    ...more,
  }
}

const BOTH = { web: true, mail: true }
const NONE = { web: false, mail: false }
const OTHERS = { web: ['nyc'], mail: ['nyc'] }
const well = inputs(BOTH, OTHERS)
const dead = inputs(NONE, OTHERS)
const unable = inputs(BOTH, OTHERS, { able: { ok: false, why: 'filling' } })

/** A prefix, looked at as time goes on. */
class Life {
  memory: PrefixMemory = FRESH
  nowMs = 1_000_000

  constructor(readonly prefix: AnnouncedPrefix = PREFIX) {}

  sees(now: AnnounceInputs, afterMs = 0): PrefixReport {
    this.nowMs += afterMs
    const { memory, report, nextMs } = look(this.prefix, TIMING, now, this.memory, this.nowMs)
    this.memory = memory
    if (nextMs !== undefined && nextMs <= this.nowMs) throw new Error('the next look is not ahead')
    return report
  }
}

t.test('a prefix is up while any, or all, of its services are served', async (t) => {
  const half = inputs({ web: true, mail: false }, OTHERS)
  t.match(new Life().sees(half), { state: 'announced', wanted: 'announced' })
  t.match(new Life(ALL).sees(half), { state: 'withdrawn', why: /serves mail$/ })
  t.match(new Life(ALL).sees(well), { state: 'announced' })
  t.match(new Life().sees(dead), { state: 'withdrawn', why: /serves web, mail$/ })
})

t.test(
  'a node that is not able withdraws with the reason, and is nobody’s last announcer',
  async (t) => {
    const life = new Life()
    life.sees(well)
    const alone = inputs(NONE, {}, { able: { ok: false, why: 'the worker has ended' } })
    t.match(life.sees(alone), {
      state: 'withdrawn',
      wanted: 'withdrawn',
      why: 'the worker has ended',
      lastAnnouncer: false,
    })
  },
)

t.test('what no PoP serves stays where it is announced, and where a node starts', async (t) => {
  const nowhere = inputs(NONE, {})
  const life = new Life()
  life.sees(well)
  const stays = { state: 'announced', wanted: 'withdrawn', lastAnnouncer: true }
  t.match(life.sees(nowhere), stays)
  t.match(new Life().sees(nowhere), stays)
  t.match(life.sees(dead, 5000), { state: 'withdrawn', lastAnnouncer: false })
})

t.test('a PoP that hears no other stays de-preferred: another may be well', async (t) => {
  const life = new Life()
  life.sees(well)
  t.match(life.sees(inputs(NONE, {}, { alone: true })), {
    state: 'de-preferred',
    wanted: 'withdrawn',
    lastAnnouncer: true,
  })
  t.match(life.sees(inputs(BOTH, {}, { alone: true })), { state: 'announced' })
})

t.test('with "all", PoPs that serve the services between them would announce', async (t) => {
  const apart = inputs({ web: true, mail: false }, { web: ['nyc'], mail: ['sin'] })
  t.match(new Life(ALL).sees(apart), { state: 'withdrawn' })
  const lacking = inputs({ web: true, mail: false }, { web: ['nyc'], mail: [] })
  t.match(new Life(ALL).sees(lacking), { state: 'announced', lastAnnouncer: true })
})

t.test('what is not known yet leaves a prefix as it is', async (t) => {
  const unknown = inputs({}, {})
  t.match(new Life().sees(unknown), {
    state: 'withdrawn',
    wanted: 'withdrawn',
    why: /not known yet/,
  })
  const life = new Life(ALL)
  life.sees(well)
  t.match(life.sees(inputs({ web: true }, OTHERS)), { state: 'announced', why: /yet: mail$/ })
  t.match(life.sees(inputs({ web: false }, OTHERS)), { state: 'withdrawn', why: /serves web$/ })
})

t.test(
  'a node that drains is de-preferred for its time, then withdrawn, then back at once',
  async (t) => {
    const draining = { ...well, node: 'draining' } as const
    const life = new Life()
    life.sees(well)
    t.match(life.sees(draining), { state: 'de-preferred', wanted: 'de-preferred', why: /drains/ })
    t.match(life.sees(draining, 59_999), { state: 'de-preferred' })
    t.match(life.sees(draining, 1), { state: 'withdrawn', wanted: 'withdrawn' })
    t.match(life.sees(draining, 500_000), { state: 'withdrawn' })
    t.match(life.sees(well), { state: 'announced' })
    t.match(life.sees(draining, 1), { state: 'de-preferred' }, 'the time begins anew')
  },
)

t.test('a node that drains and serves nothing withdraws before its time', async (t) => {
  const life = new Life()
  life.sees(well)
  t.match(life.sees({ ...dead, node: 'draining' }), { state: 'withdrawn' })
})

t.test('a node in maintenance is withdrawn at once, be it the last one', async (t) => {
  const life = new Life()
  life.sees(well)
  const last = inputs(NONE, {}, { node: 'maintenance' })
  t.match(life.sees(last), { state: 'withdrawn', lastAnnouncer: false })
  t.match(life.sees(well), { state: 'announced' })
})

t.test(
  'after a withdrawal that nobody asked for a prefix stays away for the hold-down time',
  async (t) => {
    const life = new Life()
    life.sees(well)
    t.match(life.sees(dead, 100_000), { state: 'withdrawn', wanted: 'withdrawn' })
    t.match(life.sees(well, 4_000), {
      state: 'withdrawn',
      wanted: 'announced',
      why: /^held down for 6 s more; /,
    })
    t.match(life.sees(well, 5_999), { state: 'withdrawn', wanted: 'announced' })
    t.match(life.sees(well, 1), { state: 'announced' })
  },
)

t.test(
  'who flaps stays away longer each time, up to the longest, until it has been up as long',
  async (t) => {
    const life = new Life()
    const awayMs: number[] = []
    for (let flap = 0; flap < 6; flap++) {
      life.sees(well)
      const down = life.sees(unable, 1000)
      for (;;) {
        const now = life.sees(well, 500)
        if (now.state === 'announced') break
      }
      awayMs.push(life.nowMs - down.sinceMs)
    }
    t.same(awayMs, [10_000, 20_000, 40_000, 80_000, 80_000, 80_000])
    const down = life.sees(unable, TIMING.maxHoldDownMs)
    t.match(life.sees(well, 9_999), { state: 'withdrawn' })
    t.match(life.sees(well, 1), { state: 'announced' })
    t.equal(life.nowMs - down.sinceMs, 10_000)
  },
)

t.test('hold-down yields when no other PoP would announce', async (t) => {
  const life = new Life()
  life.sees(well)
  t.match(life.sees(dead), { state: 'withdrawn' })
  t.match(life.sees(well, 1), { state: 'withdrawn' })
  t.match(life.sees(inputs(BOTH, {}), 1), { state: 'announced' })
  t.match(life.sees(dead, 1), { state: 'withdrawn' })
  t.match(life.sees(inputs(NONE, {}), 1), { state: 'announced', lastAnnouncer: true })
})

t.test('an operator’s word holds nobody down, and does not end a hold-down', async (t) => {
  const life = new Life()
  life.sees(well)
  life.sees(dead)
  life.sees({ ...well, node: 'maintenance' }, 1000)
  t.match(life.sees(well, 1000), { state: 'withdrawn', wanted: 'announced' })
  t.match(life.sees(well, 8000), { state: 'announced' })
})

t.test(
  'of random lives: never announced while unable or in maintenance, never away when all else is',
  async (t) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
    t.comment(`SEED=${seed}`)
    let state = seed
    const random = (n: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % n
    }
    let looks = 0
    for (const prefix of [PREFIX, ALL]) {
      const life = new Life(prefix)
      for (let step = 0; step < 5000; step++) {
        const any = (): Served => ({ web: random(2) === 0, mail: random(2) === 0 })
        const pops = (): Elsewhere => ({
          web: random(2) === 0 ? [] : ['nyc'],
          mail: random(2) === 0 ? [] : ['nyc'],
        })
        const node =
          (['ready', 'ready', 'ready', 'draining', 'maintenance'] as const)[random(5)] ?? 'ready'
        const able = random(6) === 0 ? ({ ok: false, why: 'x' } as const) : ({ ok: true } as const)
        const elsewhere = pops()
        const report = life.sees(inputs(any(), elsewhere, { node, able }), random(20_000))
        looks++
        const others = ['web', 'mail'].map((name) => (elsewhere[name]?.length ?? 0) > 0)
        const othersUp = prefix.upWhen === 'any' ? others.includes(true) : !others.includes(false)
        if (!able.ok || node === 'maintenance') {
          if (report.state !== 'withdrawn') t.fail(`step ${step}: ${JSON.stringify(report)}`)
        } else if (node === 'ready' && !othersUp && report.state === 'withdrawn') {
          t.fail(`step ${step}, nobody else: ${JSON.stringify(report)}`)
        }
        if (
          report.state !== 'withdrawn' &&
          !report.lastAnnouncer &&
          report.wanted === 'withdrawn'
        ) {
          t.fail(`step ${step}, unwanted: ${JSON.stringify(report)}`)
        }
      }
    }
    t.equal(looks, 10_000)
  },
)

t.test(
  'who dies while it announces is held down in its next life, who was withdrawn is not',
  async (t) => {
    const life = new Life()
    life.sees(well)
    life.nowMs += 1000
    life.memory = afterDeath(life.memory, TIMING, life.nowMs)
    t.match(life.sees(well), { state: 'withdrawn', wanted: 'announced' })
    t.match(life.sees(well, 10_000), { state: 'announced' })
    life.nowMs += 1000
    life.memory = afterDeath(life.memory, TIMING, life.nowMs)
    t.match(life.sees(well, 19_999), { state: 'withdrawn' }, 'twice as long')
    t.match(life.sees(well, 1), { state: 'announced' })
    life.sees({ ...well, node: 'maintenance' })
    life.memory = afterDeath(life.memory, TIMING, life.nowMs)
    t.match(life.sees(well), { state: 'announced' })
    const past = { ...FRESH, heldUntilMs: life.nowMs * 2 }
    t.equal(afterDeath(past, TIMING, life.nowMs).heldUntilMs, life.nowMs + TIMING.maxHoldDownMs)
  },
)

t.test('a clock that is set back holds a prefix down for the longest time at most', async (t) => {
  const life = new Life()
  life.sees(well)
  t.match(life.sees(unable, 1000), { state: 'withdrawn' })
  t.match(life.sees(well, -500_000), { state: 'withdrawn', why: /^held down for 80 s more/ })
  t.match(life.sees(well, TIMING.maxHoldDownMs - 1), { state: 'withdrawn' })
  t.match(life.sees(well, 1), { state: 'announced' })
})
