// What is said to BIRD and how its answers are read; test/netns/announce-bird.test.ts has the real one.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  type BirdOptions,
  includeText,
  parseProtocols,
  protocolName,
} from '../../../src/announce/bird.js'
import { completeAnswer, withBird } from '../../../src/announce/bird-control.js'
import { attributesOf } from '../../../src/announce/route.js'
import type { Announce } from '../../../src/fleet/announce.js'

/** As BIRD 2.0.12 sent it. */
const SHOWN = `2002-Name       Proto      Table      State  Since         Info
1002-steadycast_198_51_100_0_24 Static     master4    up     20:59:45.564  
1006-  Description:    0a1b2c3d4e5f
   Channel ipv4
     State:          UP
     Routes:         1 imported, 0 exported, 1 preferred
 
1002-steadycast_198_51_100_0_24_shutdown Static     master4    down   20:59:45.564  
1006-  Description:    112233445566
   Channel ipv4
     State:          DOWN
 
0000 
`

t.test('an answer is whole when its last line says so, however it arrives', async (t) => {
  for (let at = 0; at < SHOWN.length; at++) {
    if (completeAnswer(SHOWN.slice(0, at)) !== undefined) t.fail(`whole after ${at} characters`)
  }
  const answer = completeAnswer(`${SHOWN}0013 next\n`)
  t.equal(answer?.length, SHOWN.length)
  t.same(answer?.replies.at(-1), { code: 0, text: '' })
  t.same(
    answer?.replies.at(3),
    { code: 1006, text: '  Channel ipv4' },
    'continued lines keep the number',
  )
})

t.test('protocols are read with their state, definition and routes', async (t) => {
  const shown = parseProtocols(completeAnswer(SHOWN)?.replies ?? [])
  t.same(
    [...shown],
    [
      ['steadycast_198_51_100_0_24', { enabled: true, definition: '0a1b2c3d4e5f', imported: 1 }],
      [
        'steadycast_198_51_100_0_24_shutdown',
        { enabled: false, definition: '112233445566', imported: undefined },
      ],
    ],
  )
})

t.test('names of protocols fit into what BIRD allows', async (t) => {
  const longest = '2001:db8:1111:2222:3333:4444:5555:6666/128'
  const name = protocolName(longest, 'de-preferred')
  t.match(name, /^[a-z0-9_]{1,63}$/)
  t.equal(protocolName('2001:db8::/32', 'announced'), 'steadycast_2001_db8___32')
})

const NONE = { communities: [], largeCommunities: [], prepend: [] }
const OPTIONS: BirdOptions = {
  socket: '/run/bird/bird.ctl',
  include: '/run/steadycast/ams-1.bird.conf',
  device: 'steady0',
  attributes: {
    announced: NONE,
    'de-preferred': {
      communities: ['65535:0'],
      largeCommunities: ['64500:1:2'],
      prepend: [64500, 64501],
    },
  },
}

t.test(
  'the include has a protocol for each prefix and state, of which one at most is enabled',
  async (t) => {
    const text = includeText(OPTIONS, [
      { prefix: '198.51.100.0/24', family: 4, state: 'de-preferred' },
    ])
    t.match(
      text,
      /protocol static steadycast_198_51_100_0_24 \{\n {2}description "[0-9a-f]{12}";\n {2}disabled on;\n {2}ipv4;\n {2}route 198\.51\.100\.0\/24 via "steady0";\n\}/,
    )
    t.match(
      text,
      /_shutdown \{\n.*\n {2}disabled off;\n {2}ipv4;\n {2}route \S+ via "steady0" \{\n {4}bgp_community\.add\(\(65535, 0\)\);\n {4}bgp_large_community\.add\(\(64500, 1, 2\)\);\n {4}bgp_path\.prepend\(64501\);\n {4}bgp_path\.prepend\(64500\);\n {2}\};\n\}/,
    )
  },
)

t.test('communities go with the state, and no-export with a local node', async (t) => {
  const announce: Announce = {
    daemon: { kind: 'bird', socket: '/b' },
    prefixes: [],
    announced: { communities: ['64500:1', '64500:1:2'], prepend: [] },
    dePreferred: { communities: ['64500:9', '65535:0'], prepend: [64500] },
    dePreferredMs: 1,
    holdDownMs: 1,
    maxHoldDownMs: 1,
    localNodes: new Set(['ams-2']),
  }
  t.same(attributesOf(announce, 'ams-1', 'announced'), {
    communities: ['64500:1'],
    largeCommunities: ['64500:1:2'],
    prepend: [],
  })
  t.same(attributesOf(announce, 'ams-2', 'de-preferred'), {
    communities: ['65535:0', '65535:65281', '64500:9'],
    largeCommunities: [],
    prepend: [64500],
  })
  t.same(attributesOf(announce, 'ams-2', 'withdrawn'), NONE)
})

t.test(
  'a server that is not BIRD is given up within the limit, and one that closes at once',
  async (t) => {
    // Of the path of a socket 107 characters count.
    const folder = mkdtempSync(join(tmpdir(), 'steadycast-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const socket = join(folder, 'ctl')
    let greeting: string | undefined = ''
    const server = createServer((client) => {
      client.on('error', () => {})
      if (greeting === undefined) client.end()
      else client.write(greeting)
    })
    await new Promise<void>((resolve) => server.listen(socket, resolve))
    t.teardown(() => server.close())
    const talk = () => withBird(socket, (command) => command('show status'), 100)
    await t.rejects(talk(), { message: /does not answer on .* within 0\.1 s/ })
    greeting = 'SSH-2.0-x\n'
    await t.rejects(talk(), { message: /does not answer/ })
    greeting = undefined
    await t.rejects(talk(), { message: /closed its control socket/ })
    await t.rejects(
      withBird(`${socket}.none`, async () => {}),
      { message: /is not there: is BIRD running/ },
    )
  },
)
