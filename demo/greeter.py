"""greeter.py NAME: tells whoever connects to TCP port 7000 its name, so that a caller knows whom it reached."""
import socket
import sys

with socket.create_server(("", 7000)) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(sys.argv[1].encode())
