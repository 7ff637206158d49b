// The fuzzer's front (scripts/fuzz.mjs) and its corpus. The corpus itself is replayed by "make -C native test"; the fuzzer
// runs in CI.

import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const MAX_INPUTS = 500
const MAX_CORPUS_BYTES = 512 * 1024

const root = fileURLToPath(new URL('../../', import.meta.url))

function fuzz(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { status, stderr } = spawnSync(process.execPath, [`${root}scripts/fuzz.mjs`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  return { status, lines: stderr.trimEnd().split('\n') }
}

t.test('the corpus is small', async (t) => {
  const inputs = readdirSync(`${root}test/fuzz/corpus`)
  const bytes = inputs.reduce(
    (sum, name) => sum + statSync(`${root}test/fuzz/corpus/${name}`).size,
    0,
  )
  t.ok(inputs.length > 0 && inputs.length <= MAX_INPUTS, `${inputs.length} inputs`)
  t.ok(bytes <= MAX_CORPUS_BYTES, `${bytes} bytes`)
})

t.test('without clang, or without libFuzzer, one line says what to install', async (t) => {
  for (const compiler of ['/nonexistent/clang', 'false']) {
    const { status, lines } = fuzz([], { FUZZ_CC: compiler })
    t.equal(status, 2)
    t.equal(lines.length, 1)
    t.match(lines[0], /^steadycast: fuzz: .* install (it|them) \(Debian: apt-get install /)
  }
})

t.test('a length of time that is none is refused', async (t) => {
  for (const seconds of ['0', 'soon', '1.5']) {
    const { status, lines } = fuzz(['--seconds', seconds])
    t.equal(status, 2)
    t.match(lines[0], new RegExp(`--seconds ${seconds}: expected a whole number`))
  }
})
