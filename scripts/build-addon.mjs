// Builds native/build/steadycast.node: what "npm ci" and "npm install" run. Owns the search for make, the C compiler
// and the Node-API headers; the build itself is native/Makefile's. Guarantees that a missing tool is named in one line.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const nativeDir = fileURLToPath(new URL('../native', import.meta.url))
const compiler = process.env.CC ?? 'cc'

function fail(message) {
  process.stderr.write(`steadycast: ${message}\n`)
  process.exit(1)
}

function requireTool(command, what) {
  const probe = spawnSync('sh', ['-c', `${command} --version`], { stdio: 'ignore' })
  if (probe.status === 0) return
  fail(
    `cannot build the native addon: no ${what} ("${command}" does not run); ` +
      'install it (Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc make; ' +
      'Alpine: apk add build-base linux-headers) and run npm again',
  )
}

requireTool('make', 'make')
requireTool(compiler, 'C compiler')

const headers = createRequire(import.meta.url)('node-api-headers').include_dir
const make = spawnSync(
  'make',
  ['-s', '-C', nativeDir, 'addon', `CC=${compiler}`, `NODE_API_HEADERS=${headers}`],
  { stdio: 'inherit' },
)
if (make.status !== 0) {
  fail(
    `the native addon did not build: the compiler's messages are above (make -C ${nativeDir} addon)`,
  )
}
