// What the operator said: kept across lives, written whole, told to those who listen, and doubted when it should be.

import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WordStore } from '../../../src/operator/store.js'
import { somethingSaid, type Word, type Words } from '../../../src/operator/words.js'

const pathIn = (t: Test): string => join(t.testdir(), 'ams-1.words.json')
const of = (...pairs: readonly (readonly [number, Word])[]): ReadonlyMap<number, Word> =>
  new Map(pairs)

t.test('a store that nobody has spoken to has no words to act by', async (t) => {
  const { store } = WordStore.read(`${t.testdir({})}/words.json`)
  t.notOk(somethingSaid(store.words))
  store.say({ backends: new Map([[7, 'draining']]) })
  t.ok(somethingSaid(store.words))
  store.say({ node: 'draining', backends: new Map([[7, 'ready']]) })
  t.ok(somethingSaid(store.words))
  store.say({ node: 'ready' })
  t.notOk(somethingSaid(store.words))
})

t.test('of what nobody said anything everything is ready, and nothing is written', async (t) => {
  const path = pathIn(t)
  const { store, doubt } = WordStore.read(path)
  t.equal(doubt, undefined)
  t.same(store.words, { node: 'ready', backends: new Map() })
  store.say({ node: 'ready', backends: of([7, 'ready']) })
  t.same(readdirSync(join(path, '..')), [])
})

t.test('words outlive the process, with the time at which they were said first', async (t) => {
  const path = pathIn(t)
  let now = 1000
  const first = WordStore.read(path, () => now).store
  first.say({ node: 'draining', backends: of([7, 'draining'], [8, 'maintenance']) })
  now = 2000
  first.say({ backends: of([7, 'draining'], [8, 'draining']) })
  const { store, doubt } = WordStore.read(path, () => 3000)
  t.equal(doubt, undefined)
  t.same(store.words, { node: 'draining', backends: of([7, 'draining'], [8, 'draining']) })
  t.same(store.ofNode, { word: 'draining', sinceMs: 1000 })
  t.same(store.ofBackend(7), { word: 'draining', sinceMs: 1000 })
  t.same(store.ofBackend(8), { word: 'draining', sinceMs: 2000 })
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(readdirSync(join(path, '..')), ['ams-1.words.json'], 'nothing half written is left')
})

t.test('ready takes a word back', async (t) => {
  const path = pathIn(t)
  const { store } = WordStore.read(path)
  store.say({ node: 'maintenance', backends: of([7, 'draining'], [8, 'draining']) })
  store.say({ node: 'ready', backends: of([7, 'ready']) })
  t.same(WordStore.read(path).store.words, { node: 'ready', backends: of([8, 'draining']) })
})

t.test('listeners hear of a change once, and not of what was said before', async (t) => {
  const { store } = WordStore.read(pathIn(t))
  const heard: Words[] = []
  store.onChange((words) => heard.push(words))
  store.say({ node: 'draining' })
  store.say({ node: 'draining' })
  store.say({})
  store.say({ backends: of([7, 'ready']) })
  t.same(heard, [{ node: 'draining', backends: new Map() }])
})

t.test('a word about a backend that is not configured any more is dropped', async (t) => {
  const path = pathIn(t)
  const { store } = WordStore.read(path)
  store.say({ backends: of([7, 'draining'], [8, 'draining']) })
  t.equal(store.keepOnly(new Set([8, 9])), 1)
  t.equal(store.keepOnly(new Set([8, 9])), 0)
  t.same(WordStore.read(path).store.words.backends, of([8, 'draining']))
})

t.test('what cannot be written down has not been said', async (t) => {
  const dir = t.testdir({ folder: {} })
  const path = join(dir, 'folder', 'none', 'ams-1.words.json')
  const { store } = WordStore.read(path)
  const heard: Words[] = []
  store.onChange((words) => heard.push(words))
  t.throws(() => store.say({ node: 'draining' }), { code: 'ENOENT' })
  t.equal(store.words.node, 'ready')
  t.same(heard, [])
})

t.test('a file in doubt is nothing, with a reason', async (t) => {
  const path = pathIn(t)
  const sound = '{"layout":1,"node":{"word":"draining","sinceMs":5},"backends":[]}'
  const doubtOf = (text: string): string | undefined => {
    writeFileSync(path, text)
    const { store, doubt } = WordStore.read(path)
    t.equal(store.words.node, doubt === undefined ? 'draining' : 'ready', text)
    return doubt
  }
  t.equal(doubtOf(sound), undefined)
  t.equal(doubtOf(''), 'it is not JSON')
  t.equal(doubtOf(sound.slice(0, -3)), 'it is not JSON')
  t.match(doubtOf(sound.replace('"layout":1', '"layout":2')), /^layout: /)
  t.match(doubtOf(sound.replace('draining', 'drained')), /^node\.word: /)
  t.match(doubtOf(sound.replace('[]', '[{"id":0,"word":"draining","sinceMs":1}]')), /^backends\.0/)
  t.match(doubtOf(sound.replace('[]', '[{"id":9,"word":"ready","sinceMs":1}]')), /^backends\.0/)
  const twice = '[{"id":9,"word":"draining","sinceMs":1},{"id":9,"word":"draining","sinceMs":1}]'
  t.equal(doubtOf(sound.replace('[]', twice)), 'it names a backend twice')
  t.match(doubtOf(' '.repeat(2_000_000)), /^it has more than \d+ bytes$/)
  t.equal(doubtOf('null'), 'the whole: Invalid input: expected object, received null')
})

t.test('a folder in its place is a doubt, and stays', async (t) => {
  const path = pathIn(t)
  mkdirSync(path)
  t.equal(WordStore.read(path).doubt, 'it cannot be read (EISDIR)')
})

t.test('a word that was said in the future is as old as now', async (t) => {
  const path = pathIn(t)
  WordStore.read(path, () => 9000).store.say({ node: 'draining' })
  t.equal(WordStore.read(path, () => 4000).store.ofNode.sinceMs, 4000)
  t.match(readFileSync(path, 'utf8'), /"sinceMs":9000/)
})
