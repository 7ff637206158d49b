// What a sound fleet file becomes, which warnings it draws, and what the loader makes of files that are no text.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadFleet, parseFleet } from '../../../src/config/fleet-file.js'
import { formatProblem } from '../../../src/config/problem.js'
import { backendId, derivedNodeId, derivedPopId } from '../../../src/fleet/ids.js'
import * as limits from '../../../src/fleet/limits.js'
import type { Fleet } from '../../../src/fleet/model.js'
import { BACKENDS, BASE, NODES, problemsOf, SERVICE } from './base.js'

const example = fileURLToPath(new URL('../../../deploy/fleet.example.yaml', import.meta.url))

function fleetOf(text: string, file = 'fleet.yaml'): Fleet {
  const result = parseFleet(text, file)
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'))
  return result.fleet
}

function edited(...edits: readonly (readonly [from: string, to: string])[]): string {
  return edits.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`the base has no ${from}`)
    return text.replace(from, () => to)
  }, BASE)
}

/** A list in flow style of n items. */
function many(n: number, item: (i: number) => string): string {
  return `[${Array.from({ length: n }, (_, i) => item(i)).join(', ')}]`
}

t.test('the shipped example has neither errors nor warnings', async (t) => {
  const result = loadFleet(example)
  t.match(result, { ok: true, warnings: [] })
  t.equal(result.ok && result.fleet.pops.length, 3)
})

t.test('a minimal file becomes a fleet with every default', async (t) => {
  const popId = derivedPopId('ams')
  t.same(fleetOf(BASE, '/etc/steadycast/fleet.yaml'), {
    keyFile: '/etc/steadycast/fleet.key',
    hashSeed: 1n,
    flowTableEntries: 1_048_576,
    pops: [
      {
        id: popId,
        name: 'ams',
        nodes: [{ id: derivedNodeId('ams-1'), name: 'ams-1', popId, address: '192.0.2.1' }],
        backends: [
          {
            id: backendId(popId, 'b1', '10.0.0.1'),
            name: 'b1',
            popId,
            address: '10.0.0.1',
            deliver: 'gue',
            nodeId: 0,
            weight: 1,
            pool: 'default',
          },
        ],
      },
    ],
    services: [
      {
        name: 'web',
        vip: '198.51.100.1',
        family: 4,
        ports: [80],
        protocol: 'tcp',
        pool: 'default',
        fragments: false,
        halfOpenS: 65,
        idleS: 10800,
        closingS: 60,
      },
    ],
  })
})

t.test('a relative key_file is relative to the folder of the fleet file', async (t) => {
  t.equal(fleetOf(BASE, 'conf/fleet.yaml').keyFile, 'conf/fleet.key')
  t.equal(fleetOf(BASE).keyFile, 'fleet.key')
  t.equal(fleetOf(edited(['fleet.key', '/a/b.key'])).keyFile, '/a/b.key')
})

t.test('hash_seed keeps all 64 bits, in any spelling', async (t) => {
  for (const spelling of ['0x9f1c5e7702ab44d1', '"0x9F1C5E7702AB44D1"', '11465142616617338065']) {
    const text = edited(['hash_seed: 1', `hash_seed: ${spelling}`])
    t.equal(fleetOf(text).hashSeed, 0x9f1c5e7702ab44d1n, spelling)
  }
  t.equal(fleetOf(edited(['hash_seed: 1', 'hash_seed: 0'])).hashSeed, 0n)
})

t.test('a local backend has the address and the id of its node', async (t) => {
  const text = edited([BACKENDS, '[{ name: b1, deliver: local, node: ams-1 }]'])
  const { id, nodeId, address } = fleetOf(text).pops[0]?.backends[0] ?? {}
  t.equal(address, '192.0.2.1')
  t.equal(nodeId, derivedNodeId('ams-1'))
  t.equal(id, backendId(derivedPopId('ams'), 'b1', '192.0.2.1'))
})

