/* Keeps what this process holds (the fleet key) to itself. Called by napi_notify.c. Guarantees: no
 * core file is written of this process, whatever kernel.core_pattern, its limits or
 * fs.suid_dumpable say; programs that it starts are as before. */
#ifndef SC_CORES_H
#define SC_CORES_H

/* Also: only who has CAP_SYS_PTRACE can trace the process or read its memory, and what is below
 * /proc/PID belongs to root. The process itself reads there what it could before. 0 or -errno. */
int sc_no_cores(void);

#endif
