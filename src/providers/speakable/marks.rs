//! Characters that are for the eye only.

/// A pictograph, or what belongs to one (Unicode emoji-data; arrows and the signs on a keyboard are none here).
pub(super) fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{1F000}'..='\u{1FAFF}'
        | '\u{2600}'..='\u{27BF}'
        | '\u{2B00}'..='\u{2BFF}'
        | '\u{2300}'..='\u{23FF}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{200D}'
        | '\u{20E3}'
        | '\u{E0020}'..='\u{E007F}')
}

/// A sign that begins an item of a list when it stands alone at the start of a line.
pub(super) fn is_bullet(word: &str) -> bool {
    matches!(word, "-" | "*" | "+" | "•" | "–" | "—" | "·" | "‣" | "▪" | "◦" | "●" | "○" | "■")
}

/// The text of the usual HTML entities.
pub(super) const ENTITIES: &[(&str, &str)] =
    &[("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'"), ("&amp;", "&")];