t.test('explicit ids win, and a backend id follows its PoP', async (t) => {
  const text = edited(
    ['name: ams\n', 'name: ams\n      id: 7\n'],
    ['name: ams-1', 'name: ams-1, id: 9'],
  )
  const pop = fleetOf(text).pops[0]
  t.equal(pop?.id, 7)
  t.equal(pop?.nodes[0]?.id, 9)
  t.equal((pop?.backends[0]?.id ?? 0) >>> 20, 7)
})

t.test('the order of the file changes no id', async (t) => {
  const other = '    - name: nyc\n      nodes: [{ name: nyc-1, address: 192.0.2.2 }]\n'
  const before = fleetOf(edited(['services:', `${other}services:`]))
  const after = fleetOf(edited(['    - name: ams', `${other}    - name: ams`]))
  t.same([...after.pops].reverse(), before.pops)
})

t.test('addresses become canonical text', async (t) => {
  const text = edited(
    ['192.0.2.1', '"2001:DB8:0:0::1"'],
    ['10.0.0.1', '"2001:db8::0:2"'],
    ['198.51.100.1', '"2001:DB8::AA"'],
  )
  const { pops, services } = fleetOf(text)
  t.equal(pops[0]?.nodes[0]?.address, '2001:db8::1')
  t.equal(pops[0]?.backends[0]?.address, '2001:db8::2')
  t.match(services[0], { vip: '2001:db8::aa', family: 6 })
})

t.test('timeouts round up to seconds', async (t) => {
  const timeouts = 'timeouts: { half_open: 1500ms, idle: 24h, closing: 500ms }'
  const service = fleetOf(edited(['protocol: tcp', `protocol: tcp, ${timeouts}`])).services[0]
  t.match(service, { halfOpenS: 2, idleS: 86400, closingS: 1 })
})

t.test('one address may serve several pools of its PoP', async (t) => {
  const two = '[{ name: b1, address: 10.0.0.1 }, { name: b2, address: 10.0.0.1, pool: dns }]'
  const dns = `${SERVICE}\n  - { name: dns, vip: 198.51.100.1, ports: [80], protocol: udp, pool: dns }`
  t.same(problemsOf(edited([BACKENDS, two], [SERVICE, dns])), [])
})

t.test(
  'a value behind an alias is read, and its faults are reported where it is written',
  async (t) => {
    const web = '- &web { name: web, vip: 198.51.100.1, ports: &ports [80, 0], protocol: tcp }'
    const text = edited([
      `- ${SERVICE}`,
      `${web}\n  - { name: w2, vip: 198.51.100.2, ports: *ports, protocol: tcp }`,
    ])
    t.same(problemsOf(text), ['9:61: ports[1]: got 0, expected a port, a whole number 1 to 65535'])
  },
)

t.test('health has its defaults, and none is none', async (t) => {
  const withHealth = (health: string) => SERVICE.replace('tcp }', `tcp, health: ${health} }`)
  const read = (health: string) => {
    const result = parseFleet(edited([SERVICE, withHealth(health)]), 'fleet.yaml')
    if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('; '))
    return result.fleet.services[0]?.health
  }
  const without = parseFleet(BASE, 'fleet.yaml')
  t.equal(without.ok && without.fleet.services[0]?.health, undefined)
  const usual = { port: 80, rise: 2, fall: 3, slowStartMs: 30_000, probe: true }
  t.same(read('{ tcp: true }'), {
    check: { kind: 'tcp' },
    intervalMs: 2000,
    timeoutMs: 1000,
    ...usual,
  })
  t.match(read('{ tcp: true, interval: 300ms }'), { intervalMs: 300, timeoutMs: 300 })
  t.same(read('{ http: /healthz }')?.check, {
    kind: 'http',
    path: '/healthz',
    host: undefined,
    status: [{ from: 200, to: 399 }],
    body: undefined,
    serverName: undefined,
    verify: false,
  })
  const whole =
    '{ https: "/a?b", port: 8443, interval: 5s, timeout: 2s, rise: 1, fall: 5, status: [200, 204-206], body: "ok!", host: "www.example.org:8443", verify: true, slow_start: 0s, probe: false }'
  t.same(read(whole), {
    check: {
      kind: 'https',
      path: '/a?b',
      host: 'www.example.org:8443',
      status: [
        { from: 200, to: 200 },
        { from: 204, to: 206 },
      ],
      body: 'ok!',
      serverName: 'www.example.org',
      verify: true,
    },
    port: 8443,
    intervalMs: 5000,
    timeoutMs: 2000,
    rise: 1,
    fall: 5,
    slowStartMs: 0,
    probe: false,
  })
  t.match(read('{ https: /, host: "[2001:db8::1]" }')?.check, { serverName: undefined })
  t.match(read('{ https: /, host: a.example, server_name: b.example }')?.check, {
    serverName: 'b.example',
  })
})

