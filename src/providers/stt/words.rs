//! The words of one segment as a vendor's pieces make them.

use super::limits::SEGMENT_TEXT_BYTES;
use crate::base::Pii;

/// What a vendor that gives no confidence is believed with.
const UNSAID_CONFIDENCE: f32 = 1.0;

/// Words that stand, and those that may still change.
#[derive(Debug, Default)]
pub(super) struct Words {
    pieces: Vec<Piece>,
    interim: Pii<String>,
}

#[derive(Debug)]
struct Piece {
    text: Pii<String>,
    confidence: f32,
    /// Place in the call's audio that had been sent when the piece came.
    upto: u64,
}

impl Words {
    /// Words that may change take the place of those before.
    pub(super) fn interim(&mut self, text: Pii<String>) {
        self.interim = Pii::new(cut(text.expose(), SEGMENT_TEXT_BYTES.saturating_sub(self.octets())).to_owned());
    }

    /// Words that stand.
    pub(super) fn stand(&mut self, text: &Pii<String>, confidence: Option<f32>, upto: u64) {
        self.interim = Pii::default();
        let text = cut(text.expose(), SEGMENT_TEXT_BYTES.saturating_sub(self.octets()));
        if !text.trim().is_empty() {
            let confidence = confidence.unwrap_or(UNSAID_CONFIDENCE).clamp(0.0, 1.0);
            self.pieces.push(Piece { text: Pii::new(text.to_owned()), confidence, upto });
        }
    }

    /// Forgets what came of audio that will be heard again from `place` on.
    pub(super) fn rewind(&mut self, place: u64) {
        self.interim = Pii::default();
        self.pieces.retain(|piece| piece.upto <= place);
    }

    /// Everything so far.
    pub(super) fn text(&self) -> Pii<String> {
        let mut whole = String::new();
        let pieces = self.pieces.iter().map(|piece| piece.text.expose().as_str());
        for piece in pieces.chain([self.interim.expose().as_str()]) {
            let piece = piece.trim();
            if let (Some(last), Some(first)) = (whole.chars().next_back(), piece.chars().next())
                && !(is_unspaced(last) && is_unspaced(first))
            {
                whole.push(' ');
            }
            whole.push_str(piece);
        }
        Pii::new(whole)
    }

    /// The mean of the pieces that stand, by their length; 0 without any words.
    pub(super) fn confidence(&self) -> f32 {
        let weighed = |(sum, weight): (f32, f32), piece: &Piece| {
            let own = piece.text.expose().len() as f32;
            (sum + piece.confidence * own, weight + own)
        };
        match self.pieces.iter().fold((0.0, 0.0), weighed) {
            (sum, weight) if weight > 0.0 => sum / weight,
            _ if self.interim.expose().trim().is_empty() => 0.0,
            _ => UNSAID_CONFIDENCE,
        }
    }

    fn octets(&self) -> usize {
        self.pieces.iter().map(|piece| piece.text.expose().len()).sum()
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Scripts that are written without spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1780..=0x17FF | 0x3000..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0xFF00..=0xFFEF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pii(text: &str) -> Pii<String> {
        Pii::new(text.to_owned())
    }

    #[test]
    fn pieces_are_joined_as_their_script_wants() {
        let mut words = Words::default();
        words.stand(&pii("Good morning,"), Some(0.9), 1);
        words.interim(pii("a tab"));
        assert_eq!(words.text().expose(), "Good morning, a tab");
        words.interim(pii("a table"));
        words.stand(&pii(" a table "), Some(0.9), 2);
        assert_eq!(words.text().expose(), "Good morning, a table");
        let mut japanese = Words::default();
        japanese.stand(&pii("明日の"), None, 1);
        japanese.stand(&pii("予約"), None, 1);
        assert_eq!(japanese.text().expose(), "明日の予約");
    }

    #[test]
    fn confidence_is_the_mean_by_length_and_nothing_for_no_words() {
        let mut words = Words::default();
        assert_eq!(words.confidence(), 0.0);
        words.stand(&pii("aaaa"), Some(1.0), 1);
        words.stand(&pii("bb"), Some(0.4), 1);
        assert!((words.confidence() - 0.8).abs() < 0.001);
    }

    #[test]
    fn a_vendor_that_repeats_itself_for_ever_fills_no_memory() {
        let mut words = Words::default();
        for _ in 0..100 {
            words.stand(&pii(&"é".repeat(2_000)), None, 1);
        }
        assert!(words.text().expose().len() <= SEGMENT_TEXT_BYTES + 100);
    }

    #[test]
    fn words_of_audio_that_is_heard_again_are_forgotten() {
        let mut words = Words::default();
        words.stand(&pii("one"), None, 100);
        words.stand(&pii("two"), None, 200);
        words.interim(pii("three"));
        words.rewind(150);
        assert_eq!(words.text().expose(), "one");
    }
}
