// The rules of the house that a linter does not know. They look at the files themselves, so that a new file is held to
// them without being listed anywhere.

import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const MAX_SOURCE_LINES = 600

const root = fileURLToPath(new URL('../../', import.meta.url))

interface SourceFile {
  readonly path: string
  readonly text: string
}

/** The files under a folder whose names end in one of these, with their text. */
function sourcesOf(folder: string, endings: readonly string[]): readonly SourceFile[] {
  return readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => endings.some((ending) => name.endsWith(ending)))
    .filter((name) => !name.startsWith('build/'))
    .map((name) => `${folder}/${name}`)
    .sort()
    .map((path) => ({ path, text: readFileSync(`${root}${path}`, 'utf8') }))
}

const typescript = sourcesOf('src', ['.ts'])
const native = sourcesOf('native', ['.c', '.h'])
const tests = sourcesOf('test', ['.ts', '.c', '.h'])

t.test('the rules find the files they are about', async (t) => {
  const paths = [...typescript, ...native, ...tests].map(({ path }) => path)
  for (const path of ['src/cli/main.ts', 'native/napi.c', 'test/unit/native/check.h']) {
    t.ok(paths.includes(path), path)
  }
})

t.test(`no source file is longer than ${MAX_SOURCE_LINES} lines`, async (t) => {
  const tooLong = [...typescript, ...native]
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > MAX_SOURCE_LINES)
  t.same(tooLong, [])
})

t.test('every source file opens with a comment that says what it owns', async (t) => {
  const silent = [...typescript, ...native]
    .filter(({ text }) => !/^(#!.*\n)?(\/\/ \S|\/\*)/.test(text))
    .map(({ path }) => path)
  t.same(silent, [])
})

t.test('nothing is left to do later in a comment', async (t) => {
  // Spelled so that this file does not find itself.
  const leftover = /\b(TO[D]O|FIX[M]E|X[X]X)\b/
  const found = [...typescript, ...native, ...tests]
    .filter(({ text }) => leftover.test(text))
    .map(({ path }) => path)
  t.same(found, [])
})

t.test('package-lock.json names no registry, so that any mirror serves it', async (t) => {
  const lock = readFileSync(`${root}package-lock.json`, 'utf8')
  t.notMatch(lock, /"resolved":|"https?:\/\/[^"]*\.tgz"/)
  t.match(lock, /"integrity": "sha512-/)
})

t.test('the addon loads and is of the same version as the package', async (t) => {
  const require = createRequire(import.meta.url)
  const addon = require(`${root}native/build/steadycast.node`) as { version: () => string }
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }
  t.equal(addon.version(), manifest.version)
})
