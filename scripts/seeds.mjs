// What the runners of seeds (sim.mjs, survival.mjs) share: the program that they run on every core, which seeds it is
// to run, refusals, and progress with an ETA on stderr. A runner is named like its make target and its program.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const MAX_SEED = 0xffffffff
const REPORT_MS = process.stderr.isTTY ? 200 : 10_000

const native = fileURLToPath(new URL('../native', import.meta.url))
const build = process.env.STEADYCAST_SIM_BUILD ?? `${native}/build`

/** Ends the process: it could not be asked for so. */
export function refuse(runner, message) {
  process.stderr.write(`steadycast: ${runner}: ${message}\n`)
  process.exit(2)
}

/** Reads "A..B", or "A" alone. */
export function readSeeds(runner, text) {
  const [, first, last] = /^(\d+)(?:\.\.(\d+))?$/.exec(text ?? '') ?? []
  const from = Number(first)
  const to = Number(last ?? first)
  if (!(from >= 1 && to >= from && to <= MAX_SEED)) {
    refuse(
      runner,
      `--seeds: expected A..B with 1 <= A <= B <= ${MAX_SEED}, got ${text ?? 'nothing'}`,
    )
  }
  return { from, to, total: to - from + 1 }
}

/** Builds the runner's program, and returns its path. */
export function makeProgram(runner) {
  const program = `${build}/${runner}`
  const made = spawnSync('make', ['-s', '-C', native, `BUILD=${build}`, runner], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (made.status !== 0 || !existsSync(program)) {
    refuse(runner, `${program} could not be built: "make -C native ${runner}" says why`)
  }
  return program
}

/** Awaits run(), telling meanwhile and at its end what look() says: a text, and the share that is done. Returns seconds. */
export async function withProgress(runner, look, run) {
  const beganMs = Date.now()
  const elapsedS = () => (Date.now() - beganMs) / 1000
  const tell = () => {
    const { text, share } = look()
    const left = share > 0 ? `${Math.ceil((elapsedS() / share) * (1 - share))} s` : 'unknown'
    const line = `${runner}: ${text}, ETA ${left}`
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }
  const ticker = setInterval(tell, REPORT_MS)
  await run()
  clearInterval(ticker)
  tell()
  if (process.stderr.isTTY) {
    process.stderr.write('\n')
  }
  return elapsedS()
}
