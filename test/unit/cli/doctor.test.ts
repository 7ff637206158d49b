// Whom `doctor` examines when nobody is named: the built program, and sockets in a state folder that answer as nodes do.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeStatus } from '../status/fixture.js'

const MAIN = new URL('../../../dist/cli/main.js', import.meta.url).pathname

/** Short, as the path of a socket has to be. */
function stateFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sc-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

async function nodeThatAnswers(t: Test, state: string, node: string): Promise<void> {
  const status = { ...makeStatus({ node }), config: `/nowhere/of-${node}.yaml` }
  const server = createServer((_, reply) => {
    reply.setHeader('content-type', 'application/json')
    reply.end(JSON.stringify(status))
  })
  await new Promise<void>((resolve) => server.listen(join(state, `${node}.sock`), resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
}

async function doctor(...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, 'doctor', ...args])
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  return { code, stderr: stderr.trim() }
}

t.test(
  'doctor without options examines the one node of this machine, by its fleet file',
  async (t) => {
    const state = stateFolder(t)
    await nodeThatAnswers(t, state, 'ams-1')
    t.match(await doctor('--state', state), {
      code: 3,
      stderr: /\/nowhere\/of-ams-1\.yaml:1:1: no such file/,
    })
  },
)

t.test('of several nodes one has to be named, and has its own fleet file', async (t) => {
  const state = stateFolder(t)
  await nodeThatAnswers(t, state, 'ams-1')
  await nodeThatAnswers(t, state, 'nyc-1')
  t.same(await doctor('--state', state), {
    code: 3,
    stderr:
      'steadycast: 2 nodes run on this machine (ams-1 and nyc-1), expected one to examine: name it with --node',
  })
  t.match(await doctor('--state', state, '--node', 'nyc-1'), { stderr: /of-nyc-1\.yaml:1:1/ })
})

t.test('where no node runs, doctor asks for the file', async (t) => {
  const state = stateFolder(t)
  t.match(await doctor('--state', state), { code: 3, stderr: /no socket in .* with --config$/ })
  t.match(await doctor('--config', 'fleet.yaml'), {
    code: 3,
    stderr: /expected --node NAME on a node/,
  })
})
