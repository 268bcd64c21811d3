use super::*;

const FRAME: Duration = Duration::from_millis(20);
const YES_NO: TurnInput = TurnInput::Listen { expect: Expect::YesNo, no_input: Duration::from_secs(6) };
const OPEN: TurnInput = TurnInput::Listen { expect: Expect::Open, no_input: Duration::from_secs(6) };

/// A call in virtual time: 20 ms frames, outputs with their times.
struct Line {
    taker: TurnTaker,
    start: Instant,
    now: Instant,
    outputs: Vec<(Duration, TurnOutput)>,
}

impl Line {
    fn new() -> Self {
        let now = Instant::now();
        Self { taker: TurnTaker::new(TurnSettings::default()), start: now, now, outputs: Vec::new() }
    }

    fn put(&mut self, input: TurnInput) {
        self.taker.handle(self.now, input);
        while let Some(output) = self.taker.poll_output() {
            self.outputs.push((self.now - self.start, output));
        }
    }

    fn frames(&mut self, milliseconds: u64, voiced: bool) {
        for _ in 0..milliseconds / 20 {
            self.now += FRAME;
            self.put(TurnInput::Frame { voiced });
            self.put(TurnInput::Probability { through: self.now, probability: if voiced { 0.9 } else { 0.02 } });
        }
    }

    fn transcript(&mut self, text: &str) {
        let segment = self.taker.segment;
        self.put(TurnInput::Transcript { segment, text: Pii::new(text.to_owned()), confidence: 0.9 });
    }

    /// The caller says `text`, is silent for 220 ms and speech-to-text answers.
    fn says(&mut self, text: &str) {
        self.frames(600, true);
        self.frames(220, false);
        self.transcript(text);
    }

    fn turns(&self) -> Vec<&str> {
        self.outputs
            .iter()
            .filter_map(
                |(_, o)| if let TurnOutput::Turn { text, .. } = o { Some(text.expose().as_str()) } else { None },
            )
            .collect()
    }

    fn agent_speaks(&mut self, interruptible: bool) {
        self.put(TurnInput::Playout(Playout::Queued { interruptible }));
        self.put(TurnInput::Playout(Playout::Audible));
    }

    fn has(&self, wanted: &TurnOutput) -> bool {
        self.outputs.iter().any(|(_, o)| o == wanted)
    }
}

#[test]
fn a_complete_answer_ends_the_turn_after_the_short_wait() {
    let mut line = Line::new();
    line.put(YES_NO);
    line.says("Yes.");
    line.frames(400, false);
    assert_eq!(line.turns(), ["Yes."]);
    let (at, _) = line.outputs.iter().find(|(_, o)| matches!(o, TurnOutput::Turn { .. })).unwrap();
    assert_eq!(*at, Duration::from_millis(600 + 300), "300 ms after the last voiced frame");
}

#[test]
fn a_breath_inside_a_sentence_does_not_end_the_turn() {
    let mut line = Line::new();
    line.put(OPEN);
    line.says("I'd like to book an appointment for");
    line.frames(500, false);
    assert!(line.turns().is_empty());
    line.says("I'd like to book an appointment for Tuesday.");
    line.frames(600, false);
    assert_eq!(line.turns(), ["I'd like to book an appointment for Tuesday."]);
    let segments: Vec<_> = line.outputs.iter().filter(|(_, o)| matches!(o, TurnOutput::StartSegment(_))).collect();
    assert_eq!(segments.len(), 2, "the same segment is resumed");
    assert_eq!(segments[0].1, segments[1].1);
}

#[test]
fn speech_over_the_agent_holds_it_within_120_ms() {
    let mut line = Line::new();
    line.agent_speaks(true);
    line.frames(500, false);
    let onset = line.now + FRAME - line.start;
    line.frames(200, true);
    let (held_at, _) = line.outputs.iter().find(|(_, o)| matches!(o, TurnOutput::Hold { .. })).unwrap();
    assert!(*held_at - onset <= Duration::from_millis(120), "held {:?} after the onset", *held_at - onset);
}

#[test]
fn an_interruption_with_words_is_a_turn_and_voids_the_held_speech() {
    let mut line = Line::new();
    line.agent_speaks(true);
    line.put(OPEN);
    line.says("Wait, how much is a cleaning?");
    line.frames(600, false);
    assert!(matches!(line.outputs.last(), Some((_, TurnOutput::Turn { interrupted: true, .. }))));
    assert!(!line.has(&TurnOutput::Resume));
}

#[test]
fn a_cough_or_a_backchannel_lets_the_agent_go_on() {
    for words in ["", "Mm-hmm.", "Okay."] {
        let mut line = Line::new();
        line.agent_speaks(true);
        line.put(OPEN);
        line.says(words);
        line.frames(400, false);
        assert!(line.has(&TurnOutput::Resume), "{words:?}");
        assert!(line.turns().is_empty(), "{words:?}");
    }
}

