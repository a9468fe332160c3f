#!/usr/bin/env python3
"""A TCP proxy that breaks what it is told to: cut-proxy.py TARGET-PORT DIR

Prints its own port. DIR/order, when it appears, is read and removed: "cut up|down BYTES" resets the
connection that carries the BYTES-th byte from now on in that direction (once); "hang up|down BYTES"
lets nothing further pass in that direction from there on, over any connection, until "pass" is
ordered. Each connection's bytes, "UP DOWN", are added to DIR/bytes when it ends.
"""
import os
import socket
import struct
import sys
import threading

target, folder = int(sys.argv[1]), sys.argv[2]
lock = threading.Condition()
order = None  # [what, direction, bytes left]


def read_order():
    global order
    path = os.path.join(folder, "order")
    try:
        with open(path) as f:
            words = f.read().split()
        if not words:  # its writer has only opened it
            return
        os.unlink(path)
    except FileNotFoundError:
        return
    order = None if words[0] == "pass" else [words[0], words[1], int(words[2])]
    lock.notify_all()


def allowed(direction, n):
    """How many of n bytes may pass; None: reset the connection."""
    global order
    with lock:
        read_order()
        while order and order[1] == direction:
            if order[2] > 0:
                passed = min(n, order[2])
                order[2] -= passed
                return passed
            if order[0] == "cut":
                order = None
                return None
            lock.wait(0.05)
            read_order()
        return n


def reset(sockets):
    for s in sockets:
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def pump(source, sink, direction, count, at):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            while data:
                n = allowed(direction, len(data))
                if n is None:
                    reset((source, sink))
                    return
                sink.sendall(data[:n])
                count[at] += n
                data = data[n:]
    except OSError:
        reset((source, sink))


def serve(client):
    count = [0, 0]
    try:
        server = socket.create_connection(("127.0.0.1", target))
    except OSError:
        reset((client,))
        client.close()
        return
    up = threading.Thread(target=pump, args=(client, server, "up", count, 0), daemon=True)
    up.start()
    pump(server, client, "down", count, 1)
    up.join(5)
    client.close()
    server.close()
    with lock, open(os.path.join(folder, "bytes"), "a") as f:
        f.write("%d %d\n" % tuple(count))


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
