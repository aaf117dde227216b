#!/usr/bin/env python3
"""Writes syn.pcap: TCP SYNs to 192.0.2.1:80, five from 192.0.2.33 and one from 192.0.2.34,
then an ARP request and a frame that is cut in its IPv4 header."""

import struct
from pathlib import Path


def ipv4(source, rest):
    header = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(rest), 1, 0, 64, 6, 0,
                                   bytes(source), bytes([192, 0, 2, 1])))
    total = sum(struct.unpack("!10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack("!H", ~total & 0xFFFF)
    return bytes(header) + rest


def ethernet(kind, payload):
    return b"\xff" * 6 + b"\x02" * 6 + struct.pack("!H", kind) + payload


def syn(source):
    tcp = struct.pack("!HHIIBBHHH", 12345, 80, 1, 0, 0x50, 0x02, 8192, 0, 0)
    return ethernet(0x0800, ipv4(source, tcp))


frames = [syn([192, 0, 2, 33])] * 4 + [syn([192, 0, 2, 34]), syn([192, 0, 2, 33])]
frames.append(ethernet(0x0806, bytes(28)))
frames.append(syn([192, 0, 2, 33])[:30])

out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
for number, frame in enumerate(frames):
    out += struct.pack("<IIII", 1700000000, number * 1000, len(frame), len(frame)) + frame
Path(__file__).with_name("syn.pcap").write_bytes(out)

# The second packet of this one ends too early.
cut = 24 + 16 + len(frames[0]) + 16 + 20
Path(__file__).with_name("cut.pcap").write_bytes(out[:cut])
