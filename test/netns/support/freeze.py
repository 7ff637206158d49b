# Stops one thread of a process, and none of the others, as a bug or the kernel might; lets go when its input ends.
import ctypes, os, sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
process, name = sys.argv[1:]
thread = next(
    int(task)
    for task in os.listdir(f"/proc/{process}/task")
    if open(f"/proc/{process}/task/{task}/comm").read().strip() == name
)
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
    if ptrace(request, thread, 0, 0) != 0:
        sys.exit(f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
print("frozen", flush=True)
sys.stdin.read()
