# A datagram socket of the name given, as systemd's (@ for an abstract one): prints each datagram as a line of JSON.
import json, socket, sys

name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("\0" + name[1:] if name[0] == "@" else name)
print("listening", flush=True)
while True:
    print(json.dumps(receiver.recv(4096).decode()), flush=True)
