//! Moonshine's vocabulary: token numbers to text.

/// The marker for a space within a token (SentencePiece, U+2581).
const SPACE: &str = "\u{2581}";

/// The vocabulary file: for each token, in order, its length and its bytes.
///
/// The length is one byte, or two when the first has its top bit set: low seven bits first. A token of one byte
/// stands for that byte, so text is put together as bytes and read as UTF-8 at the end.
#[derive(Debug)]
pub struct Tokens {
    texts: Vec<Box<[u8]>>,
}

impl Tokens {
    /// Reads the file's contents; the reason when it is cut short or empty.
    ///
    /// # Errors
    /// The place where the file stops making sense.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let mut texts = Vec::new();
        let mut rest = file;
        while let Some((&first, after)) = rest.split_first() {
            let mut length = usize::from(first & 0x7F);
            rest = after;
            if first & 0x80 != 0 {
                let (&second, after) =
                    rest.split_first().ok_or_else(|| format!("token {} has half a length", texts.len()))?;
                length |= usize::from(second) << 7;
                rest = after;
            }
            let (text, after) =
                rest.split_at_checked(length).ok_or_else(|| format!("token {} is cut short", texts.len()))?;
            texts.push(text.into());
            rest = after;
        }
        if texts.is_empty() { Err("no tokens".to_owned()) } else { Ok(Self { texts }) }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether the vocabulary is empty; [`Tokens::parse`] refuses such a file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The text of a token sequence, trimmed. Control tokens (`<s>`, `<<ST_7>>`) and unknown numbers say nothing.
    #[must_use]
    pub fn text(&self, tokens: &[usize]) -> String {
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        for text in tokens.iter().filter_map(|&t| self.texts.get(t)) {
            if !(text.len() > 2 && text.starts_with(b"<") && text.ends_with(b">")) {
                bytes.extend_from_slice(text);
            }
        }
        String::from_utf8_lossy(&bytes).replace(SPACE, " ").trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tokens: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for t in tokens {
            if t.len() < 128 {
                bytes.push(t.len() as u8);
            } else {
                bytes.extend([(t.len() & 0x7F) as u8 | 0x80, (t.len() >> 7) as u8]);
            }
            bytes.extend_from_slice(t);
        }
        bytes
    }

    #[test]
    fn words_are_joined_from_pieces_bytes_and_space_markers() {
        let long = [b'x'; 300];
        let bytes = file(&[b"<s>", "\u{2581}caf".as_bytes(), &[0xC3], &[0xA9], "\u{2581}now".as_bytes(), b"", &long]);
        let tokens = Tokens::parse(&bytes).unwrap();
        assert_eq!(tokens.len(), 7);
        assert_eq!(tokens.text(&[0, 1, 2, 3, 4, 5, 99]), "café now");
        assert_eq!(tokens.text(&[6]).len(), 300);
    }

    #[test]
    fn a_file_cut_short_is_refused_with_the_token_number() {
        let bytes = file(&[b"one", b"two"]);
        assert_eq!(Tokens::parse(&bytes[..bytes.len() - 1]).unwrap_err(), "token 1 is cut short");
        assert!(Tokens::parse(&[]).is_err());
        assert_eq!(Tokens::parse(&[0x85]).unwrap_err(), "token 0 has half a length");
    }
}
