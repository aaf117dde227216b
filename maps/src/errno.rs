//! Error numbers as programs see them.

use std::fmt;

/// A kernel error number, positive. Programs get it negated in r0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident $number:literal $text:literal;)*) => {
        impl Errno {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*

            /// The name as C spells it, when skep knows the number.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What the number means, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

// Numbers of include/uapi/asm-generic/errno*.h; ENOTSUPP is the kernel's own and does
// reach user space.
errnos! {
    EPERM 1 "operation not permitted";
    ENOENT 2 "no such entry";
    E2BIG 7 "too big, or full";
    EBADF 9 "bad handle";
    EAGAIN 11 "try again";
    ENOMEM 12 "out of memory";
    EACCES 13 "permission denied";
    EFAULT 14 "bad address";
    EBUSY 16 "busy";
    EEXIST 17 "entry exists";
    ENODEV 19 "no such device";
    EINVAL 22 "invalid argument";
    ENOSPC 28 "no space left";
    ERANGE 34 "result out of range";
    EOVERFLOW 75 "value too large";
    ENOTSOCK 88 "not a socket";
    EOPNOTSUPP 95 "operation not supported";
    ENOTSUPP 524 "operation not supported by this kind of object";
}

impl Errno {
    /// The number, positive.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// What a program finds in r0: the negated number, sign-extended.
    #[must_use]
    pub const fn to_r0(self) -> u64 {
        (-(self.0 as i64)).cast_unsigned()
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?}, {})", self.meaning(), self.0)
    }
}
