//! An errno, exactly as the kernel gave it.

use std::fmt;

/// An errno of the kernel: a positive number, 524 (`ENOTSUPP`) included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident $number:literal)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: Self = Self($number);
            )*

            /// The errno's symbol, where this crate knows it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM 1
    ENOENT 2
    EINTR 4
    ENXIO 6
    E2BIG 7
    EBADF 9
    EAGAIN 11
    ENOMEM 12
    EACCES 13
    EFAULT 14
    EBUSY 16
    EEXIST 17
    ENODEV 19
    EINVAL 22
    ENOSPC 28
    ERANGE 34
    EDEADLK 35
    ENOSYS 38
    EPROTO 71
    EBADMSG 74
    EOVERFLOW 75
    ENOTSOCK 88
    EMSGSIZE 90
    EOPNOTSUPP 95
    EAFNOSUPPORT 97
    ENOTSUPP 524
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

impl std::error::Error for Errno {}
