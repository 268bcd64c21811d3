//! Header values on their way out: a type that cannot carry a line break.

use std::fmt;

/// A header value that holds no CR, LF or NUL, so that whatever it is made of cannot become a second header
/// (`security` class 14: a caller's name, a tool's answer, a user's setting).
///
/// `Debug` shows its length only: values carry names and numbers of people.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HeaderValue(Box<[u8]>);

/// A text that holds a control byte no header value may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header value may not hold the control byte 0x{byte:02x}, found at byte {offset}")]
pub struct InvalidValue {
    /// Where the byte stands.
    pub offset: usize,
    /// The byte.
    pub byte: u8,
}

fn is_forbidden(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

impl HeaderValue {
    /// Takes a value as it is.
    ///
    /// # Errors
    /// If it holds CR, LF or NUL.
    pub fn new(value: impl Into<Vec<u8>>) -> Result<Self, InvalidValue> {
        let value = value.into();
        match value.iter().copied().enumerate().find(|(_, b)| is_forbidden(*b)) {
            Some((offset, byte)) => Err(InvalidValue { offset, byte }),
            None => Ok(Self(value.into())),
        }
    }

    /// Takes a value of a parsed message, to be echoed: folds become one blank, an (escaped) NUL becomes `?`.
    #[must_use]
    pub fn echo(received: &[u8]) -> Self {
        let mut value = Vec::with_capacity(received.len());
        let mut folding = false;
        for byte in received {
            match byte {
                b'\r' | b'\n' => folding = true,
                b' ' | b'\t' if folding => {}
                other => {
                    if std::mem::take(&mut folding) {
                        value.push(b' ');
                    }
                    value.push(if *other == 0 { b'?' } else { *other });
                }
            }
        }
        Self(value.into())
    }

    /// The value of text whose forbidden bytes are dropped. For text that must go out whatever it holds, such as a
    /// reason phrase from a setting.
    #[must_use]
    pub fn cleaned(text: &str) -> Self {
        Self(text.bytes().filter(|b| !is_forbidden(*b)).collect())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

/// Numbers cannot hold a line break.
impl From<u32> for HeaderValue {
    fn from(number: u32) -> Self {
        Self(number.to_string().into_bytes().into())
    }
}

/// A [`super::CSeq`] is a number and a token.
impl From<&super::CSeq> for HeaderValue {
    fn from(cseq: &super::CSeq) -> Self {
        Self(cseq.to_string().into_bytes().into())
    }
}

impl TryFrom<&str> for HeaderValue {
    type Error = InvalidValue;

    fn try_from(text: &str) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

impl TryFrom<String> for HeaderValue {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{} bytes}}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_in_lets_a_line_break_through() {
        for attack in ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\r", "\n"] {
            assert!(HeaderValue::new(attack).is_err());
            for value in [HeaderValue::echo(attack.as_bytes()), HeaderValue::cleaned(attack)] {
                assert!(!value.as_bytes().iter().any(|b| is_forbidden(*b)));
            }
        }
        assert_eq!(HeaderValue::echo(b"a\r\n \t b\r\n").as_bytes(), b"a b");
        assert_eq!(HeaderValue::new("a\nb"), Err(InvalidValue { offset: 1, byte: b'\n' }));
    }
}
