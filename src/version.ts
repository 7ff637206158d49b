// The version of this program, as package.json states it. Read by the command line (--version), the build info
// metric and bug reports; there is no second copy to forget.

import { readFileSync } from 'node:fs'

const manifest = new URL('../package.json', import.meta.url)

export const VERSION = (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
