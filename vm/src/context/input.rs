//! What the user gives a program to run on.

/// The input of one run.
///
/// What fits depends on the program's type: packet programs need a packet and take
/// fields, others take raw bytes or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    pub(crate) raw: Option<Vec<u8>>,
    pub(crate) packet: Option<Vec<u8>>,
    pub(crate) fields: Vec<(String, u64)>,
}

impl Input {
    /// Nothing: the program gets a null pointer as its context.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The context, byte for byte: a tracepoint record, registers, arguments.
    #[must_use]
    pub fn raw(context: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(context.into()), ..Self::default() }
    }

    /// A packet, from its Ethernet header on.
    #[must_use]
    pub fn packet(packet: impl Into<Vec<u8>>) -> Self {
        Self { packet: Some(packet.into()), ..Self::default() }
    }

    /// Fields of the context by their UAPI names, others zero.
    #[must_use]
    pub fn fields<N: Into<String>>(fields: impl IntoIterator<Item = (N, u64)>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { fields, ..Self::default() }
    }

    /// The same input with one field of the context set.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: u64) -> Self {
        self.fields.push((field.into(), value));
        self
    }
}

/// An input does not fit a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The program needs a packet and there is none.
    #[error("program `{program}` needs a packet")]
    NeedsPacket {
        /// The program.
        program: String,
    },
    /// The program takes no packet.
    #[error("program `{program}` takes no packet: it is a {prog_type} program")]
    TakesNoPacket {
        /// The program.
        program: String,
        /// Its type.
        prog_type: &'static str,
    },
    /// The program's context is made from a packet and fields, not given as bytes.
    #[error("program `{program}` takes a packet and fields, not raw context bytes")]
    TakesNoRaw {
        /// The program.
        program: String,
    },
    /// Fewer bytes than an Ethernet header has, or than the header that its type
    /// announces.
    #[error("the packet has {len} bytes; {what} has {least}")]
    PacketTooShort {
        /// The packet's length.
        len: usize,
        /// The header.
        what: &'static str,
        /// How long the packet must be.
        least: usize,
    },
    /// More bytes than there is room for.
    #[error("the packet has {len} bytes; there is room for {most}")]
    PacketTooLong {
        /// The packet's length.
        len: usize,
        /// How long it may be.
        most: usize,
    },
    /// The raw context has more bytes than there is room for.
    #[error("the context has {len} bytes; there is room for {most}")]
    ContextTooLong {
        /// The context's length.
        len: usize,
        /// How long it may be.
        most: usize,
    },
    /// The context has no such field.
    #[error("the context of {prog_type} programs has no field `{field}`; it has {known}")]
    UnknownField {
        /// The program type.
        prog_type: &'static str,
        /// The field asked for.
        field: String,
        /// The fields that may be set.
        known: String,
    },
    /// The field is made from the packet.
    #[error("the field `{field}` cannot be set; {known} can")]
    NotSettable {
        /// The field asked for.
        field: String,
        /// The fields that may be set.
        known: String,
    },
    /// The value has more bits than the field.
    #[error("the value {value} does not fit in the field `{field}`, which has {size} bytes")]
    ValueTooBig {
        /// The field.
        field: String,
        /// The value.
        value: u64,
        /// The field's size in bytes.
        size: u32,
    },
    /// The value is not one that the field can have.
    #[error("the field `{field}` can be {least} to {most}, not {value}")]
    OutOfRange {
        /// The field.
        field: String,
        /// The value.
        value: u64,
        /// The least value.
        least: u64,
        /// The greatest value.
        most: u64,
    },
    /// skep cannot make this context yet.
    #[error("skep cannot run {prog_type} programs yet")]
    Unsupported {
        /// The program type.
        prog_type: &'static str,
    },
}
