// Imported first by the entries of processes that stay: cli/main.ts, announce/guardian.ts. Guarantees: SIGUSR1, by which Node
// opens a debugger on 127.0.0.1:9229, where any user of the machine could read the key, does nothing.

process.on('SIGUSR1', () => {})
