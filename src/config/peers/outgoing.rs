//! What our own calls through an extension or trunk say, and whom they may reach.

use super::address::{display_text, headers, sip_user};
use crate::base::Pii;
use crate::config::reader::Table;

/// Calls of ours through one peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outgoing {
    /// The name that callees see.
    pub caller_name: Option<Pii<String>>,
    /// The number that callees see, where it is not the user of the extension or trunk.
    pub caller_number: Option<Pii<String>>,
    /// Withhold number and name from callees (RFC 3323).
    pub is_private: bool,
    /// Whom the calls were for before they came to us (RFC 5806).
    pub diversion: Option<Pii<String>>,
    /// Header fields of every INVITE.
    pub headers: Vec<(String, String)>,
    /// Beginnings of numbers that may be dialled by what callers or variables name.
    pub allowed_prefixes: Vec<String>,
}

impl Outgoing {
    pub(super) fn read(table: &Table<'_, '_>) -> Self {
        let number = |key: &'static str| table.text(key).and_then(|number| sip_user(table, key, number)).map(Pii::new);
        let mut allowed_prefixes = Vec::new();
        for prefix in table.texts("allowed_prefixes").unwrap_or_default() {
            let digits = prefix.value.strip_prefix('+').unwrap_or(&prefix.value);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                let message = format!("`{}` is not the beginning of a number", prefix.value);
                table.error(
                    prefix.span,
                    message,
                    "write digits, such as \"+49\" or \"0\"; there is no prefix for all numbers",
                );
                continue;
            }
            allowed_prefixes.push(prefix.value);
        }
        Self {
            caller_name: display_text(table, "caller_name").map(Pii::new),
            caller_number: number("caller_number"),
            is_private: table.switch("privacy"),
            diversion: number("diversion"),
            headers: headers(table),
            allowed_prefixes,
        }
    }
}