#[test]
fn a_notice_that_may_not_be_interrupted_is_played_to_its_end_and_the_words_are_kept() {
    let mut line = Line::new();
    line.agent_speaks(false);
    line.put(OPEN);
    line.says("Hello?");
    line.frames(2_000, false);
    assert!(line.turns().is_empty());
    assert!(!line.outputs.iter().any(|(_, o)| matches!(o, TurnOutput::Hold { .. })));
    line.put(TurnInput::Playout(Playout::Drained));
    assert_eq!(line.turns(), ["Hello?"]);
}

#[test]
fn silence_is_counted_from_the_end_of_the_agents_speech() {
    let mut line = Line::new();
    line.agent_speaks(true);
    line.put(OPEN);
    line.frames(8_000, false);
    assert!(!line.has(&TurnOutput::NoInput));
    line.put(TurnInput::Playout(Playout::Drained));
    line.frames(5_980, false);
    assert!(!line.has(&TurnOutput::NoInput));
    line.frames(40, false);
    assert!(line.has(&TurnOutput::NoInput));
    line.frames(20_000, false);
    assert_eq!(line.outputs.iter().filter(|(_, o)| *o == TurnOutput::NoInput).count(), 1);
}

#[test]
fn a_transcript_that_arrives_after_the_silence_still_counts() {
    let mut line = Line::new();
    line.put(YES_NO);
    line.frames(300, true);
    line.frames(1_500, false);
    assert!(line.turns().is_empty());
    line.transcript("No.");
    assert_eq!(line.turns(), ["No."]);
}

#[test]
fn a_transcript_of_an_earlier_pause_does_not_commit_a_longer_turn() {
    let mut line = Line::new();
    line.put(OPEN);
    line.frames(600, true);
    line.frames(220, false);
    line.frames(300, true);
    line.transcript("first half");
    line.frames(300, true);
    line.frames(620, false);
    assert!(line.turns().is_empty(), "the answer to the first request is stale");
    line.transcript("first half and second half");
    line.frames(500, false);
    assert_eq!(line.turns(), ["first half and second half"]);
}

#[test]
fn a_transcript_that_never_comes_is_reported() {
    let mut line = Line::new();
    line.put(OPEN);
    line.frames(600, true);
    line.frames(3_400, false);
    assert!(line.has(&TurnOutput::TranscriptMissing));
}

#[test]
fn a_peer_that_stops_sending_ends_the_turn_by_timeout() {
    let mut line = Line::new();
    line.put(YES_NO);
    line.frames(600, true);
    line.now = line.taker.poll_timeout().unwrap();
    line.taker.handle_timeout(line.now);
    assert!(matches!(line.taker.poll_output(), Some(TurnOutput::StartSegment(_))) || !line.outputs.is_empty());
    line.transcript("Yes.");
    line.now = line.taker.poll_timeout().unwrap();
    line.taker.handle_timeout(line.now);
    let mut last = None;
    while let Some(output) = line.taker.poll_output() {
        last = Some(output);
    }
    assert!(matches!(last, Some(TurnOutput::Turn { .. })));
}

#[test]
fn the_caller_who_goes_on_after_a_turn_holds_the_answer_before_it_is_heard() {
    let mut line = Line::new();
    line.put(OPEN);
    line.says("I need an appointment.");
    line.frames(300, false);
    line.put(TurnInput::Playout(Playout::Queued { interruptible: true }));
    line.says("On Tuesday please.");
    line.frames(400, false);
    assert!(line.outputs.iter().any(|(_, o)| matches!(o, TurnOutput::Hold { .. })));
    assert_eq!(line.turns(), ["I need an appointment.", "On Tuesday please."]);
}

#[test]
fn random_inputs_never_leave_the_turn_taker_without_a_way_on() {
    let mut random = crate::base::Random::seeded(11);
    for _ in 0..200 {
        let mut line = Line::new();
        for _ in 0..300 {
            match random.below(9) {
                0 => line.frames(20 * random.below(40), true),
                1 => line.frames(20 * random.below(40), false),
                2 => line.transcript("some words"),
                3 => line.transcript(""),
                4 => line.agent_speaks(random.below(2) == 0),
                5 => line.put(TurnInput::Playout(Playout::Drained)),
                6 => line.put(OPEN),
                7 => line.put(TurnInput::TranscriptFailed { segment: line.taker.segment }),
                _ => line.put(TurnInput::Key),
            }
        }
        line.put(TurnInput::Playout(Playout::Drained));
        line.frames(6_000, false);
        assert!(line.taker.turn_started.is_none(), "stuck in a turn");
    }
}
