// The folder of what outlives a node's process: its flow table (native/io/memory_file.h), its PoP's backends
// and their health. Called by `run`. Guarantees: a folder that cannot be used is refused in a sentence before anything of the machine is changed.

import { accessSync, constants, mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, HostError } from './host-error.js'

/** linux/magic.h. */
const TMPFS = 0x01021994
const RAMFS = 0x858458f6

/** Of a node's name: its admin interface. */
export const SOCKET_SUFFIX = '.sock'

export class StateDir {
  readonly memoryPath: string
  readonly departedPath: string
  readonly healthPath: string
  readonly wordsPath: string
  /** Of the admin interface. */
  readonly socketPath: string

  constructor(
    readonly path: string,
    node: string,
  ) {
    this.memoryPath = join(path, `${node}.flows`)
    this.departedPath = join(path, `${node}.departed.json`)
    this.healthPath = join(path, `${node}.health.json`)
    this.wordsPath = join(path, `${node}.words.json`)
    this.socketPath = join(path, `${node}${SOCKET_SUFFIX}`)
  }

  /** Makes the folder, in which BIRD reads a file as a user of its own. What it returns is for the log. */
  make(): string | undefined {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o755 })
      accessSync(this.path, constants.W_OK | constants.X_OK)
    } catch (error) {
      throw new HostError(
        `--state: ${this.path} cannot be used (${errnoCode(error)}), expected a folder on a tmpfs that this process may write to, where flows outlive a restart: create it, or name another`,
      )
    }
    const { type } = statfsSync(this.path)
    if (type === TMPFS || type === RAMFS) return undefined
    return `--state: ${this.path} is not on a tmpfs, expected one (below /run, say): while the disk is busy, packets may wait for it`
  }
}
