//! Personal data that must not reach a log by accident.

use std::fmt;

/// A value that identifies or quotes a person: a phone number, a name, a transcript, a key.
///
/// `Debug` and `Display` print `{redacted}`; read the value with [`Pii::expose`], which is easy to
/// find in review. Serialising is deliberately not implemented.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The caller answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps the value. The caller answers for where it goes.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{redacted}")
    }
}

impl<T> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{redacted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_display_hide_the_value() {
        let number = Pii::new("+15551234567".to_owned());
        assert_eq!(format!("{number} {number:?}"), "{redacted} {redacted}");
        assert_eq!(number.expose(), "+15551234567");
    }
}
