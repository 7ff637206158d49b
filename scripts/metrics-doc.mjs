// Writes docs/metrics.md from the tables in the code: what "npm run docs:metrics" does after a build. A test holds the
// file against the same tables.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { metricsReference } from '../dist/admin/reference.js'
import { loadAddon } from '../dist/dataplane/addon.js'

const target = fileURLToPath(new URL('../docs/metrics.md', import.meta.url))
writeFileSync(target, metricsReference(loadAddon().counterTable()))
