"""A hostile or clumsy HTTPS client. Usage: hostile.py HOST:PORT COMMAND [ARGUMENT…]

send                 standard input as it is, all at once; prints what comes back until 1 s of silence
half-open N          N connections that begin a TLS handshake and stop; prints how many were ended within 8 s
idle N               N finished handshakes without a request, for as long as standard input stays open;
                     prints how many succeeded, then waits
trickle PATH LENGTH RATE AUTH   a PUT whose body comes at RATE bytes a second; prints seconds until it was ended
deaf PATH AUTH       a GET whose answer is not read, for 30 s
hold N LENGTH PATH AUTH   N PUTs of LENGTH bytes that stop before the last byte, until standard input ends
"""
import select
import socket
import ssl
import sys
import time

address = sys.argv[1].rsplit(":", 1)
address = (address[0], int(address[1]))
command, arguments = sys.argv[2], sys.argv[3:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def connect():
    raw = socket.create_connection(address, timeout=20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw)


def read_for(tls, silence):
    tls.settimeout(silence)
    out = b""
    try:
        while True:
            piece = tls.recv(65536)
            if not piece:
                return out
            out += piece
    except OSError:
        return out


def put(path, length, authorization):
    return (f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
            f"Content-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: {length}\r\n\r\n").encode()


def send():
    tls = connect()
    try:
        tls.sendall(sys.stdin.buffer.read())
    except OSError:
        pass
    sys.stdout.buffer.write(read_for(tls, 1))


def half_open(n):
    hello = bytes.fromhex("16030100f8010000f40303") + b"\x00" * 20
    sockets = []
    for _ in range(n):
        s = socket.create_connection(address, timeout=5)
        s.sendall(hello)
        sockets.append(s)
    print("open", flush=True)
    ended, until = 0, time.monotonic() + 8
    while sockets and time.monotonic() < until:
        for s in select.select(sockets, [], [], 0.2)[0]:
            try:
                over = not s.recv(4096)
            except OSError:
                over = True
            if over:
                ended += 1
                sockets.remove(s)
    print(ended)


def idle(n):
    connections = []
    for _ in range(n):
        try:
            connections.append(connect())
        except OSError:
            pass
    print(len(connections), flush=True)
    sys.stdin.read()


def trickle(path, length, rate, authorization):
    tls = connect()
    start = time.monotonic()
    try:
        tls.sendall(put(path, length, authorization))
        for _ in range(int(length)):
            tls.sendall(b" ")
            time.sleep(1 / float(rate))
    except OSError:
        pass
    print(int(time.monotonic() - start))


def deaf(path, authorization):
    tls = connect()
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode())
    time.sleep(30)


def hold(n, length, path, authorization):
    connections = [connect() for _ in range(int(n))]
    for tls in connections:
        tls.sendall(put(path, length, authorization) + b" " * (int(length) - 1))
    print("held", flush=True)
    sys.stdin.read()


commands = {"send": send, "half-open": lambda n: half_open(int(n)), "idle": lambda n: idle(int(n)),
            "trickle": trickle, "deaf": deaf, "hold": hold}
commands[command](*arguments)