t.test('a PoP that cannot serve new connections, and an unused pool, are warnings', async (t) => {
  const text = edited([
    BACKENDS,
    `${BACKENDS}
    - name: nyc
      nodes: [{ name: nyc-1, address: 192.0.2.2 }]
      backends: [{ name: b2, address: 10.0.0.2, weight: 0 }, { name: b3, address: 10.0.0.3, pool: old }]`,
  ])
  t.equal(parseFleet(text, 'fleet.yaml').ok, true)
  t.same(problemsOf(text), [
    '8:7: warning: PoP "nyc" has no backend that takes new connections for service "web": its nodes hand such connections to other PoPs',
    '10:93: warning: pool "old" is used by no service',
  ])
})

t.test('ids that collide name both and say what to do', async (t) => {
  const popText = `${BACKENDS}\n    - name: pop-53\n      nodes: [{ name: x, address: 192.0.2.2 }]`
  t.equal(derivedPopId('pop-41'), derivedPopId('pop-53'))
  t.same(problemsOf(edited(['name: ams\n', 'name: pop-41\n'], [BACKENDS, popText])), [
    '8:13: PoP "pop-53" has id 3150 (derived from the name), as has PoP "pop-41" at 5:13 (derived from the name), expected unique ids; give one of them an "id" of its own',
  ])
  t.equal(derivedNodeId('node-260'), derivedNodeId('node-415'))
  const explicit =
    '[{ name: a, id: 22420, address: 192.0.2.1 }, { name: node-260, address: 192.0.2.2 }]'
  t.same(problemsOf(edited([NODES, explicit])), [
    '6:67: node "node-260" has id 22420 (derived from the name), as has node "a" at 6:30 (explicit), expected unique ids; give one of them an "id" of its own',
  ])
})

t.test('backend ids that collide name both and ask for another name', async (t) => {
  const names = new Map<number, string>()
  let pair: readonly [string, string] | undefined
  for (let i = 0; pair === undefined; i++) {
    const id = backendId(1, `b${i}`, '10.0.0.1')
    const earlier = names.get(id)
    if (earlier !== undefined) pair = [earlier, `b${i}`]
    names.set(id, `b${i}`)
  }
  const [one, two] = pair
  const list = `[{ name: ${one}, address: 10.0.0.1 }, { name: ${two}, address: 10.0.0.1, pool: p }]`
  const text = edited(['name: ams\n', 'name: ams\n      id: 1\n'], [BACKENDS, list])
  const id = backendId(1, one, '10.0.0.1').toString(16)
  t.same(problemsOf(text), [
    `8:${57 + one.length}: backend "${two}" has id 0x${id} (derived from name and address), as has backend "${one}" at 8:26, expected unique ids; rename one of them`,
  ])
})

