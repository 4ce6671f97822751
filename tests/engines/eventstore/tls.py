"""Ends TLS before a server that speaks without: tls.py <port of the server> <certificate> <key>; prints its own port.

Invariant: it offers HTTP/2 and nothing else, as the server does.
"""

import asyncio
import ssl
import sys

HOST = "127.0.0.1"


async def carry(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def take(reader, writer):
    from_server, to_server = await asyncio.open_connection(HOST, int(sys.argv[1]))
    await asyncio.gather(carry(reader, to_server), carry(from_server, writer))


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    context.set_alpn_protocols(["h2"])
    server = await asyncio.start_server(take, HOST, 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
