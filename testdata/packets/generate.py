#!/usr/bin/env python3
"""Writes the packet captures of this folder.

syn.pcap    TCP SYNs to 192.0.2.1:80, five from 192.0.2.33 and one from 192.0.2.34, then an
            ARP request and a frame that is cut in its IPv4 header
cut.pcap    the same, ending inside the second packet
flows.pcap  96 packets: two flows with a third of them each, and between them 24 small ones,
            TCP and UDP, from 8 sources, of which 8 come back for a second packet
mixed.pcap  IPv4 and IPv6 from several networks, and an ARP request
vlans.pcap  TCP and UDP in VLANs 10, 20 and 30 and in none
"""

import ipaddress
import struct
from pathlib import Path

TCP, UDP = 6, 17
SERVER = "192.0.2.1"


def address(text):
    return ipaddress.ip_address(text).packed


def ipv4(source, rest, protocol=TCP, destination=SERVER):
    header = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(rest), 1, 0, 64, protocol, 0,
                                   address(source), address(destination)))
    total = sum(struct.unpack("!10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack("!H", ~total & 0xFFFF)
    return bytes(header) + rest


def ipv6(source, rest, protocol=UDP, destination="2001:db8::1"):
    return struct.pack("!IHBB16s16s", 6 << 28, len(rest), protocol, 64,
                       address(source), address(destination)) + rest


def tcp(source_port, port, flags=0x10, payload=b""):
    return struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 0x50, flags, 8192, 0, 0) + payload


def udp(source_port, port, payload=b""):
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def ethernet(kind, payload, vlan=None):
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return b"\xff" * 6 + b"\x02" * 6 + tag + struct.pack("!H", kind) + payload


def write(name, frames):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for number, frame in enumerate(frames):
        out += struct.pack("<IIII", 1700000000, number * 1000, len(frame), len(frame)) + frame
    Path(__file__).with_name(name).write_bytes(out)
    return out


def syn(source):
    return ethernet(0x0800, ipv4(source, tcp(12345, 80, flags=0x02)))


ARP = ethernet(0x0806, bytes(28))

frames = [syn("192.0.2.33")] * 4 + [syn("192.0.2.34"), syn("192.0.2.33"), ARP]
frames.append(syn("192.0.2.33")[:30])
written = write("syn.pcap", frames)
# The second packet of this one ends too early.
cut = 24 + 16 + len(frames[0]) + 16 + 20
Path(__file__).with_name("cut.pcap").write_bytes(written[:cut])


def small_flow(number):
    source, port = f"198.51.100.{1 + number % 8}", 40000 + number
    if number % 2:
        return ipv4(source, udp(port, 53, bytes(16)), UDP)
    return ipv4(source, tcp(port, 443, payload=bytes(32)))


frames = []
for number in range(32):
    frames.append(ethernet(0x0800, ipv4("203.0.113.5", tcp(50000, 80, payload=bytes(100)))))
    frames.append(ethernet(0x0800, small_flow(number % 24)))
    frames.append(ethernet(0x0800, ipv4("203.0.113.9", udp(50001, 4433, bytes(200)), UDP)))
write("flows.pcap", frames)

sources = ["10.1.2.3", "10.9.0.1", "10.9.0.100", "192.0.2.33", "2001:db8:1::5",
           "2001:db8:1:bad::5", "2001:db8:2::5", "fe80::2"]
frames = [ethernet(0x86DD, ipv6(source, udp(50000, 53))) if ":" in source
          else ethernet(0x0800, ipv4(source, udp(50000, 53), UDP)) for source in sources]
write("mixed.pcap", frames + [ARP])

write("vlans.pcap", [
    ethernet(0x0800, ipv4("10.0.0.2", tcp(50000, 80), TCP), vlan=10),
    ethernet(0x0800, ipv4("10.0.0.3", tcp(50001, 443), TCP), vlan=10),
    ethernet(0x0800, ipv4("10.0.0.2", tcp(50000, 80), TCP), vlan=20),
    ethernet(0x0800, ipv4("10.0.0.4", udp(50002, 53), UDP), vlan=20),
    ethernet(0x0800, ipv4("10.0.0.5", udp(50003, 53), UDP), vlan=30),
    ethernet(0x0800, ipv4("10.0.0.6", udp(50004, 53), UDP)),
])
