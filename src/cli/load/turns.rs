//! A caller who listens, speaks, and waits for the answer: how long an agent takes to take its turn.

/// The far side has finished when it was silent for this many packets of 20 ms: 1.2 s, longer than a pause in a sentence.
const FINISHED: u32 = 60;
/// A far side that says nothing for this many packets from the start is spoken to anyway: 4 s.
const NO_GREETING: u32 = 200;
/// Longest wait for an answer, in packets: 20 s.
const PATIENCE: u32 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Hearing the far side out. `silent` counts packets since it was voiced; `heard` says whether it ever was.
    Listening { silent: u32, heard: bool },
    /// Saying the given packet of the speech next.
    Speaking(usize),
    /// Said all, the last of it at `since_us`; `waited` counts packets.
    Waiting { since_us: u64, waited: u32 },
}

/// What to send next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    /// The packet of the speech with this number.
    Speech(usize),
    /// Silence.
    Silence,
}

/// What became of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The far side spoke this many microseconds after the caller had finished.
    After(u64),
    /// It said nothing for twenty seconds.
    Never,
}

/// One call's turns.
#[derive(Clone, Debug)]
pub struct Turns {
    phase: Phase,
    /// Packets of the speech up to the last voiced one.
    length: usize,
}

impl Turns {
    /// A caller with a speech of `length` packets; the last of them is voiced.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { phase: Phase::Listening { silent: 0, heard: false }, length }
    }

    /// The packet that goes out at `at_us`, every 20 ms, and the end of a turn that nobody answered.
    pub fn next(&mut self, at_us: u64) -> (Say, Option<Answer>) {
        match &mut self.phase {
            Phase::Listening { silent, heard } => {
                *silent += 1;
                let over = if *heard { FINISHED } else { NO_GREETING };
                if *silent >= over && self.length > 0 {
                    self.phase = Phase::Speaking(0);
                }
                (Say::Silence, None)
            }
            Phase::Speaking(at) => {
                let said = *at;
                self.phase = if said + 1 < self.length {
                    Phase::Speaking(said + 1)
                } else {
                    // The packet carries the 20 ms that follow.
                    Phase::Waiting { since_us: at_us + 20_000, waited: 0 }
                };
                (Say::Speech(said), None)
            }
            Phase::Waiting { waited, .. } => {
                *waited += 1;
                if *waited < PATIENCE {
                    return (Say::Silence, None);
                }
                self.phase = Phase::Listening { silent: 0, heard: true };
                (Say::Silence, Some(Answer::Never))
            }
        }
    }

    /// A packet of the far side that came at `at_us`, voiced or not.
    pub fn heard(&mut self, is_voiced: bool, at_us: u64) -> Option<Answer> {
        if !is_voiced {
            return None;
        }
        match &mut self.phase {
            Phase::Listening { silent, heard } => {
                (*silent, *heard) = (0, true);
                None
            }
            // The far side talks over us: what we measure is its answer to the whole.
            Phase::Speaking(_) => None,
            Phase::Waiting { since_us, .. } => {
                let answer = Answer::After(at_us.saturating_sub(*since_us));
                self.phase = Phase::Listening { silent: 0, heard: true };
                Some(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_US: u64 = 20_000;

    /// Lets time pass until `stop` holds; gives the time.
    fn run(turns: &mut Turns, mut now: u64, mut stop: impl FnMut(Say, Option<Answer>) -> bool) -> u64 {
        for _ in 0..2_000 {
            let (say, answer) = turns.next(now);
            if stop(say, answer) {
                return now;
            }
            now += TICK_US;
        }
        panic!("it never came");
    }

    #[test]
    fn the_greeting_is_heard_out_then_the_turn_is_timed_from_the_end_of_the_speech() {
        let mut turns = Turns::new(3);
        run(&mut turns, 0, |_, _| true);
        turns.heard(true, 1_000_000);
        let first = run(&mut turns, 1_000_000, |say, _| say == Say::Speech(0));
        assert_eq!(first, 1_000_000 + u64::from(FINISHED) * TICK_US);
        assert_eq!(turns.heard(true, first + 5_000), None, "talk over the caller is no answer");
        let last = run(&mut turns, first + TICK_US, |say, _| say == Say::Speech(2));
        assert_eq!(turns.heard(false, last + 50_000), None);
        assert_eq!(turns.heard(true, last + 420_000), Some(Answer::After(400_000)));
    }

    #[test]
    fn a_far_side_without_greeting_is_spoken_to_after_four_seconds() {
        let first = run(&mut Turns::new(1), 0, |say, _| say == Say::Speech(0));
        assert_eq!(first, u64::from(NO_GREETING) * TICK_US);
    }

    #[test]
    fn an_answer_that_never_comes_is_counted_and_the_caller_speaks_again() {
        let mut turns = Turns::new(1);
        let spoken = run(&mut turns, 0, |say, _| say == Say::Speech(0));
        let given_up = run(&mut turns, spoken + TICK_US, |_, answer| answer == Some(Answer::Never));
        assert_eq!(given_up, spoken + u64::from(PATIENCE) * TICK_US);
        run(&mut turns, given_up, |say, _| say == Say::Speech(0));
    }

    #[test]
    fn who_has_nothing_to_say_is_silent() {
        let mut turns = Turns::new(0);
        assert!((0..1_000).all(|n| turns.next(n * TICK_US) == (Say::Silence, None)));
    }
}