t.test('all errors of a file come at once, sorted by position', async (t) => {
  const text = `services:
  - { name: web, vip: 192.0.2.1, ports: [80, 70000], protocol: tpc, pool: x y }
fleet:
  key_file: fleet.key
  hash_sed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.1 }, { name: ams-1, adress: 192.0.2.2 }, 3]
      backends: [{ name: b1, address: 10.0.0.1, weight: -1 }, { name: b1, deliver: local, node: ams-2 }]
`
  t.same(
    problemsOf(text).map((problem) => problem.split(',')[0]),
    [
      '2:23: vip: 192.0.2.1 is the address of node "ams-1" at 8:39',
      '2:46: ports[1]: got 70000',
      '2:64: protocol: got "tpc"',
      '2:75: pool: got "x y"',
      '5:3: unknown key "hash_sed" in "fleet"',
      '8:60: name: node "ams-1" again',
      '8:67: unknown key "adress" in a node',
      '8:88: nodes[2]: got 3',
      '9:57: weight: got -1',
      '9:71: name: backend "b1" again',
      '9:97: node: got "ams-2"',
    ],
  )
})

t.test('every limit of a fleet is an error that names it', async (t) => {
  const node = (i: number) => `{ name: n${i}, id: ${i + 1}, address: 192.0.${i >> 8}.${i & 255} }`
  const pops = (n: number, nodes: (i: number) => string) =>
    edited([
      `pops:\n    - name: ams\n      nodes: ${NODES}\n      backends: ${BACKENDS}`,
      `pops: ${many(n, (i) => `{ name: p${i}, id: ${i + 1}, nodes: ${nodes(i)}, backends: [{ name: b${i}, address: 10.0.0.${i + 1} }] }`)}`,
    ])
  const services = (n: number, service: (i: number) => string) =>
    edited([`\n  - ${SERVICE}`, ` ${many(n, service)}`])
  const backends = (n: number, pool: (i: number) => string) =>
    edited([
      BACKENDS,
      many(n, (i) => `{ name: b${i}, address: 10.0.${i >> 8}.${i & 255}, pool: ${pool(i)} }`),
    ])
  const texts: Readonly<Record<string, string>> = {
    MAX_POPS: pops(limits.MAX_POPS + 1, (i) => `[${node(i)}]`),
    MAX_NODES_PER_POP: edited([NODES, many(limits.MAX_NODES_PER_POP + 1, node)]),
    MAX_NODES: pops(9, (i) => many(29, (j) => node(29 * i + j))),
    MAX_BACKENDS: backends(limits.MAX_BACKENDS + 1, () => 'default'),
    MAX_POOLS: backends(limits.MAX_POOLS + 1, (i) => `p${i}`),
    MAX_VIPS: services(
      limits.MAX_VIPS + 1,
      (i) => `{ name: s${i}, vip: 198.51.100.${i}, ports: [80], protocol: tcp }`,
    ),
    MAX_TIMEOUT_SETS: services(
      limits.MAX_TIMEOUT_SETS + 1,
      (i) =>
        `{ name: s${i}, vip: 198.51.100.${i}, ports: [80], protocol: tcp, timeouts: { idle: ${i + 1}h } }`,
    ),
    MAX_SERVICE_PORTS: services(
      3,
      (i) =>
        `{ name: s${i}, vip: 198.51.100.${i}, ports: ${many(342, (j) => String(j + 1))}, protocol: tcp }`,
    ),
  }
  for (const [limit, text] of Object.entries(texts)) {
    const problems = problemsOf(text).filter((problem) => problem.includes(`(${limit})`))
    t.equal(problems.length, 1, limit)
    const max = (limits as Readonly<Record<string, unknown>>)[limit]
    t.match(problems[0], `expected at most ${max} (${limit})`)
  }
})

t.test('a fleet at the limits of nodes and PoPs is accepted', async (t) => {
  const pops = many(8, (i) => {
    const nodes = many(
      32,
      (j) => `{ name: n${i}-${j}, id: ${i * 32 + j + 1}, address: 192.0.${i}.${j} }`,
    )
    return `{ name: p${i}, id: ${i + 1}, nodes: ${nodes}, backends: [{ name: b${i}, address: 10.0.0.${i + 1} }] }`
  })
  const text = edited([
    `\n    - name: ams\n      nodes: ${NODES}\n      backends: ${BACKENDS}`,
    ` ${pops}`,
  ])
  t.same(problemsOf(text), [])
})

