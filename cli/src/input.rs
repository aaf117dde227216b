//! Inputs: hexadecimal, files, packet captures.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use skep::value::from_hex;

use crate::failure::Failure;

/// A packet, and when it was captured.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) data: Vec<u8>,
    pub(crate) time: Option<Duration>,
}

/// The packets that an option names, one after the other.
pub(crate) enum Packets {
    /// One packet.
    One(Option<Vec<u8>>),
    /// A capture.
    Pcap { reader: PcapReader<BufReader<File>>, path: String, count: u64 },
    /// A capture of the next generation.
    PcapNg { reader: Box<PcapNgReader<BufReader<File>>>, path: String, count: u64 },
}

impl Packets {
    /// Opens `hex:…`, `@FILE` or a capture.
    pub(crate) fn open(text: &str) -> Result<Self, Failure> {
        if text.starts_with("hex:") || text.starts_with('@') {
            return Ok(Self::One(Some(bytes("--packet", text)?)));
        }
        let io = |error: &dyn std::fmt::Display| Failure::io(format!("{text}: {error}"));
        let mut magic = [0; 4];
        let mut file = File::open(text).map_err(|e| io(&e))?;
        std::io::Read::read_exact(&mut file, &mut magic).map_err(|_| not_a_capture(text))?;
        let file = BufReader::new(File::open(text).map_err(|e| io(&e))?);
        let path = text.to_owned();
        match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                let reader = PcapNgReader::new(file).map_err(|e| io(&e))?;
                Ok(Self::PcapNg { reader: Box::new(reader), path, count: 0 })
            }
            [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0xc3, 0xd4]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d] => {
                let reader = PcapReader::new(file).map_err(|e| io(&e))?;
                let link = reader.header().datalink;
                if link != DataLink::ETHERNET {
                    let message = format!("{text}: the link type is {link:?}, not Ethernet");
                    return Err(Failure::io(message));
                }
                Ok(Self::Pcap { reader, path, count: 0 })
            }
            _ => Err(not_a_capture(text)),
        }
    }

    /// The next packet.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, Failure> {
        match self {
            Self::One(packet) => Ok(packet.take().map(|data| Packet { data, time: None })),
            Self::Pcap { reader, path, count } => {
                *count += 1;
                match reader.next_packet() {
                    None => Ok(None),
                    Some(Ok(packet)) => Ok(Some(Packet {
                        data: packet.data.into_owned(),
                        time: Some(packet.timestamp),
                    })),
                    Some(Err(error)) => Err(broken(path, *count, &error)),
                }
            }
            Self::PcapNg { reader, path, count } => {
                while let Some(block) = reader.next_block() {
                    let block = match block {
                        Ok(block) => block.into_owned(),
                        Err(error) => return Err(broken(path, *count + 1, &error)),
                    };
                    let packet = match block {
                        Block::EnhancedPacket(packet) => {
                            Packet { data: packet.data.into_owned(), time: Some(packet.timestamp) }
                        }
                        Block::SimplePacket(packet) => {
                            Packet { data: packet.data.into_owned(), time: None }
                        }
                        _ => continue,
                    };
                    *count += 1;
                    return Ok(Some(packet));
                }
                Ok(None)
            }
        }
    }
}

fn not_a_capture(text: &str) -> Failure {
    Failure::usage(
        format!("--packet {text}: this is no pcap or pcapng file"),
        Some(format!("give raw bytes as --packet @{text} or --packet hex:…")),
    )
}

fn broken(path: &str, number: u64, error: &PcapError) -> Failure {
    Failure::io(match error {
        // The reader says only that it could not read.
        PcapError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            format!("{path}: the file ends inside packet {number}")
        }
        PcapError::IoError(error) => format!("{path}: packet {number}: {error}"),
        error => format!("{path}: packet {number}: {error}"),
    })
}

/// The bytes of `hex:…` or `@FILE`.
pub(crate) fn bytes(option: &str, text: &str) -> Result<Vec<u8>, Failure> {
    if let Some(hex) = text.strip_prefix("hex:") {
        return from_hex(hex).ok_or_else(|| {
            let help = "write two digits for each byte: hex:0a00".to_owned();
            Failure::usage(format!("{option}: `{hex}` is not hexadecimal"), Some(help))
        });
    }
    if let Some(path) = text.strip_prefix('@') {
        return read(Path::new(path));
    }
    let help = format!("write {option} hex:… or {option} @FILE");
    Err(Failure::usage(format!("{option}: `{text}` is neither hexadecimal nor a file"), Some(help)))
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::io(format!("{}: {error}", path.display())))
}

/// The two sides of `NAME=VALUE`.
pub(crate) fn assignment<'t>(option: &str, text: &'t str) -> Result<(&'t str, &'t str), Failure> {
    text.split_once('=').ok_or_else(|| {
        let help = Some(format!("write {option} NAME=VALUE"));
        Failure::usage(format!("{option}: `{text}` has no `=`"), help)
    })
}

/// The parts of `NAME[KEY]`.
pub(crate) fn element<'t>(option: &str, text: &'t str) -> Result<(&'t str, &'t str), Failure> {
    let parts = text.split_once('[').and_then(|(name, rest)| Some((name, rest.strip_suffix(']')?)));
    parts.ok_or_else(|| {
        let help = Some(format!("write {option} 'NAME[KEY]=VALUE'"));
        Failure::usage(format!("{option}: `{text}` is no NAME[KEY]"), help)
    })
}
