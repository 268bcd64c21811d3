//! Every wait of turn-taking, by name.

use std::time::Duration;

/// The waits and thresholds of turn-taking. The defaults suit English on a telephone line.
#[derive(Clone, Debug)]
pub struct TurnSettings {
    /// Voiced frames needed, with the neural detector agreeing, before the caller counts as speaking.
    pub onset: Duration,
    /// The same when there is no neural detector.
    pub onset_unconfirmed: Duration,
    /// Unvoiced frames that end a candidate onset.
    pub onset_gap: Duration,
    /// Probability from which a frame is speech when the caller was quiet.
    pub probability_on: f32,
    /// Probability under which a frame is silence when the caller was speaking.
    pub probability_off: f32,
    /// Silence after which the transcript of what was said so far is asked for, before the turn is certain to be over.
    pub pause: Duration,
    /// Silence that ends a turn whose words are a complete answer (a yes to a yes/no question).
    pub end_complete: Duration,
    /// Silence that ends a turn whose words may be complete.
    pub end_likely: Duration,
    /// Silence that ends a turn whose words stop in the middle ("my name is", half a phone number).
    pub end_incomplete: Duration,
    /// Longest wait for a transcript after it was asked for; then the call is told.
    pub transcript_deadline: Duration,
    /// A turn longer than this is committed while the caller still speaks.
    pub longest_turn: Duration,
    /// Audio kept from before the onset and given to speech-to-text.
    pub pre_roll: Duration,
}

impl Default for TurnSettings {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            onset: ms(60),
            onset_unconfirmed: ms(160),
            onset_gap: ms(100),
            probability_on: 0.5,
            probability_off: 0.35,
            pause: ms(140),
            end_complete: ms(300),
            end_likely: ms(450),
            end_incomplete: ms(1_100),
            transcript_deadline: ms(3_000),
            longest_turn: Duration::from_secs(45),
            pre_roll: ms(400),
        }
    }
}