t.test('no more than MAX_PROBLEMS are listed, the rest is counted', async (t) => {
  const nodes = many(limits.MAX_PROBLEMS + 50, () => '5')
  const problems = problemsOf(edited([NODES, nodes]))
  t.equal(problems.length, limits.MAX_PROBLEMS + 1)
  t.match(problems.at(-1), '50 more from here on')
})

t.test('aliases and brackets cannot exhaust the process', async (t) => {
  const levels = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']
  const bomb = levels.reduce(
    (text, name, i) =>
      `${text}\n${name}: &${name} [${Array(9).fill(`*${i === 0 ? 'a' : levels[i - 1]}`)}]`,
    'a: &a [x, x, x, x, x, x, x, x, x]',
  )
  const deep = 'YAML: nested too deeply, expected at most 32 levels (MAX_YAML_DEPTH)'
  t.same(problemsOf(bomb), [
    '2:8: aliases (*name) expand to too much, expected at most 250000 values in all (MAX_YAML_VALUES)',
  ])
  t.same(problemsOf('['.repeat(1_000_000)), [`1:33: ${deep}`])
  t.same(problemsOf(`services:\n${'- '.repeat(100_000)}`), [`2:65: ${deep}`])
  t.same(problemsOf('x: &a [*a]\n'), [`1:1: ${deep}`])
})

t.test('what is no readable text file is one problem', async (t) => {
  const dir = t.testdir({
    'latin.yaml': Buffer.from('fleet:\n  # caf\u00e9 \u00fc\n', 'latin1'),
    folder: {},
  })
  const messageOf = (path: string) => {
    const result = loadFleet(path)
    return result.ok ? [] : result.problems.map((p) => formatProblem(p).replace(`${dir}/`, ''))
  }
  t.same(messageOf(`${dir}/none.yaml`), [
    'none.yaml:1:1: no such file, expected one; check the path',
  ])
  t.same(messageOf(`${dir}/folder`), ['folder:1:1: a directory, expected a file'])
  t.same(messageOf(`${dir}/latin.yaml`), ['latin.yaml:2:8: not UTF-8, expected text in UTF-8'])
  writeFileSync(`${dir}/big.yaml`, `${BASE}#${'x'.repeat(10_000_000)}\n`)
  t.same(messageOf(`${dir}/big.yaml`), [
    `big.yaml:1:1: the file is too large, expected at most ${limits.MAX_FLEET_FILE_BYTES} bytes (MAX_FLEET_FILE_BYTES)`,
  ])
})

t.test('a byte order mark and Windows line ends are accepted', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': `\ufeff${BASE.replaceAll('\n', '\r\n')}` })
  t.match(loadFleet(`${dir}/fleet.yaml`), { ok: true, warnings: [] })
})

t.test('more checks a second in a PoP than MANY_CHECKS_PER_S draw a warning', async (t) => {
  const of = (backends: number) =>
    problemsOf(
      edited(
        [BACKENDS, many(backends, (i) => `{ name: b${i}, address: 10.0.1.${i} }`)],
        [
          SERVICE,
          [100, 200]
            .map((ms, i) =>
              SERVICE.replace('web', `s${i}`)
                .replace('80', `8${i}`)
                .replace(' }', `, health: { tcp: true, interval: ${ms}ms } }`),
            )
            .join('\n  - '),
        ],
      ),
    )
  t.same(of(33), [])
  t.same(of(34), [
    '9:64: warning: health: 510 checks a second in PoP "ams", expected at most 500 (MANY_CHECKS_PER_S): every node of it makes them all, so give "interval" more time, or fewer services "health"',
  ])
})
