//! Rust values as the bytes of keys, values and variables.

/// A value with a fixed layout in memory: integers, arrays of bytes or integers.
///
/// For a struct of yours, write its fields in order of the C struct, padding included.
pub trait Bytes: Sized {
    /// How many bytes it has; `None` for any number.
    const SIZE: Option<usize>;

    /// The value's bytes, little-endian.
    fn to_bytes(&self) -> Vec<u8>;

    /// The value from its bytes; `None` when their number is not right.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($ty:ident)*) => { $(
        impl Bytes for $ty {
            const SIZE: Option<usize> = Some(size_of::<Self>());

            fn to_bytes(&self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )* };
}
integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

impl Bytes for bool {
    const SIZE: Option<usize> = Some(1);

    fn to_bytes(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [byte] => Some(*byte != 0),
            _ => None,
        }
    }
}

impl<T: Bytes, const N: usize> Bytes for [T; N] {
    const SIZE: Option<usize> = match T::SIZE {
        Some(size) => Some(size * N),
        None => None,
    };

    fn to_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(Bytes::to_bytes).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let size = bytes.len().checked_div(N)?;
        if size * N != bytes.len() || size == 0 {
            return None;
        }
        let items: Option<Vec<T>> = bytes.chunks(size).map(T::from_bytes).collect();
        items?.try_into().ok()
    }
}

impl Bytes for Vec<u8> {
    const SIZE: Option<usize> = None;

    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        assert_eq!(u32::from_bytes(&7u32.to_bytes()), Some(7));
        assert_eq!(<[u16; 3]>::from_bytes(&[1u16, 2, 3].to_bytes()), Some([1, 2, 3]));
        assert_eq!(u32::from_bytes(&[1, 2, 3]), None);
        assert_eq!(<[u16; 3]>::from_bytes(&[0; 7]), None);
    }
}
