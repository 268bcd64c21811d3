//! How a peer wants numbers written.

/// How a number is written in calls to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NumberFormat {
    /// As whoever dials it wrote it.
    #[default]
    AsDialled,
    /// E.164 digits without `+`.
    Digits,
    /// E.164 with `+`.
    Plus,
}

impl NumberFormat {
    /// The number in this form. What is no international number (`200`, `*43`, `anna`) stays as it is.
    #[must_use]
    pub fn apply(self, number: &str) -> String {
        // Shorter ones are extensions and service numbers of the peer itself.
        let is_digits = |text: &str| text.len() > 7 && text.bytes().all(|b| b.is_ascii_digit());
        match (self, number.strip_prefix('+')) {
            (Self::Digits, Some(digits)) if is_digits(digits) => digits.to_owned(),
            (Self::Plus, None) if is_digits(number) && !number.starts_with('0') => format!("+{number}"),
            _ => number.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_peer_wants_them() {
        for (format, number, written) in [
            (NumberFormat::Plus, "15550134567", "+15550134567"),
            (NumberFormat::Plus, "+15550134567", "+15550134567"),
            (NumberFormat::Plus, "200", "200"),
            (NumberFormat::Plus, "08912345678", "08912345678"),
            (NumberFormat::Digits, "+15550134567", "15550134567"),
            (NumberFormat::Digits, "*43", "*43"),
            (NumberFormat::AsDialled, "+15550134567", "+15550134567"),
        ] {
            assert_eq!(format.apply(number), written, "{format:?}");
        }
    }
}
