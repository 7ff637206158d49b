// All that it takes to withdraw everything, as data: it is told to the guardian ahead of time. Made by announcer.ts.

import type { BirdSilence } from './bird.js'
import type { ExecSilence } from './exec.js'

export type Silence = BirdSilence | ExecSilence
